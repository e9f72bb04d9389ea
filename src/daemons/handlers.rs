//! What the daemons do about events. The one place where handlers are registered.
//!
//! Invariant: every handler is idempotent, and none is the only way to its effect: each daemon also looks by itself from
//! time to time, at the replicated state. An event makes it look now. What the cluster shall do is decided by the leader
//! from that state, never from an event's payload, so a wrong or repeated event can do no harm.

use crate::{
    events::{
        Event,
        log::Logged,
        registry,
        runner::{Effect, HandlerError, Handlers, Handling},
    },
    node::{Context, Node, WorkError},
};
use futures::FutureExt;
use raft::ProposeError;
use std::{
    future::Future,
    sync::{Arc, OnceLock, Weak},
};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use wire::Hash;

/// Merges that may wait.
const MERGES_MAX: usize = 64;

/// A segment to merge, and where to say how that went.
pub struct Merge {
    /// Which.
    pub segment: Hash,
    /// Of which configuration.
    pub config_key: String,
    /// How it went.
    pub done: oneshot::Sender<Result<(), String>>,
}

/// Wakes daemons from their pauses.
pub struct Wakes {
    /// The leader's turn.
    pub leader: Notify,
    /// Copies of segments.
    pub replication: Notify,
    /// Models.
    pub distribution: Notify,
    /// Merges asked for.
    pub merges: mpsc::Sender<Merge>,
    /// Where consolidation takes them from.
    pub merging: Mutex<mpsc::Receiver<Merge>>,
}

impl Default for Wakes {
    fn default() -> Self {
        let (merges, merging) = mpsc::channel(MERGES_MAX);
        Self {
            leader: Notify::new(),
            replication: Notify::new(),
            distribution: Notify::new(),
            merges,
            merging: Mutex::new(merging),
        }
    }
}

impl From<WorkError> for HandlerError {
    fn from(error: WorkError) -> Self {
        match error {
            WorkError::Propose(ProposeError::NoLeader | ProposeError::Timeout) => Self::NoQuorum,
            other => Self::Failed(other.to_string()),
        }
    }
}

/// The node, once there is one: handlers are registered before. Weak, for the node owns them: it must end with its last
/// task, and its databases with it.
pub type Late = Arc<OnceLock<Weak<Node>>>;

/// All handlers.
#[must_use]
pub fn all(node: &Late) -> Handlers {
    let mut handlers = Handlers::default();
    let mut on = |daemon: &'static str, run: fn(Context, Arc<Logged>) -> Handling| {
        let node = Arc::clone(node);
        handlers.on(daemon, &registry::handled_by(daemon), move |logged| {
            match node.get().and_then(Weak::upgrade) {
                Some(node) => run(node, logged),
                None => async { Err(HandlerError::NoQuorum) }.boxed(),
            }
        });
    };
    on("consolidation", |node, logged| done(consolidate(node, logged)));
    on("sync", |node, logged| {
        done(async move {
            if matches!(&logged.event, Event::SelfplayComplete(games) if games.node_id == node.name()) {
                node.nudge.notify_one();
            }
            Ok(())
        })
    });
    on("replication", |node, _| {
        done(async move {
            node.wakes.replication.notify_one();
            Ok(())
        })
    });
    on("distribution", |node, _| {
        done(async move {
            node.wakes.distribution.notify_one();
            Ok(())
        })
    });
    for daemon in
        ["data_pipeline", "training", "evaluation", "promotion", "scheduler", "roles", "node_monitor"]
    {
        on(daemon, |node, _| done(decide(node)));
    }
    handlers
}

fn done(work: impl Future<Output = Result<(), HandlerError>> + Send + 'static) -> Handling {
    async move { work.await.map(|()| None::<Effect>) }.boxed()
}

/// Has the leader look at the state now. Every node handles the event; only the leader acts.
async fn decide(node: Context) -> Result<(), HandlerError> {
    let metrics = node.raft.metrics().borrow().clone();
    if metrics.leader.is_none() {
        return Err(HandlerError::NoQuorum);
    }
    if metrics.is_leader() {
        node.wakes.leader.notify_one();
    }
    Ok(())
}

/// Merges the segment that an event names, if it belongs here.
async fn consolidate(node: Context, logged: Arc<Logged>) -> Result<(), HandlerError> {
    let (games, acknowledged) = match &logged.event {
        Event::SelfplayComplete(games) => (games, false),
        Event::NewGamesAvailable(games) => (games, true),
        _ => return Ok(()),
    };
    let state = node.raft.local();
    match state.segments.get(&games.segment) {
        Some(known) if known.config_key != games.config_key => {
            let (is, said) = (&known.config_key, &games.config_key);
            return Err(HandlerError::Failed(format!("segment {} is of {is}, not {said}", games.segment)));
        }
        Some(known) if !known.holders.contains(&node.id) => return Ok(()), // not here, or not yet
        Some(_) => {}
        // Another node's, and not acknowledged yet: NEW_GAMES_AVAILABLE will follow.
        None if !acknowledged && games.node_id != node.name() => return Ok(()),
        None if node.stored(games.segment).await?.is_none() => {
            return Err(HandlerError::Failed(format!("segment {} is nowhere to be had", games.segment)));
        }
        // Here and not acknowledged: it may yet be lost, and is merged once it is registered.
        None => return Ok(()),
    }
    let (done, answer) = oneshot::channel();
    let merge = Merge { segment: games.segment, config_key: games.config_key.clone(), done };
    let gone = |_| HandlerError::Failed("consolidation is not running".to_owned());
    node.wakes.merges.send(merge).await.map_err(|_| gone(()))?;
    match answer.await {
        Ok(merged) => merged.map_err(HandlerError::Failed),
        Err(_) => Err(gone(())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_registry_and_the_handlers_agree() {
        let handlers = all(&Late::default());
        let registered: BTreeSet<_> = registry::pairs().into_iter().collect();
        assert_eq!(*handlers.pairs(), registered);
    }

    #[test]
    fn a_missing_quorum_is_no_failure() {
        let check = |error: ProposeError, quorum: bool| {
            let found = HandlerError::from(WorkError::Propose(error));
            assert_eq!(matches!(found, HandlerError::NoQuorum), quorum, "{found:?}");
        };
        check(ProposeError::NoLeader, true);
        check(ProposeError::Timeout, true);
        check(ProposeError::Stopped("disk".into()), false);
    }
}
