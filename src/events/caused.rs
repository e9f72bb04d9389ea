//! Which events an applied command is.
//!
//! Invariant: pure. Every node applies the same commands and so writes the same events for itself; none of
//! them is ever sent. A command that changed nothing is no event. A new command does not compile until
//! somebody has said which event it is.

mod cluster;
mod leases;
mod promotion;
mod segments;
mod steering;

use super::Event;
use cluster_state::{
    ClusterState, Command, ConfigKey, Lease, LeaseKind, NodeId, Response,
    command::{CancelLease, ExpireLease, FailLease, ModelHeld},
};

/// Most hosts that an event names in one list, those with the lowest numbers: with two full lists it still
/// fits.
const HOSTS_MAX: usize = 256;

/// What a node is called in events and on screen.
#[must_use]
pub fn node_name(id: NodeId) -> String {
    format!("node-{id}")
}

/// A lease's name, unique for ever.
#[must_use]
pub fn job_id(kind: LeaseKind, config_key: &ConfigKey, epoch: u64) -> String {
    format!("{kind}:{config_key}:{epoch}")
}

/// Milliseconds since the epoch as the map's float seconds.
#[must_use]
pub fn seconds(at_ms: u64) -> f64 {
    at_ms as f64 / 1000.0
}

/// How many games an evaluation may take on this node, as EVALUATION_STARTED tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GamesPlanned {
    /// Of a candidate.
    pub candidate: u32,
    /// Of the champion, which plays the one before it.
    pub champion: u32,
}

/// What the tests say.
#[cfg(test)]
pub(crate) const GAMES_PLANNED: GamesPlanned = GamesPlanned { candidate: 400, champion: 50 };

/// What came of a command.
#[derive(Clone, Copy, Debug)]
pub struct AppliedCommand<'a> {
    /// The answer of the state machine.
    pub response: &'a Response,
    /// The state before the command.
    pub before: &'a ClusterState,
    /// The state after it.
    pub state: &'a ClusterState,
    /// How many games an evaluation may take here.
    pub games_planned: GamesPlanned,
}

impl AppliedCommand<'_> {
    /// Whether the command took effect, where the answer has nothing more to say.
    fn is_done(&self) -> bool {
        matches!(self.response, Response::Done)
    }

    /// The leader's name, as far as one announced itself.
    fn leader(&self) -> String {
        self.state.leader.as_ref().map(|leader| node_name(leader.node)).unwrap_or_default()
    }

    /// The lease that the command ended.
    fn ended(&self, kind: LeaseKind, config_key: &ConfigKey) -> Option<&Lease> {
        live(self.before, kind, config_key).filter(|_| self.is_done())
    }
}

/// The events of one applied command, in order.
#[must_use]
pub fn caused(command: &Command, applied: &AppliedCommand<'_>) -> Vec<Event> {
    match command {
        Command::RegisterNode(command) => cluster::registered(command, applied),
        Command::SetOnline(command) => cluster::online(command, applied),
        Command::SetLeader(command) => cluster::leader(command, applied),
        Command::RemoveNode(command) => cluster::removed(command, applied),
        Command::RegisterSegment(command) => segments::registered(command, applied),
        Command::ReportForgery(command) => segments::forgery(command, applied),
        Command::ThresholdReached(command) => segments::threshold(command, applied),
        Command::GrantLease(command) => leases::granted(command, applied),
        Command::ExpireLease(command) => leases::expired(command, applied),
        Command::FailLease(command) => leases::failed(command, applied),
        Command::CancelLease(command) => leases::cancelled(command, applied),
        Command::CompleteTraining(command) => leases::trained(command, applied),
        Command::CompleteEvaluation(command) => leases::evaluated(command, applied),
        Command::Promote(command) => promotion::promoted(&command.config_key, command.at_ms, applied),
        Command::Appoint(command) => promotion::promoted(&command.config_key, command.at_ms, applied),
        Command::Rollback(command) => promotion::rolled_back(command, applied),
        Command::Reject(command) => promotion::rejected(command, applied),
        Command::ModelHeld(command) => promotion::held(command, applied),
        Command::ReportRegression(command) => steering::regression(command, applied),
        Command::SetBackpressure(command) => steering::backpressure(command, applied),
        Command::SetCurriculum(command) => steering::curriculum(command, applied),
        // They ask for something, or say what every node sees in the state.
        Command::InitConfig(_)
        | Command::AddSegmentHolder(_)
        | Command::RenewLease(_)
        | Command::SetTarget(_)
        | Command::SetFeedback(_)
        | Command::SetLearningRate(_)
        | Command::SetDraining(_)
        | Command::SetSecret(_)
        | Command::IssueTicket(_)
        | Command::RevokeTicket(_)
        | Command::SetOperators(_)
        | Command::PardonNode(_)
        | Command::ConfirmEvidence(_) => Vec::new(),
    }
}

/// The command whose first event this command's events follow, as its index in the log.
#[must_use]
pub fn follows(command: &Command, before: &ClusterState) -> Option<u64> {
    let granted = |kind, config_key: &ConfigKey| live(before, kind, config_key).map(|lease| lease.id);
    match command {
        Command::CompleteTraining(command) => granted(LeaseKind::Training, &command.config_key),
        Command::CompleteEvaluation(command) => granted(LeaseKind::Evaluation, &command.config_key),
        Command::FailLease(FailLease { kind, config_key, .. })
        | Command::ExpireLease(ExpireLease { kind, config_key, .. })
        | Command::CancelLease(CancelLease { kind, config_key, .. }) => granted(*kind, config_key),
        // With it the champion may be everywhere.
        Command::ModelHeld(ModelHeld { model, .. }) => {
            let config = before.models.get(model).and_then(|known| before.config(&known.config_key))?;
            config.history.last().filter(|promotion| promotion.model == *model).map(|p| p.log_index)
        }
        // With the last of its leases, every other one was granted too.
        Command::RemoveNode(command) => leases::of_node(command.node, before).map(|lease| lease.id).max(),
        Command::RegisterNode(_)
        | Command::SetSecret(_)
        | Command::IssueTicket(_)
        | Command::RevokeTicket(_)
        | Command::SetOperators(_)
        | Command::SetOnline(_)
        | Command::SetLeader(_)
        | Command::InitConfig(_)
        | Command::RegisterSegment(_)
        | Command::AddSegmentHolder(_)
        | Command::ThresholdReached(_)
        | Command::GrantLease(_)
        | Command::RenewLease(_)
        | Command::Promote(_)
        | Command::Reject(_)
        | Command::SetTarget(_)
        | Command::ReportRegression(_)
        | Command::Rollback(_)
        | Command::SetBackpressure(_)
        | Command::SetFeedback(_)
        | Command::SetLearningRate(_)
        | Command::SetCurriculum(_)
        | Command::SetDraining(_)
        | Command::Appoint(_)
        | Command::ReportForgery(_)
        | Command::PardonNode(_)
        | Command::ConfirmEvidence(_) => None,
    }
}

fn live<'a>(state: &'a ClusterState, kind: LeaseKind, config_key: &ConfigKey) -> Option<&'a Lease> {
    state.config(config_key)?.lease(kind).live.as_ref()
}

/// The names of the first hosts of a list.
fn names(ids: impl Iterator<Item = NodeId>) -> Vec<String> {
    ids.take(HOSTS_MAX).map(node_name).collect()
}

#[cfg(test)]
mod tests;
