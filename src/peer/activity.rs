//! What this node is doing right now, for people. No decision depends on it.

use crate::api::activity::NodeActivity;
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The span over which games per second are counted.
const SPAN: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Inner {
    work: NodeActivity,
    finished: VecDeque<(Instant, u64)>,
}

/// The activity, which the daemons write.
#[derive(Default)]
pub struct Activity(Mutex<Inner>);

impl Activity {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }

    /// Changes the activity.
    pub fn update(&self, change: impl FnOnce(&mut NodeActivity)) {
        change(&mut self.inner().work);
    }

    /// Counts finished self-play games.
    pub fn games(&self, count: u64, now: Instant) {
        let mut inner = self.inner();
        inner.work.selfplay.games += count;
        inner.finished.push_back((now, count));
        forget(&mut inner.finished, now);
    }

    /// A copy of the activity at this time.
    #[must_use]
    pub fn get(&self, now: Instant) -> NodeActivity {
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
