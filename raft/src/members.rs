//! The task that changes the membership.
//!
//! Invariant: only this task changes the membership, one change at a time, and each change has a deadline.

use crate::{
    handle::HandleShared,
    metrics::Metrics,
    types::{Member, Raft, TypeConfig},
};
use cluster_state::{
    NodeId,
    voters::{self, Health, VotersView},
};
use openraft::errors::{ClientWriteError, RaftError};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Maximum time of one change.
const CHANGE: Duration = Duration::from_secs(5);

/// A request to add a member without a vote.
pub(crate) struct AddLearner {
    pub(crate) id: NodeId,
    pub(crate) peer_id: String,
    pub(crate) reply: oneshot::Sender<Result<(), String>>,
}

/// Adds learners on request and, while this node leads, keeps the set of voters as it should be.
pub(crate) async fn run(
    shared: Arc<HandleShared>,
    mut inbox: mpsc::Receiver<AddLearner>,
    shutdown: CancellationToken,
) {
    let mut tick = tokio::time::interval(shared.timing.voters_tick);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watched = Watched::default();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            request = inbox.recv() => match request {
                Some(AddLearner { id, peer_id, reply }) => {
                    // The caller may have given up.
                    let _ = reply.send(add_learner(&shared.raft, id, peer_id).await);
                }
                None => break,
            },
            _ = tick.tick() => {
                shared.drop_idle_snapshot();
                adjust(&shared, &mut watched).await;
            }
        }
    }
}

async fn add_learner(raft: &Raft, id: NodeId, peer_id: String) -> Result<(), String> {
    let change = raft.add_learner(id, Member { peer_id }, false);
    outcome(tokio::time::timeout(CHANGE, change).await)
}

async fn adjust(shared: &HandleShared, watched: &mut Watched) {
    let metrics = shared.metrics.borrow().clone();
    if !metrics.is_leader() {
        *watched = Watched::default();
        return;
    }
    let view = watched.view(&metrics, shared, Instant::now());
    let Some(wanted) = voters::decide(&view) else {
        return;
    };
    tracing::info!(from = ?view.configs, to = ?wanted, "changing the voters");
    let change = shared.raft.change_membership(wanted, true);
    if let Err(error) = outcome(tokio::time::timeout(CHANGE, change).await) {
        tracing::warn!(%error, "the voters were not changed");
    }
}

type Change<T> = Result<T, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>;

fn outcome<T>(result: Result<Change<T>, tokio::time::error::Elapsed>) -> Result<(), String> {
    match result {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err("no quorum in time".into()),
    }
}

/// The members that answer and those that do not, each with the time since which that holds.
#[derive(Default)]
struct Watched {
    since: BTreeMap<NodeId, (bool, Instant)>,
}

impl Watched {
    fn view(&mut self, metrics: &Metrics, shared: &HandleShared, now: Instant) -> VotersView {
        let members: BTreeSet<NodeId> = metrics.voters.union(&metrics.learners).copied().collect();
        self.since.retain(|id, _| members.contains(id));
        let fresh = shared.timing.election_max;
        let mut others = BTreeMap::new();
        for id in members.into_iter().filter(|id| *id != metrics.id) {
            let follower = metrics.followers.get(&id).copied().unwrap_or_default();
            let answers = follower.last_contact.is_some_and(|at| now.saturating_duration_since(at) < fresh);
            let entry = self.since.entry(id).or_insert((answers, now));
            if entry.0 != answers {
                *entry = (answers, now);
            }
            let lasted = now.saturating_duration_since(entry.1);
            let health = Health {
                up: if answers { lasted } else { Duration::ZERO },
                // The time is at least a moment, so that "down" is never mistaken for "up".
                down: if answers { Duration::ZERO } else { lasted.max(Duration::from_millis(1)) },
                lag: follower.matched.map(|matched| metrics.last_log.unwrap_or(0).saturating_sub(matched)),
            };
            others.insert(id, health);
        }
        VotersView {
            me: metrics.id,
            configs: shared.voter_configs(),
            others,
            stable: shared.timing.stable,
            dead: shared.timing.dead,
        }
    }
}
