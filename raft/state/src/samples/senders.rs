//! Who may propose which command, as a table that tests of every size check.

use super::receipt;
use crate::{
    command::{Command, SetLeader},
    id::NodeId,
};

/// The command as member `node` with this peer id would propose it about itself; an announcement is that of
/// `leader` for its term.
pub fn about(mut command: Command, (node, peer_id): (NodeId, &str), leader: (NodeId, u64)) -> Command {
    match &mut command {
        Command::RegisterNode(it) => peer_id.clone_into(&mut it.peer_id),
        Command::RegisterSegment(it) => {
            it.receipts = [node, leader.0].map(|node| receipt(node.0, &it.facts())).into();
        }
        Command::SetDraining(it) => it.node = node,
        Command::AddSegmentHolder(it) => it.node = node,
        Command::ReportForgery(it) => it.node = node,
        Command::ModelHeld(it) => it.node = node,
        Command::RenewLease(it) => it.node = node,
        Command::FailLease(it) => it.node = node,
        Command::CompleteTraining(it) => it.node = node,
        Command::CompleteEvaluation(it) => it.node = node,
        Command::ConfirmEvidence(it) => it.node = node,
        Command::SetLeader(it) => *it = SetLeader { node: leader.0, term: leader.1, at_ms: 1 },
        Command::SetOnline(_)
        | Command::InitConfig(_)
        | Command::ThresholdReached(_)
        | Command::GrantLease(_)
        | Command::ExpireLease(_)
        | Command::Promote(_)
        | Command::Reject(_)
        | Command::SetTarget(_)
        | Command::SetFeedback(_)
        | Command::SetLearningRate(_)
        | Command::SetCurriculum(_)
        | Command::CancelLease(_)
        | Command::Appoint(_)
        | Command::Rollback(_)
        | Command::ReportRegression(_)
        | Command::SetBackpressure(_)
        | Command::SetSecret(_)
        | Command::IssueTicket(_)
        | Command::RevokeTicket(_)
        | Command::RemoveNode(_)
        | Command::SetOperators(_)
        | Command::PardonNode(_) => {}
    }
    command
}

/// Who may propose this, with an `x` for those that may: a stranger, a stranger that claims to be an
/// operator, a member for another, a member for itself, the leader, an operator at another member.
pub fn proposers(command: &Command) -> &'static str {
    match command {
        Command::RegisterNode(_) => "...x..",
        Command::RegisterSegment(_)
        | Command::AddSegmentHolder(_)
        | Command::ReportForgery(_)
        | Command::ModelHeld(_)
        | Command::RenewLease(_)
        | Command::FailLease(_)
        | Command::CompleteTraining(_)
        | Command::CompleteEvaluation(_)
        | Command::ConfirmEvidence(_) => "...x..",
        Command::SetDraining(_) => "...x.x",
        Command::SetLeader(_)
        | Command::SetOnline(_)
        | Command::InitConfig(_)
        | Command::ThresholdReached(_)
        | Command::GrantLease(_)
        | Command::ExpireLease(_)
        | Command::Promote(_)
        | Command::Reject(_)
        | Command::SetTarget(_)
        | Command::SetFeedback(_)
        | Command::SetLearningRate(_)
        | Command::SetCurriculum(_) => "....x.",
        Command::CancelLease(_)
        | Command::Rollback(_)
        | Command::ReportRegression(_)
        | Command::SetBackpressure(_) => "....xx",
        // In a cluster without a secret.
        Command::SetSecret(_) => "....xx",
        Command::Appoint(_)
        | Command::IssueTicket(_)
        | Command::RevokeTicket(_)
        | Command::RemoveNode(_)
        | Command::SetOperators(_)
        | Command::PardonNode(_) => ".....x",
    }
}
