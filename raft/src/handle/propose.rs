//! Proposals of this node, and proposals that other nodes forward.

use super::{RaftHandle, serve::WAIT_MAX};
use crate::{
    error::ProposeError,
    members::{MemberChange, MemberRequest},
    metrics::Metrics,
    rpc::{self, Reply, Request},
};
use cluster_state::{
    ClusterState, Command, NodeId, Place, Proposal, Proposer, Refusal, Response, door, state_machine,
};
use openraft::errors::{ClientWriteError, RaftError};
use std::{sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::Instant};

/// Maximum time of one attempt: if a leader cannot commit in it, the next leader is tried.
const ATTEMPT: Duration = Duration::from_millis(1500);
/// Additional time for a forwarded request to travel.
const WAY: Duration = Duration::from_millis(200);
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(300);

/// How a request about a member ended.
pub(super) enum Changed {
    Done,
    /// The change was not made, for this reason.
    NotYet(String),
    /// The change may be made later.
    Unknown,
    Stopped,
}

/// How an attempt ended.
pub(super) enum Attempt {
    Applied(Response),
    /// The command was certainly not applied; that peer, if any, may be the leader.
    NotLeader(Option<String>),
    /// The command may have been applied or not.
    Unknown,
    Stopped(String),
}

impl RaftHandle {
    /// Does the same as [`Self::propose`], with another deadline.
    ///
    /// # Errors
    /// Returns [`ProposeError`]; after a timeout the command may still be applied.
    pub async fn propose_within(&self, command: Command, wait: Duration) -> Result<Response, ProposeError> {
        self.propose_as(false, command, wait).await
    }

    /// Does the same as [`Self::propose`] for an operator, who has proved to be one at this node.
    ///
    /// # Errors
    /// Returns [`ProposeError`]; after a timeout the command may still be applied.
    pub async fn propose_for_operator(&self, command: Command) -> Result<Response, ProposeError> {
        self.propose_as(true, command, self.shared.timing.propose).await
    }

    async fn propose_as(
        &self,
        operator: bool,
        command: Command,
        wait: Duration,
    ) -> Result<Response, ProposeError> {
        // To another leader, the connection tells who proposes.
        let by = if matches!(door::rule(&command), door::Rule::Peer(_)) {
            Proposer::peer(self.shared.peer_id.clone(), operator)
        } else {
            Proposer::leader(operator)
        };
        let proposal = Arc::new(Proposal { by, command });
        state_machine::check(&proposal.command).map_err(ProposeError::Refused)?;
        let deadline = Instant::now() + wait;
        let mut metrics = self.shared.metrics.clone();
        let mut pause = PAUSE_MIN;
        let mut asked = false;
        let mut hint: Option<String> = None;
        loop {
            let known = metrics.borrow_and_update().clone();
            let budget = deadline.saturating_duration_since(Instant::now()).min(ATTEMPT);
            if budget.is_zero() {
                return Err(if asked { ProposeError::Timeout } else { ProposeError::NoLeader });
            }
            let attempt = match hint.take().or_else(|| leader_elsewhere(&known)) {
                Some(peer) => self.forward(&peer, &proposal, budget).await,
                None if known.is_leader() => self.write_here(Arc::clone(&proposal), budget).await,
                None => Attempt::NotLeader(None),
            };
            match attempt {
                Attempt::Applied(Response::Refused(refusal)) => return Err(ProposeError::Refused(refusal)),
                Attempt::Applied(response) => return Ok(response),
                Attempt::Stopped(why) => return Err(ProposeError::Stopped(why)),
                Attempt::NotLeader(peer) => hint = peer.filter(|peer| *peer != self.shared.peer_id),
                Attempt::Unknown => asked = true,
            }
            if let Some(why) = known.failed {
                return Err(ProposeError::Stopped(why));
            }
            // The call waits for news of a leader, or for a pause.
            let next = (Instant::now() + pause).min(deadline);
            if hint.is_none() || pause > PAUSE_MIN {
                tokio::select! {
                    changed = metrics.changed() => if changed.is_err() {
                        return Err(ProposeError::Stopped("consensus has stopped".into()));
                    },
                    () = tokio::time::sleep_until(next) => {}
                }
                // The pause keeps this loop from spinning, because the metrics change often.
                tokio::time::sleep_until((Instant::now() + PAUSE_MIN).min(deadline)).await;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Has the task that changes the membership do something about a member.
    pub(super) async fn change_member(&self, id: NodeId, what: MemberChange) -> Changed {
        let (reply, done) = oneshot::channel();
        if self.shared.requests.try_send(MemberRequest { id, what, reply }).is_err() {
            return Changed::Unknown; // too many at once
        }
        match tokio::time::timeout(WAIT_MAX, done).await {
            Ok(Ok(Ok(()))) => Changed::Done,
            Ok(Ok(Err(reason))) => Changed::NotYet(reason),
            Ok(Err(_)) => Changed::Stopped,
            Err(_) => Changed::Unknown,
        }
    }

    /// Makes sure that the cluster can do without a member before it is removed: the others close their
    /// connections to it as soon as they know. An attempt that ends here has written nothing.
    async fn release(&self, proposal: &Proposal, node: NodeId) -> Option<Attempt> {
        let (me, state) = (self.shared.node_id, self.local());
        let metrics = self.shared.metrics.borrow().clone();
        let place = Place { index: state.applied, term: metrics.term, leader: me };
        // What is refused anyway changes no voters.
        if let Err(refusal) = door::authorise(proposal, place, &state) {
            return Some(Attempt::Applied(Response::Refused(refusal)));
        }
        if !metrics.is_leader() {
            return Some(Attempt::NotLeader(metrics.leader.map(|(_, peer)| peer)));
        }
        if !state.nodes.contains_key(&node) || state.nodes.len() == 1 {
            return None;
        }
        match self.change_member(node, MemberChange::Release).await {
            // The next leader goes on.
            Changed::Done if node == me => Some(Attempt::NotLeader(None)),
            Changed::Done => None,
            Changed::NotYet(reason) => {
                Some(Attempt::Applied(Response::Refused(Refusal::StillNeeded(node, reason))))
            }
            Changed::Unknown => Some(Attempt::NotLeader(None)),
            Changed::Stopped => Some(Attempt::Stopped("consensus has stopped".into())),
        }
    }

    /// Why a proposal would be refused when it is applied, because its proposer may not make it. Such a
    /// proposal costs no entry of the log. What this leader has not applied yet may allow it, so it catches
    /// up before it refuses.
    async fn not_allowed(&self, proposal: &Proposal, budget: Duration) -> Option<Refusal> {
        let judge = |state: &ClusterState| {
            let metrics = self.shared.metrics.borrow();
            // Another node would be refused what only the leader may; whether this one leads is for the log.
            let place = Place { index: state.applied + 1, term: metrics.term, leader: self.shared.node_id };
            let refused = (self.shared.door)(proposal, place, state).err();
            refused.filter(|_| metrics.is_leader())
        };
        judge(&self.local())?;
        match self.linearizable_within(budget).await {
            Ok(state) => judge(&state),
            // The log decides.
            Err(_) => None,
        }
    }

    /// Writes a proposal as the leader. A command that another node sends is checked as well, because an
    /// entry that is too large for the log would stop consensus.
    pub(super) async fn write_here(&self, proposal: Arc<Proposal>, budget: Duration) -> Attempt {
        if let Err(refusal) = state_machine::check(&proposal.command) {
            return Attempt::Applied(Response::Refused(refusal));
        }
        if let Some(refusal) = self.not_allowed(&proposal, budget / 2).await {
            return Attempt::Applied(Response::Refused(refusal));
        }
        if let Command::RemoveNode(it) = &proposal.command
            && let Some(ended) = self.release(&proposal, it.node).await
        {
            return ended;
        }
        match tokio::time::timeout(budget, self.shared.raft.client_write(proposal)).await {
            Err(_) => Attempt::Unknown,
            Ok(Ok(written)) => Attempt::Applied(written.data),
            Ok(Err(RaftError::Fatal(e))) => Attempt::Stopped(e.to_string()),
            Ok(Err(RaftError::APIError(e))) => match e {
                ClientWriteError::ForwardToLeader(to) => {
                    Attempt::NotLeader(to.leader_node.map(|member| member.peer_id))
                }
                ClientWriteError::LogEntryDiscarded(_) => Attempt::Unknown,
                ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_) => {
                    Attempt::NotLeader(None)
                }
            },
        }
    }

    async fn forward(&self, peer: &str, proposal: &Proposal, budget: Duration) -> Attempt {
        let Proposal { by, command } = proposal;
        let (command, operator) = (command.clone(), by.operator);
        let request = Request::Propose { command, operator, wait_ms: millis(budget) };
        let Ok(request) = rpc::encode_request(&request) else {
            return Attempt::Stopped("the command cannot be encoded".into());
        };
        let answer = self.shared.transport.call(peer, request, budget + WAY).await;
        match answer.map(|bytes| rpc::decode_reply(&bytes)) {
            Ok(Ok(Reply::Proposed(response))) => Attempt::Applied(response),
            Ok(Ok(Reply::NotLeader(leader))) => Attempt::NotLeader(leader.filter(|leader| leader != peer)),
            Ok(_) => Attempt::Unknown,
            Err(crate::TransportError::Unreachable(_)) => Attempt::NotLeader(None),
            Err(crate::TransportError::Timeout | crate::TransportError::Failed(_)) => Attempt::Unknown,
        }
    }
}

/// The leader's peer id, if it is another node.
pub(super) fn leader_elsewhere(metrics: &Metrics) -> Option<String> {
    let (id, peer) = metrics.leader.as_ref()?;
    (*id != metrics.id && !peer.is_empty()).then(|| peer.clone())
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
