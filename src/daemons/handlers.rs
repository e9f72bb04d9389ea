//! What the daemons do about events. The one place where handlers are registered.
//!
//! Invariant: every handler is idempotent, and none is the only way to its effect: each daemon also looks by itself from
//! time to time, at the replicated state. An event makes it look now. What the cluster shall do is decided by the leader
//! from that state, never from an event's payload, so a wrong or repeated event can do no harm.

use crate::{
    clock::now_ms,
    events::{
        log::Logged,
        registry,
        runner::{Handled, HandlerError, Handlers, Handling},
    },
    leader::training,
    peer::{Context, Node, WorkError},
};
use cluster_state::Command;
use futures::FutureExt;
use raft::ProposeError;
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use wire::Hash;

/// Merges that may wait.
const MERGES_MAX: usize = 64;
/// Deciders whose part in an event is that the leader looks at the state now.
const LEADERS_TURN: [&str; 10] = [
    "auto_promotion",
    "curriculum",
    "data_pipeline",
    "evaluation",
    "feedback",
    "feedback_loop",
    "node_monitor",
    "queue",
    "roles",
    "scheduler",
];

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
    /// This node's look at the hosts.
    pub health: Notify,
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
            health: Notify::new(),
            replication: Notify::new(),
            distribution: Notify::new(),
            merges,
            merging: Mutex::new(merging),
        }
    }
}

/// The node, once there is one: handlers are registered before. Weak, for the node owns them: it must end with its last
/// task, and its databases with it.
pub type Late = Arc<OnceLock<Weak<Node>>>;

/// All handlers: each daemon that handles events has a function `handle`; for what only the leader decides, every node
/// wakes its leader's turn.
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
    macro_rules! on {
        ($($daemon:ident)*) => {
            $(on(stringify!($daemon), |node, logged| super::$daemon::handle(node, logged).boxed());)*
        };
    }
    on!(autoscaler cache consolidation distribution health idle_shutdown replication supervisor sync watchdog);
    on("training", |node, logged| training(node, logged).boxed());
    for daemon in LEADERS_TURN {
        on(daemon, |node, _| leaders_turn(node).boxed());
    }
    handlers
}

/// Proposes what the event asks for, or has the leader look at the state now.
async fn training(node: Context, logged: Arc<Logged>) -> Handled {
    match training::asked(&logged, now_ms()) {
        Some(command) => propose(&node, command).await,
        None => leaders_turn(node).await,
    }
}

/// Has the leader look at the state now. Every node handles the event; only the leader acts.
async fn leaders_turn(node: Context) -> Handled {
    let metrics = node.raft.metrics().borrow().clone();
    if metrics.leader.is_none() {
        return Err(HandlerError::NoQuorum);
    }
    if metrics.is_leader() {
        node.wakes.leader.notify_one();
    }
    Ok(None)
}

/// Proposes what an event asks for. Every node that handles the event does, so that it is done whoever dies; the state
/// machine counts it once. A refusal is the cluster's answer, not a failure.
async fn propose(node: &Context, command: Command) -> Handled {
    let name = command.name();
    match node.propose(command).await {
        Ok(_) => Ok(None),
        Err(ProposeError::Refused(reason)) => {
            tracing::info!(command = name, %reason, "the cluster disagrees with an event");
            Ok(None)
        }
        Err(error) => Err(WorkError::from(error).into()),
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
}
