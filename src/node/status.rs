//! Composes the report on the state of the node and the cluster ([`Status`]).
//!
//! Invariant: a report that is not marked `stale` shows the leader's state, confirmed by a quorum after the
//! report was requested.

use crate::{
    api::{
        activity::NodeActivity,
        autoscaler::Recommendation,
        cluster::{ForgeryView, LeaderReport, LeaderView, NodeView, RaftRole},
        events::{EventsView, ShunnedView},
        health::ClusterView,
        models::PromotionView,
        status::{ConfigView, HealthWord, RefusedView, SCHEMA, Status},
        work::LeaseView,
    },
    clock::now_ms,
    compute::DelayGauge,
    daemons::{health::HealthHandle, idle_shutdown::LastBusy, supervisor::Supervisor},
    devices::Devices,
    events::{caused::node_name, deliveries::Deliveries, envelope::EventId, log::Shunned},
    http::ReportQuery,
    leader::{handover::handover, training::pauses},
    peer::Context,
};
use cluster_state::{ClusterState, ConfigState, Forgery, LeaseKind, LeaseSlot, NodeId};
use futures::FutureExt;
use p2p::Lobby;
use parking_lot::Mutex;
use raft::{Metrics, Role};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long the leader may take to confirm before this node answers from its own state.
const CONFIRM: Duration = Duration::from_millis(1000);

/// When the state last changed, or was last known to be the leader's. A clone is a cheap handle.
#[derive(Clone)]
pub(super) struct Fresh(Arc<Mutex<Instant>>);

impl Fresh {
    pub(super) fn since(at: Instant) -> Self {
        Self(Arc::new(Mutex::new(at)))
    }

    pub(super) fn now(&self) {
        *self.0.lock() = Instant::now();
    }

    fn age(&self) -> Duration {
        self.0.lock().elapsed()
    }
}

/// Handles of every part that the report shows.
pub(super) struct NodeReporter {
    pub(super) cluster: String,
    pub(super) node: Context,
    pub(super) fresh: Fresh,
    /// The connections of the HTTP interface.
    pub(super) door: Arc<Lobby>,
    pub(super) delay: DelayGauge,
    pub(super) deliveries: Deliveries,
    pub(super) devices: Arc<Devices>,
    /// Threads that play, and games that each of them plays, as the settings say.
    pub(super) threads_and_games: (usize, usize),
    /// Copies of every segment that the cluster keeps.
    pub(super) segment_copies: usize,
    pub(super) health: HealthHandle,
    pub(super) last_busy: LastBusy,
    pub(super) supervisor: Supervisor,
    pub(super) recommendation: watch::Receiver<Option<Recommendation>>,
}

impl NodeReporter {
    /// [`Self::status`] as a function that other parts can call.
    pub(super) fn status_query(self: &Arc<Self>) -> ReportQuery<Status> {
        let reporter = Arc::clone(self);
        Box::new(move || {
            let reporter = Arc::clone(&reporter);
            async move { reporter.status().await }.boxed()
        })
    }

    /// [`Self::leader`] as a function that other parts can call.
    pub(super) fn leader_query(self: &Arc<Self>) -> ReportQuery<LeaderReport> {
        let reporter = Arc::clone(self);
        Box::new(move || {
            let reporter = Arc::clone(&reporter);
            async move { reporter.leader().await }.boxed()
        })
    }

    /// The state to answer from, and its age if no quorum confirms it.
    async fn view(&self) -> (Arc<ClusterState>, Option<Duration>) {
        let node = &self.node;
        let known = node.raft.metrics().borrow().leader.is_some();
        if known && let Ok(state) = node.raft.linearizable_within(CONFIRM).await {
            self.fresh.now();
            return (state, None);
        }
        let age = self.fresh.age();
        (node.raft.local(), Some(age))
    }

    /// The leader, confirmed by a quorum if there is one.
    async fn leader(&self) -> LeaderReport {
        let node = &self.node;
        let (state, stale) = self.view().await;
        let metrics = node.raft.metrics().borrow().clone();
        LeaderReport {
            leader: leader_view(&state, &metrics),
            term: metrics.term,
            stale: stale.is_some(),
            age_ms: stale.map_or(0, millis),
            answered_by: node.name(),
        }
    }

    /// The status, confirmed by a quorum if there is one.
    async fn status(&self) -> Status {
        let node = &self.node;
        let (state, stale) = self.view().await;
        let metrics = node.raft.metrics().borrow().clone();
        let up = |id: &NodeId| {
            *id == node.id || state.nodes.get(id).is_some_and(|other| node.p2p.is_connected(&other.peer_id))
        };
        let voters_up = metrics.voters.iter().filter(|id| up(id)).count();
        let quorum = metrics.voters.len() / 2 + 1;
        let leader = leader_view(&state, &metrics);
        let nodes = self.node_views(&state, &metrics, up);
        let health = health_word(stale.is_some(), &nodes);
        let work = node.activity.get(Instant::now());
        let events = self.events_view(&state).await;
        let seen = self.health.view();
        let mut blocked = blocked(&state, &metrics, stale.is_some(), (voters_up, quorum), &work);
        if events.dead_letters > 0 {
            let count = events.dead_letters;
            blocked.push(format!("{count} events could not be handled here: see `ringrift dlq list`"));
        }
        Status {
            schema: SCHEMA,
            cluster: self.cluster.clone(),
            health,
            stale: stale.is_some(),
            age_ms: stale.map_or(0, millis),
            answered_by: node.name(),
            role: raft_role(metrics.role),
            leader,
            term: metrics.term,
            applied: state.applied,
            voters: metrics.voters.iter().copied().collect(),
            voters_up,
            quorum,
            nodes,
            configs: state.configs.values().map(|config| config_view(&state, config, &seen)).collect(),
            segments: state.segments.len(),
            devices: self.devices.view(self.threads_and_games),
            work,
            failures: self.supervisor.failures(Instant::now()),
            events,
            view: ClusterView::clone(&seen),
            recommendation: self.recommendation.borrow().clone(),
            delay_ms: millis(self.delay.get()),
            refused: RefusedView {
                http: self.door.refused(),
                p2p: node.p2p.refused(),
                gossip: node.p2p.drops().by_name(true),
                requests: node.p2p.drops().by_name(false),
            },
            blocked,
            uptime_ms: millis(node.started.elapsed()),
        }
    }

    fn node_views(
        &self,
        state: &ClusterState,
        metrics: &Metrics,
        up: impl Fn(&NodeId) -> bool,
    ) -> Vec<NodeView> {
        let busy = self.last_busy.all();
        let view = |known: &Arc<cluster_state::Node>| {
            let left = || handover(state, known.id, self.segment_copies);
            let handover = known.draining.is_some().then(left);
            let idle_ms = busy.get(&known.id).map(|at| millis(at.elapsed()));
            let distrusted = state.forgeries.get(&known.id).map(|forgery| forgery_view(forgery));
            NodeView {
                handover,
                idle_ms,
                distrusted,
                ..node_view(known, state.applied, metrics, up(&known.id))
            }
        };
        state.nodes.values().map(view).collect()
    }

    async fn events_view(&self, state: &ClusterState) -> EventsView {
        let node = &self.node;
        let (refused, shunned) = (node.events.refused(), shunned(state, &node.events.shunned().borrow()));
        match self.deliveries.status().await {
            Ok((handlers, dead_letters)) => EventsView { refused, handlers, dead_letters, shunned },
            Err(error) => {
                tracing::error!(%error, "the handlers' cursors cannot be read");
                EventsView { refused, shunned, ..EventsView::default() }
            }
        }
    }
}

fn shunned(state: &ClusterState, shunned: &Shunned) -> Vec<ShunnedView> {
    let view = |id: &EventId| {
        let name =
            state.node_of_peer(&id.origin).map_or_else(|| id.origin.clone(), |node| node_name(node.id));
        ShunnedView { node_id: name, peer_id: id.origin.clone(), epoch: id.epoch, sequence: id.sequence }
    };
    shunned.values().map(view).collect()
}

fn health_word(stale: bool, nodes: &[NodeView]) -> HealthWord {
    // A node that drained may be offline.
    let all_up = nodes.iter().all(|node| node.online || node.draining.is_some());
    match (stale, all_up) {
        (true, _) => HealthWord::NoQuorum,
        (false, false) => HealthWord::Degraded,
        (false, true) => HealthWord::Healthy,
    }
}

fn raft_role(role: Role) -> RaftRole {
    match role {
        Role::Learner => RaftRole::Learner,
        Role::Follower => RaftRole::Follower,
        Role::Candidate => RaftRole::Candidate,
        Role::Leader => RaftRole::Leader,
        Role::Stopped => RaftRole::Stopped,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn leader_view(state: &ClusterState, metrics: &Metrics) -> Option<LeaderView> {
    let (id, peer_id) = metrics.leader.clone()?;
    let announced = state.leader.as_ref().filter(|leader| leader.node == id);
    Some(LeaderView {
        id,
        node_id: node_name(id),
        host: state.nodes.get(&id).map(|node| node.name.clone()).unwrap_or_default(),
        peer_id,
        term: metrics.term,
        since_ms: announced.map_or(0, |leader| leader.since_ms),
    })
}

fn forgery_view(forgery: &Forgery) -> ForgeryView {
    ForgeryView {
        segment: forgery.segment,
        game: forgery.game,
        ply: forgery.ply,
        confirmed_by: forgery.confirmed_by.iter().map(|id| node_name(*id)).collect(),
        at_ms: forgery.at_ms,
    }
}

fn node_view(node: &cluster_state::Node, applied: u64, metrics: &Metrics, connected: bool) -> NodeView {
    let leads = metrics.leader.as_ref().is_some_and(|(id, _)| *id == node.id);
    let role = match (leads, metrics.voters.contains(&node.id)) {
        (true, _) => "leader",
        (false, true) => "voter",
        (false, false) => "learner",
    };
    NodeView {
        id: node.id,
        node_id: node_name(node.id),
        host: node.name.clone(),
        peer_id: node.peer_id.clone(),
        role: role.to_owned(),
        online: node.online,
        reason: node.reason.clone(),
        since_ms: node.since_ms,
        connected,
        addrs: node.addrs.clone(),
        http: node.http.clone(),
        version: node.version.clone(),
        draining: node.draining.as_ref().map(|draining| draining.reason.clone()),
        distrusted: None,
        reports_unconfirmed: node.standing.unconfirmed(applied),
        reports_open: node.standing.reports.len(),
        handover: None,
        idle_ms: None,
        admitted: node.admitted.to_string(),
        admitted_ms: node.joined_ms,
    }
}

fn lease_view(slot: &LeaseSlot) -> LeaseView {
    LeaseView {
        node_id: slot.live.as_ref().map(|lease| node_name(lease.node)),
        epoch: slot.epoch,
        subject: slot.live.as_ref().and_then(|lease| lease.subject),
        failures: slot.failures,
        last_error: slot.last_end.as_ref().map(|end| end.reason.clone()),
    }
}

fn config_view(state: &ClusterState, config: &ConfigState, view: &ClusterView) -> ConfigView {
    let champion = state.models.get(&config.champion);
    let newest = state.models.get(&config.newest);
    let history = config.history.iter().map(|promotion| PromotionView::from(promotion.as_ref()));
    ConfigView {
        config_key: config.config_key.clone(),
        champion: config.champion,
        generation: config.generation,
        elo: config.elo,
        distributed: config.distributed,
        holders: champion.map(|m| m.holders.iter().map(|id| node_name(*id)).collect()).unwrap_or_default(),
        games_total: config.games_total,
        games_since_training: config.games_since_training,
        threshold: config.threshold,
        candidates: config.candidates.clone(),
        training_paused: pauses(config, view),
        steering: config.steering.clone(),
        training: lease_view(&config.training),
        evaluation: lease_view(&config.evaluation),
        val_loss: newest.and_then(|model| model.report.as_ref()).map(|report| report.val_loss),
        target: config.target.reason.clone(),
        history: history.collect(),
    }
}

/// The work that does not go on, with the reason, as sentences for an operator.
fn blocked(
    state: &ClusterState,
    metrics: &Metrics,
    stale: bool,
    (up, need): (usize, usize),
    work: &NodeActivity,
) -> Vec<String> {
    let mut found = Vec::new();
    if stale {
        let seconds = |since_ms: u64| now_ms().saturating_sub(since_ms) / 1000;
        let away: Vec<String> = metrics
            .voters
            .iter()
            .filter_map(|id| state.nodes.get(id))
            .filter(|node| !node.online)
            .map(|node| format!("{} down for {} s", node_name(node.id), seconds(node.since_ms)))
            .collect();
        let away = if away.is_empty() { String::new() } else { format!("; {}", away.join(", ")) };
        found.push(format!(
            "no decisions: {up} of {} voters are up, {need} are needed{away}",
            metrics.voters.len()
        ));
    }
    for config in state.configs.values() {
        for kind in [LeaseKind::Training, LeaseKind::Evaluation] {
            let slot = config.lease(kind);
            if let Some(error) = slot.last_end.as_ref().map(|end| &end.reason).filter(|_| slot.failures > 0) {
                let (key, times) = (&config.config_key, slot.failures);
                found.push(format!("{kind} of {key} failed {times} times in a row, last: {error}"));
            }
        }
    }
    if let Some(reason) = &work.selfplay.paused {
        found.push(format!("no self-play here: {reason}"));
    }
    found
}
