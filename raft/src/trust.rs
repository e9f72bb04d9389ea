//! Whom a node follows that was away.
//!
//! A node that starts, or that has heard of no leader for a while, may have missed that a voter of its log
//! was removed. Such a one could still send entries under any term, and this node would apply what it
//! "commits". So the node asks first ([`crate::voucher`]).
//!
//! Invariant: while a node is away it takes messages of a leader only from a peer that [`judge`] follows.
//! That takes the word of so many voters of its own log that whoever may have taken the vote from that peer
//! without this node must be among them: of each set of `n` voters at least `n / 2`, rounded up, the peer
//! itself left out. Its own log counts as this node's word, since what a majority decided with this node's
//! vote is in it. Elections need no question: a vote makes nobody the leader that this node follows.
//!
//! When voters do not answer, nobody can tell a cluster that has lost them from one in which they have
//! removed the peer. A cluster that has a majority must go on, so after a time ([`Pace::grace`]) in which the
//! peer kept sending, those that answer decide, then other members. If nobody else answers at all, a node
//! that votes believes its own log, and every node a member that says itself that it votes: this node may
//! have got a vote of which its log does not know, and be needed. A removed voter can use that only while it
//! alone reaches this node. A node that is not away does not wait, because its log was right a moment ago.
//!
//! The node is not away any more once it has applied what a leader that it follows had committed in its own
//! term; from then on its own log says who votes. It knows of each removal by then.

use crate::{
    rpc::Voters,
    timing::Timing,
    types::{LogId, Vote},
};
use cluster_state::{NodeId, state_machine};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long what others have said about the voters counts, after the last message that rests on it.
const SAID: Duration = Duration::from_secs(30);
/// A sender that is silent for so long begins anew to wait for those that do not answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// What others say about the voters, as far as it is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct VotersSaid {
    /// Those that vote.
    pub(crate) followed: Voters,
    /// Voters of this node's own log that do not vote, as most say that answer.
    pub(crate) denied: Voters,
}

/// What this node asked, and what it heard.
pub(crate) struct Ballot<'a> {
    pub(crate) me: NodeId,
    /// The sets of voters of this node's own log: two during a change.
    pub(crate) configs: &'a [BTreeSet<NodeId>],
    /// These voters with their peer ids.
    pub(crate) own: &'a Voters,
    /// The voters that each of these names.
    pub(crate) answers: &'a BTreeMap<String, Voters>,
    /// The voters that other members name.
    pub(crate) others: &'a BTreeMap<String, Voters>,
    /// Whether those that do not answer are not waited for any more.
    pub(crate) waited: bool,
}

/// Decides about every voter that this node's log or an answer names.
pub(crate) fn judge(ballot: &Ballot<'_>) -> VotersSaid {
    let mut verdict = VotersSaid::default();
    let said = ballot.answers.values().chain(ballot.others.values()).flatten();
    let named: BTreeSet<(NodeId, &String)> = said.chain(ballot.own).map(|(id, peer)| (*id, peer)).collect();
    for (id, peer) in named.into_iter().filter(|(id, _)| *id != ballot.me) {
        let (yes, no) = tally(ballot.answers, id, peer);
        let is_own = ballot.own.get(&id) == Some(peer);
        if ballot.is_certain(id, peer) || ballot.waited && ballot.is_likely(id, peer) {
            if verdict.followed.len() < state_machine::NODES_MAX {
                verdict.followed.insert(id, peer.clone());
            }
        } else if is_own && no > yes {
            verdict.denied.insert(id, peer.clone());
        }
    }
    verdict
}

impl Ballot<'_> {
    /// Whether nobody can have taken the vote from this peer without one of those that name it.
    fn is_certain(&self, id: NodeId, peer: &str) -> bool {
        let names = |voter: &NodeId| {
            let answer = if *voter == self.me { Some(self.own) } else { self.answer_of(*voter) };
            answer.is_some_and(|voters| voters.get(&id).is_some_and(|it| it == peer))
        };
        let enough = |config: &BTreeSet<NodeId>| {
            let others = config.iter().filter(|voter| **voter != id);
            let need = config.len().div_ceil(2).min(others.clone().count());
            others.filter(|voter| names(voter)).count() >= need
        };
        let named = self.own.get(&id).is_some_and(|it| it == peer)
            || self.answers.values().any(|voters| voters.get(&id).is_some_and(|it| it == peer));
        named && !self.configs.is_empty() && self.configs.iter().all(enough)
    }

    /// Whether those say so that answer; the voters of this node's log before other members.
    fn is_likely(&self, id: NodeId, peer: &str) -> bool {
        let is_own = self.own.get(&id).is_some_and(|it| it == peer);
        let votes = self.configs.iter().all(|config| config.contains(&self.me));
        match (tally(self.answers, id, peer), tally(self.others, id, peer)) {
            ((0, 0), (0, 0)) => is_own && votes || self.speaks_for_itself(id, peer),
            ((yes, no), others) if yes == no => others.0 > others.1,
            ((yes, no), _) => yes > no,
        }
    }

    /// Whether this peer says itself that it votes.
    fn speaks_for_itself(&self, id: NodeId, peer: &str) -> bool {
        let answer = self.answers.get(peer).or_else(|| self.others.get(peer));
        answer.is_some_and(|voters| voters.get(&id).is_some_and(|it| it == peer))
    }

    fn answer_of(&self, voter: NodeId) -> Option<&Voters> {
        self.answers.get(self.own.get(&voter)?)
    }
}

/// How many answers name this voter, and how many do not. What a peer says of itself does not count.
fn tally(answers: &BTreeMap<String, Voters>, id: NodeId, peer: &str) -> (usize, usize) {
    let others = answers.iter().filter(|(from, _)| *from != peer);
    let (yes, no): (Vec<_>, Vec<_>) =
        others.partition(|(_, voters)| voters.get(&id).is_some_and(|it| it == peer));
    (yes.len(), no.len())
}

/// How fast trust comes and goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// A node that has heard of no leader for so long is away.
    pub(crate) silence: Duration,
    /// How long a node waits for voters that do not answer.
    pub(crate) grace: Duration,
}

impl Pace {
    pub(crate) fn of(timing: &Timing) -> Self {
        Self { silence: timing.election_max * 10, grace: timing.election_max * 4 }
    }
}

/// What a node may rest on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footing {
    /// Whether the applied state is that of the cluster, or was a few seconds ago.
    pub is_current: bool,
    /// Peer ids of voters that others have named because this node did not know whom to follow.
    pub named: BTreeSet<String>,
}

/// Whom this node follows, and what it knows of that.
pub(crate) struct Trust {
    pace: Pace,
    known: Mutex<TrustState>,
    publish: watch::Sender<Footing>,
}

#[derive(Default)]
struct TrustState {
    /// When this node last knew that its log names the voters.
    sure: Option<Instant>,
    /// Whether it has applied since then what was committed.
    caught_up: bool,
    /// The leader, and the index that it had committed.
    target: Option<(Vote, u64)>,
    /// Since when, and when last, somebody sent whom this node does not follow.
    doubted: Option<(Instant, Instant)>,
    verdict: Option<(Instant, VotersSaid)>,
}

impl TrustState {
    fn age(&mut self, pace: Pace, now: Instant) {
        let over = |at: Instant, limit| now.saturating_duration_since(at) >= limit;
        if self.sure.is_some_and(|at| over(at, pace.silence)) {
            (self.sure, self.caught_up, self.target) = (None, false, None);
            // Less was asked for it than a node that is away asks for.
            self.verdict = None;
        }
        self.verdict.take_if(|(at, _)| over(*at, SAID));
        self.doubted.take_if(|(_, last)| over(*last, PATIENCE));
    }

    fn be_current(&mut self, now: Instant) {
        (self.sure, self.caught_up, self.doubted) = (Some(now), true, None);
    }
}

impl Trust {
    /// `introduced`: whether this node has just been let in, and told who votes.
    pub(crate) fn new(pace: Pace, introduced: bool) -> Self {
        let sure = introduced.then(Instant::now);
        Self {
            pace,
            known: Mutex::new(TrustState { sure, ..TrustState::default() }),
            publish: watch::Sender::default(),
        }
    }

    pub(crate) fn standing(&self) -> watch::Receiver<Footing> {
        self.publish.subscribe()
    }

    fn with<T>(&self, now: Instant, work: impl FnOnce(&mut TrustState) -> T) -> T {
        let mut known = self.known.lock();
        known.age(self.pace, now);
        let done = work(&mut known);
        let named = known.verdict.iter().flat_map(|(_, it)| it.followed.values().cloned()).collect();
        let standing = Footing { is_current: known.caught_up, named };
        self.publish.send_if_modified(|last| std::mem::replace(last, standing.clone()) != standing);
        done
    }

    /// Whether this node is away, and what others have said about the voters.
    pub(crate) fn view(&self, now: Instant) -> (bool, VotersSaid) {
        self.with(now, |known| {
            let said = known.verdict.as_ref().map(|(_, verdict)| verdict.clone());
            (known.sure.is_none(), said.unwrap_or_default())
        })
    }

    /// Somebody sent something whom this node does not follow yet.
    pub(crate) fn doubt(&self, now: Instant) {
        self.with(now, |known| {
            known.doubted = Some((known.doubted.map_or(now, |(since, _)| since), now));
        });
    }

    /// Whether those that do not answer are not waited for any more.
    pub(crate) fn has_waited(&self, now: Instant) -> bool {
        self.with(now, |known| {
            known.doubted.is_some_and(|(since, last)| last.duration_since(since) >= self.pace.grace)
        })
    }

    /// Remembers what others say, in place of what they said before.
    pub(crate) fn hear(&self, verdict: VotersSaid, now: Instant) {
        self.with(now, |known| known.verdict = Some((now, verdict)));
    }

    /// A message of this peer was taken: what others said about it goes on counting, because it is at work.
    pub(crate) fn heard_from(&self, peer: &str, now: Instant) {
        self.with(now, |known| {
            if let Some((at, verdict)) = &mut known.verdict
                && verdict.followed.values().any(|it| it == peer)
            {
                *at = now;
            }
        });
    }

    /// This node has taken a leader's entries, and has applied everything up to `applied`. A leader knows
    /// what is committed once it has committed something of its own term.
    pub(crate) fn followed(&self, vote: &Vote, commit: Option<&LogId>, applied: u64, now: Instant) {
        self.with(now, |known| {
            if known.sure.is_some() {
                known.sure = Some(now);
            }
            if known.target.as_ref().is_none_or(|(leader, _)| leader != vote) {
                known.target = commit.filter(|id| id.leader_id == vote.leader_id).map(|id| (*vote, id.index));
            }
            if known.target.as_ref().is_some_and(|(_, index)| applied >= *index) {
                known.be_current(now);
            }
        });
    }

    /// This node leads, a majority follows it, and it has applied an entry of its own term.
    pub(crate) fn led(&self, now: Instant) {
        self.with(now, |known| known.be_current(now));
    }
}

#[cfg(test)]
mod tests;
