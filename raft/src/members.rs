//! The task that changes the membership.
//!
//! Invariant: only this task changes the membership, one change at a time, and each change has a deadline.

use crate::{
    handle::HandleShared,
    metrics::{self, Metrics},
    types::{Member, Raft, TypeConfig},
};
use cluster_state::{
    NodeId,
    voters::{self, Health, VotersView},
};
use openraft::{
    ChangeMembers,
    async_runtime::watch::WatchReceiver,
    errors::{ClientWriteError, RaftError},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Maximum time of one change.
const CHANGE: Duration = Duration::from_secs(5);
/// For how long a member that is about to be removed gets no vote. By then the state says that it was
/// removed.
const LEAVING: Duration = Duration::from_secs(10);

/// A request about one member.
pub(crate) struct MemberRequest {
    pub(crate) id: NodeId,
    pub(crate) what: MemberChange,
    pub(crate) reply: oneshot::Sender<Result<(), String>>,
}

/// What a request asks for.
pub(crate) enum MemberChange {
    /// That the peer becomes a member without a vote.
    AddLearner { peer_id: String },
    /// That the cluster can do without the member, which is about to be removed.
    Release,
}

/// Adds learners and releases members on request and, while this node leads, keeps the set of voters as it
/// should be and drops members that the state says were removed.
pub(crate) async fn run(
    shared: Arc<HandleShared>,
    mut inbox: mpsc::Receiver<MemberRequest>,
    shutdown: CancellationToken,
) {
    let mut tick = tokio::time::interval(shared.timing.voters_tick);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watched = Watched::default();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            request = inbox.recv() => match request {
                Some(MemberRequest { id, what, reply }) => {
                    let done = match what {
                        MemberChange::AddLearner { peer_id } => add_learner(&shared.raft, id, peer_id).await,
                        MemberChange::Release => release(&shared, &mut watched, id).await,
                    };
                    // The caller may have given up.
                    let _ = reply.send(done);
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

/// Takes the vote from a member that is about to be removed. Without its vote, the cluster goes on while the
/// others close their connections to it. If it is this node, it hands the leadership over as well.
async fn release(shared: &HandleShared, watched: &mut Watched, id: NodeId) -> Result<(), String> {
    // A change that an earlier leader began is finished first.
    if let [_, .., wanted] = shared.voter_configs().as_slice() {
        change_voters(shared, wanted.clone()).await?;
    }
    let metrics = shared.metrics.borrow().clone();
    watched.leaving = Some((id, Instant::now()));
    if let Some(wanted) = voters::without_leaving(&watched.view(&metrics, shared, Instant::now()))? {
        change_voters(shared, wanted).await?;
    }
    if id == metrics.id { hand_over(shared).await } else { Ok(()) }
}

/// Has the voter lead that has most of the log. A leader without a vote would go on leading.
async fn hand_over(shared: &HandleShared) -> Result<(), String> {
    let metrics = metrics::of(&shared.raft);
    let matched = |id: &NodeId| metrics.followers.get(id).and_then(|follower| follower.matched);
    let next = metrics.voters.iter().copied().filter(|id| *id != metrics.id).max_by_key(matched);
    let Some(next) = next else { return Err("nobody else votes yet: try again".into()) };
    tracing::info!(node = next.0, "handing the leadership over");
    shared.raft.trigger().transfer_leader(next).await.map_err(|e| e.to_string())
}

async fn change_voters(shared: &HandleShared, wanted: BTreeSet<NodeId>) -> Result<(), String> {
    tracing::info!(from = ?shared.voter_configs(), to = ?wanted, "changing the voters");
    let change = shared.raft.change_membership(wanted, true);
    outcome(tokio::time::timeout(CHANGE, change).await)
}

/// Drops members without a vote that were removed. An id that this node has not seen registered yet is not
/// among them.
async fn drop_removed(shared: &HandleShared, metrics: &Metrics) {
    let removed: BTreeSet<NodeId> = {
        let state = shared.state();
        metrics.learners.iter().copied().filter(|id| state.was_removed(*id)).collect()
    };
    if removed.is_empty() {
        return;
    }
    tracing::info!(nodes = ?removed, "dropping removed members");
    let change = shared.raft.change_membership(ChangeMembers::RemoveNodes(removed), true);
    if let Err(error) = outcome(tokio::time::timeout(CHANGE, change).await) {
        tracing::warn!(%error, "removed members were not dropped");
    }
}

/// Whether a majority follows this node, and it has applied an entry of its own term: what was committed
/// before is in its state.
fn leads_surely(shared: &HandleShared, metrics: &Metrics) -> bool {
    let alone = metrics.voters.iter().eq([&metrics.id]);
    let fresh = metrics.quorum_acked_ago().is_some_and(|ago| ago < shared.timing.election_max);
    let raft = shared.raft.metrics();
    let raft = raft.borrow_watched();
    let own_term = raft.last_applied.is_some_and(|id| id.leader_id.term == raft.current_term);
    metrics.is_leader() && own_term && (alone || fresh)
}

async fn adjust(shared: &HandleShared, watched: &mut Watched) {
    let metrics = shared.metrics.borrow().clone();
    if !metrics.is_leader() {
        *watched = Watched::default();
        return;
    }
    if leads_surely(shared, &metrics) {
        shared.trust.led(Instant::now());
    }
    let view = watched.view(&metrics, shared, Instant::now());
    match voters::decide(&view) {
        Some(wanted) => {
            if let Err(error) = change_voters(shared, wanted).await {
                tracing::warn!(%error, "the voters were not changed");
            }
        }
        None => drop_removed(shared, &metrics).await,
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
    /// The member that is about to be removed, and since when.
    leaving: Option<(NodeId, Instant)>,
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
        let leaves = self.leaving.filter(|(_, since)| now.saturating_duration_since(*since) < LEAVING);
        let state = shared.state();
        let removed = metrics.voters.union(&metrics.learners).filter(|id| state.was_removed(**id));
        VotersView {
            me: metrics.id,
            configs: shared.voter_configs(),
            others,
            leaving: removed.copied().chain(leaves.map(|(id, _)| id)).collect(),
            stable: shared.timing.stable,
            dead: shared.timing.dead,
        }
    }
}
