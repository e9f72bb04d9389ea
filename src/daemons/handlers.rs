//! What the daemons do about events. This is the one place where handlers are registered.
//!
//! Invariant: every handler is idempotent, and no handler is the only way to its effect, because each daemon
//! also looks at the replicated state from time to time. An event only makes it look now. The leader decides
//! what the cluster does from that state. Three kinds of an operator's events ask for a command that no state
//! shows (a regression, backpressure, a rollback): the node that emitted the event proposes it, and so does
//! the leader; the state machine counts it once.

use super::{
    cache::LoadedNetworks, consolidation::ConsolidationHandle, distribution::DistributionHandle,
    health::HealthHandle, idle_shutdown::LastBusy, supervisor::Supervisor,
};
use crate::{
    clock::now_ms,
    events::{
        Component, EventKind, HandlingMode, Logged,
        runner::{Handled, HandlerError, Handlers, Handling},
    },
    leader::training,
    peer::{Context, Wake, WorkError},
    segments::{Segments, acknowledge, copy},
};
use cluster_state::Command;
use futures::FutureExt;
use raft::ProposeError;
use std::sync::Arc;

/// What the handlers work with.
pub struct DaemonHandles {
    pub node: Context,
    /// Wakes the leader's daemon so that it takes its turn.
    pub leader: Wake,
    pub health: HealthHandle,
    pub last_busy: LastBusy,
    pub networks: LoadedNetworks,
    pub consolidation: ConsolidationHandle,
    pub distribution: DistributionHandle,
    pub supervisor: Supervisor,
    pub segments: Segments,
}

/// Returns all handlers that the table of events names.
#[must_use]
pub fn all(handles: DaemonHandles) -> Handlers {
    let handles = Arc::new(handles);
    let mut handlers = Handlers::default();
    for &component in Component::ALL {
        let events: Vec<&'static str> = component.events().map(EventKind::name).collect();
        if events.is_empty() {
            continue;
        }
        let handles = Arc::clone(&handles);
        handlers.on(component.name(), &events, move |logged| handle(component, &handles, logged));
    }
    handlers
}

/// Handles an event for a component, as the table says.
fn handle(component: Component, handles: &Arc<DaemonHandles>, logged: Arc<Logged>) -> Handling {
    let handles = Arc::clone(handles);
    match (logged.event.kind().handled_by(component), own(component)) {
        (Some(HandlingMode::LeadersTurn), _) => async move { leaders_turn(&handles) }.boxed(),
        (Some(HandlingMode::Proposes), _) => async move { proposes(&handles, &logged).await }.boxed(),
        (Some(HandlingMode::Own), Some(run)) => run(handles, logged),
        (Some(HandlingMode::Own) | None, _) => async { Ok(None) }.boxed(),
    }
}

type Own = fn(Arc<DaemonHandles>, Arc<Logged>) -> Handling;

/// The component's own way to handle events, if it has one.
fn own(component: Component) -> Option<Own> {
    match component {
        // The view shows what there is to do; this makes the health daemon update it now.
        Component::Autoscaler | Component::Watchdog => Some(|its, _| {
            its.health.look();
            async { Ok(None) }.boxed()
        }),
        Component::Cache => Some(|its, logged| async move { its.networks.handle(&logged) }.boxed()),
        Component::Consolidation => {
            Some(|its, logged| async move { its.consolidation.handle(&its.node, &logged).await }.boxed())
        }
        Component::Distribution => {
            Some(|its, logged| async move { its.distribution.handle(&logged).await }.boxed())
        }
        Component::Health => Some(|its, logged| async move { its.health.handle(&its.node, &logged) }.boxed()),
        Component::IdleShutdown => {
            Some(|its, logged| async move { its.last_busy.handle(&its.node, &logged) }.boxed())
        }
        Component::Replication => Some(|its, logged| copy::handle(its.segments.clone(), logged).boxed()),
        Component::Supervisor => {
            Some(|its, logged| async move { its.supervisor.handle(&its.node, &logged) }.boxed())
        }
        Component::Sync => Some(|its, logged| acknowledge::handle(its.segments.clone(), logged).boxed()),
        // These components decide at the leader's turn, or only emit.
        Component::Audit
        | Component::AutoPromotion
        | Component::Curriculum
        | Component::DataPipeline
        | Component::Evaluation
        | Component::Feedback
        | Component::FeedbackLoop
        | Component::Gauntlet
        | Component::NodeMonitor
        | Component::Promotion
        | Component::Queue
        | Component::Regression
        | Component::Roles
        | Component::Scheduler
        | Component::Selfplay
        | Component::Training => None,
    }
}

/// Proposes the command that the event asks for, or wakes the leader so that it looks at the state now.
async fn proposes(handles: &DaemonHandles, logged: &Logged) -> Handled {
    let Some(command) = training::requested_command(logged, now_ms()) else { return leaders_turn(handles) };
    let node = &handles.node;
    let metrics = node.raft.metrics().borrow().clone();
    let state = node.raft.local();
    let emitter = state.node_of_peer(&logged.origin);
    let believed = emitter.is_some_and(|emitter| state.admissions.takes_operators(emitter.id));
    match proposer(logged, &node.p2p.peer_id(), metrics.is_leader() && believed) {
        Some(proposer) => propose(node, command, proposer).await,
        // Whoever leads next has to see the event.
        None if metrics.leader.is_none() => Err(HandlerError::NoQuorum),
        None => Ok(None),
    }
}

/// In whose name a node proposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proposes {
    /// Its operator's, who has shown its token to emit the event.
    ForOperator,
    /// Its own, because it leads.
    AsLeader,
}

/// Whether node `me` proposes the command that an event asks for; `believes` if it leads, and operators are
/// believed at the event's origin. Two nodes propose it, so that the command is applied even if one of them
/// dies; the state machine counts it once.
fn proposer(logged: &Logged, me: &str, believes: bool) -> Option<Proposes> {
    if logged.origin == me { Some(Proposes::ForOperator) } else { believes.then_some(Proposes::AsLeader) }
}

/// Wakes the leader so that it looks at the state now. Every node handles the event; only the leader acts.
fn leaders_turn(handles: &DaemonHandles) -> Handled {
    let metrics = handles.node.raft.metrics().borrow().clone();
    if metrics.leader.is_none() {
        return Err(HandlerError::NoQuorum);
    }
    if metrics.is_leader() {
        handles.leader.wake();
    }
    Ok(None)
}

/// Proposes the command that an event asks for. A refusal is the cluster's answer, not a failure.
async fn propose(node: &Context, command: Command, proposer: Proposes) -> Handled {
    let name = command.name();
    let outcome = match proposer {
        Proposes::ForOperator => node.propose_for_operator(command).await,
        Proposes::AsLeader => node.propose(command).await,
    };
    match outcome {
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
    use crate::events::Event;

    #[test]
    fn every_line_of_the_table_has_its_handler() {
        for kind in EventKind::ALL {
            let mut handled = kind.handlers().iter().filter(|handles| handles.how == HandlingMode::Own);
            assert!(handled.all(|handles| own(handles.daemon).is_some()), "{kind:?}");
            let mut proposes = kind.handlers().iter().filter(|handles| handles.how == HandlingMode::Proposes);
            assert!(proposes.all(|handles| handles.daemon == Component::Training), "{kind:?}");
        }
    }

    #[test]
    fn an_operators_event_is_proposed_by_its_emitter_and_by_the_leader() {
        let payload = serde_json::json!({"config_key": "hex8_2p"});
        let logged = |origin: &str| Logged {
            position: 1,
            origin: origin.into(),
            epoch: 3,
            sequence: 4,
            at_ms: 5,
            flow: "hex8_2p".into(),
            flow_previous: None,
            causes: Vec::new(),
            subject: None,
            injected: true,
            event: Event::from_operator("TRAINING_ROLLBACK_NEEDED", payload.clone(), "node-1", 1.5).unwrap(),
        };
        let check = |origin: &str, believes, expected| {
            assert_eq!(proposer(&logged(origin), "me", believes), expected, "{origin} {believes}");
        };
        check("me", false, Some(Proposes::ForOperator));
        check("me", true, Some(Proposes::ForOperator));
        check("other", true, Some(Proposes::AsLeader));
        check("other", false, None);
    }
}
