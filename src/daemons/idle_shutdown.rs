//! UnifiedIdleShutdownDaemon: a host without work hands over what it holds and stops.
//!
//! Invariant: what is unknown counts as work. A host leaves only while the cluster is healthy, enough others
//! stay and the voters among them are a quorum; and only after everything it holds has enough copies
//! elsewhere.

use super::health::HealthHandle;
use crate::{
    api::health::Standing,
    clock::now_ms,
    events::{Event, Logged, caused::node_name, runner::Handled},
    leader::idle_shutdown::{IdleFacts, IdleShutdownConfig, IdleStep},
    peer::{Context, Daemon, WorkError},
};
use cluster_state::{Command, DrainCause, NodeId, command::SetDraining};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Pause between two looks.
const TICK: Duration = Duration::from_secs(1);
/// How long after the start of the drain games may still end on this host, in addition to the age of a
/// segment.
const SETTLE: Duration = Duration::from_secs(5);

/// When each host last showed work, as this node heard it. A clone is a cheap handle.
#[derive(Clone, Default)]
pub struct LastBusy(Arc<Mutex<BTreeMap<NodeId, Instant>>>);

impl LastBusy {
    /// Records that a host showed work.
    pub fn note(&self, id: NodeId, at: Instant) {
        let mut all = self.0.lock();
        let last = all.entry(id).or_insert(at);
        *last = at.max(*last);
    }

    /// The times, by id of the host.
    #[must_use]
    pub fn all(&self) -> BTreeMap<NodeId, Instant> {
        self.0.lock().clone()
    }

    /// Records that the host whose work an event shows is not idle.
    pub fn handle(&self, node: &Context, logged: &Logged) -> Handled {
        let (name, known) = (worker(&logged.event), node.raft.local());
        let host = known.nodes.keys().find(|id| Some(node_name(**id).as_str()) == name);
        // The age of the event: one that arrives late says nothing about now.
        let age = Duration::from_millis(now_ms().saturating_sub(logged.at_ms.max(0).unsigned_abs()));
        if let (Some(id), Some(at)) = (host, Instant::now().checked_sub(age)) {
            self.note(*id, at);
        }
        Ok(None)
    }
}

/// The settings that the daemon gets.
#[derive(Clone, Debug)]
pub struct IdleSettings {
    pub idle: IdleShutdownConfig,
    /// Copies of every segment that the cluster keeps.
    pub copies: usize,
    /// Longest time that a segment may stay open.
    pub segment_age_max: Duration,
}

pub struct IdleShutdownDaemon {
    pub node: Context,
    pub settings: IdleSettings,
    pub health: HealthHandle,
    pub last_busy: LastBusy,
}

impl Daemon for IdleShutdownDaemon {
    const NAME: &'static str = "idle_shutdown";

    /// Looks until the shutdown, which this daemon may cause.
    async fn run(&mut self) -> Result<(), WorkError> {
        let Self { node, settings, .. } = self;
        let settle = settings.segment_age_max * 2 + SETTLE;
        let mut draining = None;
        loop {
            let (state, view) = (node.raft.local(), self.health.view());
            let metrics = node.raft.metrics().borrow().clone();
            let (now, work) = (Instant::now(), node.activity.get(Instant::now()));
            // A game may take long, so a host that plays is at work even if no game has ended.
            let plays = work.selfplay.paused.is_none() || work.selfplay.games_per_s > 0.0;
            let working = plays || work.training.is_some() || work.evaluation.is_some();
            let unknown = metrics.leader.is_none() || view.standing != Standing::Healthy;
            if working || unknown {
                self.last_busy.note(node.id, now);
            }
            let busy = self.last_busy.all().get(&node.id).copied().unwrap_or(node.started).max(node.started);
            let drains = state.nodes.get(&node.id).is_some_and(|it| it.draining.is_some());
            draining = if drains { draining.or(Some(now)) } else { None };
            let facts = IdleFacts {
                me: node.id,
                state: &state,
                leads: metrics.is_leader(),
                view,
                voters: metrics.voters,
                idle: now.saturating_duration_since(busy),
                draining: draining.map_or(Duration::ZERO, |at| now.saturating_duration_since(at)),
                settle,
                unacknowledged: work.selfplay.unacknowledged,
                copies: settings.copies,
                settings: settings.idle.clone(),
            };
            let (drain, reason) = match facts.decide() {
                IdleStep::Stay => (None, String::new()),
                IdleStep::Drain => (Some(true), format!("idle for {} s", facts.idle.as_secs())),
                IdleStep::Undrain(why) => (Some(false), why.to_owned()),
                IdleStep::Stop => {
                    tracing::warn!("this host is idle, and all that it held is elsewhere: it stops");
                    node.shutdown.cancel();
                    return Ok(());
                }
            };
            if let Some(draining) = drain {
                // The shutdown may end the proposal; it ends the pause as well.
                let _ = node.shutdown.run_until_cancelled(set_draining(node, draining, reason)).await;
            }
            let pause = tokio::time::sleep(TICK);
            if node.shutdown.run_until_cancelled(pause).await.is_none() {
                return Ok(());
            }
        }
    }
}

/// Proposes that this host drains, or no longer.
async fn set_draining(node: &Context, draining: bool, reason: String) {
    tracing::warn!(draining, reason, "this host drains itself, or no longer");
    let (cause, at_ms) = (DrainCause::Idle, now_ms());
    let command = Command::SetDraining(SetDraining { node: node.id, draining, cause, reason, at_ms });
    if let Err(error) = node.propose(command).await {
        tracing::info!(%error, "the cluster does not know yet");
    }
}

/// The host whose work an event shows.
fn worker(event: &Event) -> Option<&str> {
    if let Event::SelfplayComplete(games) = event {
        Some(&games.node_id)
    } else if let Event::TrainingStarted(training) = event {
        Some(&training.node_id)
    } else if let Event::WorkClaimed(work) = event {
        Some(&work.node_id)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Component, golden::examples};

    #[test]
    fn what_the_table_sends_here_shows_work() {
        for event in examples() {
            let handled = event.kind().handled_by(Component::IdleShutdown).is_some();
            assert_eq!(worker(&event).is_some(), handled, "{}", event.name());
        }
    }

    #[test]
    fn the_latest_sign_of_work_counts() {
        let (hosts, now) = (LastBusy::default(), Instant::now());
        let earlier = now.checked_sub(Duration::from_millis(1)).unwrap();
        hosts.note(NodeId(1), now);
        hosts.note(NodeId(1), earlier);
        hosts.note(NodeId(2), earlier);
        assert_eq!(hosts.all(), BTreeMap::from([(NodeId(1), now), (NodeId(2), earlier)]));
    }
}
