//! Who may propose which command.
//!
//! Invariant: every replica comes to the same answer, because the answer depends only on the proposal, the
//! place of its log entry and the state before it. Each command has exactly one rule ([`rule`] has no other
//! arm), and a proposal that its rule does not allow changes nothing.
//!
//! The leader that writes an entry stamps it with the peer id that the proposer's connection has proved, or
//! with none if it proposes itself. A leader could stamp a wrong one: consensus trusts its voters, and
//! [security](../../../docs/security.md) says what follows.

use crate::{
    command::{Command, TEXT_BYTES_MAX},
    id::NodeId,
    response::Refusal,
    state::ClusterState,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who asks for a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposer {
    /// Libp2p peer id of the node that asks, which its connection has proved; `None` if the leader asks that
    /// writes the entry, as for most entries, and not about its own membership.
    pub peer_id: Option<String>,
    /// Whether an operator asked that node, and proved that with the token of its data folder, as the node
    /// says. It counts only at members where operators are believed.
    pub operator: bool,
}

impl Proposer {
    /// The leader that writes the entry.
    #[must_use]
    pub const fn leader(operator: bool) -> Self {
        Self { peer_id: None, operator }
    }

    /// The node with this peer id.
    #[must_use]
    pub const fn peer(peer_id: String, operator: bool) -> Self {
        Self { peer_id: Some(peer_id), operator }
    }
}

/// A command, and who asks for it: the content of a log entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Who asks for the command.
    pub by: Proposer,
    /// The change that is asked for.
    pub command: Command,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.command, self.by.peer_id.as_deref().unwrap_or("the leader"))
    }
}

/// The place of an entry in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the entry.
    pub index: u64,
    /// Term of the leader that wrote it.
    pub term: u64,
    /// Id of that leader.
    pub leader: NodeId,
}

/// Who may propose a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule<'a> {
    /// The peer with this peer id, about itself, also before it is a member.
    Peer(&'a str),
    /// The member with this id, about itself.
    Itself(NodeId),
    /// The member with this id, or an operator at any member.
    ItselfOrOperator(NodeId),
    /// The member that leads in the term of the entry.
    Leader,
    /// The member that leads, about its own leadership of this term.
    Announcement(NodeId, u64),
    /// The member that leads, or an operator at any member.
    LeaderOrOperator,
    /// An operator at any member.
    Operator,
    /// An operator at any member; the leader, while the cluster has no secret.
    OperatorOrFounder,
}

/// Who may do what only an operator may.
const OPERATOR: &str = "an operator, at a member where operators are believed,";

/// The rule of a command.
#[must_use]
pub fn rule(command: &Command) -> Rule<'_> {
    match command {
        Command::RegisterNode(it) => Rule::Peer(&it.peer_id),
        Command::SetLeader(it) => Rule::Announcement(it.node, it.term),
        Command::SetDraining(it) => Rule::ItselfOrOperator(it.node),
        Command::RegisterSegment(it) => Rule::Itself(it.origin()),
        Command::AddSegmentHolder(it) => Rule::Itself(it.node),
        Command::ReportForgery(it) => Rule::Itself(it.node),
        Command::ModelHeld(it) => Rule::Itself(it.node),
        Command::RenewLease(it) => Rule::Itself(it.node),
        Command::FailLease(it) => Rule::Itself(it.node),
        Command::CompleteTraining(it) => Rule::Itself(it.node),
        Command::CompleteEvaluation(it) => Rule::Itself(it.node),
        Command::ConfirmEvidence(it) => Rule::Itself(it.node),
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
        | Command::SetCurriculum(_) => Rule::Leader,
        // An operator's event asks for the last three: the node that emitted it proposes them for the
        // operator, and the leader when the event reaches it.
        Command::CancelLease(_)
        | Command::Rollback(_)
        | Command::ReportRegression(_)
        | Command::SetBackpressure(_) => Rule::LeaderOrOperator,
        Command::Appoint(_)
        | Command::IssueTicket(_)
        | Command::RevokeTicket(_)
        | Command::RemoveNode(_)
        | Command::SetOperators(_)
        | Command::PardonNode(_) => Rule::Operator,
        Command::SetSecret(_) => Rule::OperatorOrFounder,
    }
}

/// Refuses a proposal that its proposer may not make. `state` is the state before the entry.
///
/// # Errors
/// Returns [`Refusal::NotAllowed`] with the sender that the rule asks for.
pub fn authorise(proposal: &Proposal, place: Place, state: &ClusterState) -> Result<(), Refusal> {
    let Proposer { peer_id, operator } = &proposal.by;
    if peer_id.as_ref().is_some_and(|peer_id| peer_id.len() > TEXT_BYTES_MAX) {
        return Err(Refusal::Invalid("proposer".into()));
    }
    let rule = rule(&proposal.command);
    let names = |subject: &str| peer_id.as_deref() == Some(subject);
    if let Rule::Peer(subject) = rule {
        return allowed(names(subject), "the node that it names");
    }
    let member = match peer_id {
        Some(peer_id) => state.node_of_peer(peer_id),
        None => state.nodes.get(&place.leader).map(|member| &**member),
    };
    let Some(member) = member else { return allowed(false, "a member of the cluster") };
    let leads = member.id == place.leader;
    let operator = *operator && state.admissions.takes_operators(member.id);
    match rule {
        Rule::Peer(subject) => allowed(names(subject), "the node that it names"),
        Rule::Itself(subject) => allowed(member.id == subject, "the node that it names"),
        Rule::ItselfOrOperator(subject) => {
            allowed(operator || member.id == subject, "the node that it names, or an operator")
        }
        Rule::Leader => allowed(leads, "the leader"),
        Rule::Announcement(node, term) => {
            allowed(leads && node == place.leader && term == place.term, "the leader of that term")
        }
        Rule::LeaderOrOperator => allowed(leads || operator, "the leader or an operator"),
        Rule::Operator => allowed(operator, OPERATOR),
        Rule::OperatorOrFounder => {
            let founds = leads && state.admissions.secret.is_none();
            allowed(operator || founds, OPERATOR)
        }
    }
}

fn allowed(allowed: bool, only: &str) -> Result<(), Refusal> {
    if allowed { Ok(()) } else { Err(Refusal::NotAllowed(only.into())) }
}

#[cfg(test)]
mod tests;
