//! What this node is doing right now, for people. Nothing is decided by it.

use super::TransferActivity;
use crate::daemons::cache::CacheActivity;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Games per second are counted over this long.
const SPAN: Duration = Duration::from_secs(10);

/// Games played here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SelfplayActivity {
    /// Configurations in play.
    pub configs: Vec<String>,
    /// Those of them whose games are searched on the cards of this node, and not by the host.
    #[serde(default)]
    pub on_cards: Vec<String>,
    /// Games finished since the process began.
    pub games: u64,
    /// Games per second over the last 10 s.
    pub games_per_s: f64,
    /// Why no games are played, if none are.
    pub paused: Option<String>,
    /// Share of the time in which games are played: less than 1 while this node sees the cluster unhealthy.
    pub rate: f64,
    /// Games whose segment is not acknowledged yet.
    pub unacknowledged: u64,
}

/// A training run here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingActivity {
    /// Configuration.
    pub config_key: String,
    /// The lease.
    pub job_id: String,
    /// Passes done.
    pub epochs_completed: u32,
    /// Passes planned.
    pub total_epochs: u32,
    /// Mean loss since the last report.
    pub loss: f64,
}

/// An evaluation here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationActivity {
    /// Configuration.
    pub config_key: String,
    /// The lease.
    pub job_id: String,
    /// What is played now.
    pub stage: String,
    /// Games finished.
    pub games: u32,
    /// Elo of the candidate minus Elo of the champion so far.
    pub elo_delta: f64,
}

/// A copy of all of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Self-play.
    pub selfplay: SelfplayActivity,
    /// Training, while it runs.
    pub training: Option<TrainingActivity>,
    /// Evaluation, while it runs.
    pub evaluation: Option<EvaluationActivity>,
    /// Content that came here.
    pub transfers: TransferActivity,
    /// Loaded networks.
    pub cache: CacheActivity,
    /// By configuration, the training run whose candidate was last prepared for.
    pub prefetched: BTreeMap<String, String>,
    /// Contents removed because the cluster does not know them.
    pub collected: u64,
}

#[derive(Default)]
struct Inner {
    work: Work,
    finished: VecDeque<(Instant, u64)>,
}

/// Where the daemons write it.
#[derive(Default)]
pub struct Activity(Mutex<Inner>);

impl Activity {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something.
    pub fn update(&self, change: impl FnOnce(&mut Work)) {
        change(&mut self.inner().work);
    }

    /// Counts finished self-play games.
    pub fn games(&self, count: u64, now: Instant) {
        let mut inner = self.inner();
        inner.work.selfplay.games += count;
        inner.finished.push_back((now, count));
        forget(&mut inner.finished, now);
    }

    /// A copy.
    #[must_use]
    pub fn get(&self, now: Instant) -> Work {
        let mut inner = self.inner();
        forget(&mut inner.finished, now);
        let games: u64 = inner.finished.iter().map(|(_, count)| count).sum();
        let mut work = inner.work.clone();
        work.selfplay.games_per_s = games as f64 / SPAN.as_secs_f64();
        work
    }
}

fn forget(finished: &mut VecDeque<(Instant, u64)>, now: Instant) {
    while finished.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > SPAN) {
        finished.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn games_per_second_forget() {
        let activity = Activity::default();
        let start = Instant::now();
        activity.games(20, start);
        activity.games(30, start + Duration::from_secs(9));
        let at = |seconds| activity.get(start + Duration::from_secs(seconds)).selfplay;
        assert_eq!((at(9).games, at(9).games_per_s), (50, 5.0));
        assert_eq!((at(11).games, at(11).games_per_s), (50, 3.0));
    }
}
