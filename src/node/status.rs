//! How things stand: one report for the command line, the HTTP interface and the demo.
//!
//! Invariant: unless it says `stale`, it is from the leader's state as confirmed by a quorum after it was asked for.
//! Every key is always present.

use crate::{
    clock::now_ms,
    daemons::{
        autoscaler::Recommendation,
        health::View,
        idle_shutdown::{Handover, handover},
        supervisor::DaemonFailures,
    },
    devices::DevicesView,
    events::{caused::node_name, runner::HandlerStatus},
    leader::training::{Pause, pauses},
    peer::{Context, Work},
};
use cluster_state::{ClusterState, ConfigState, LeaseKind, LeaseSlot, NodeId, Promotion, Steering};
use raft::{Metrics, Role};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use wire::Hash;

/// Version of the report.
pub const SCHEMA: u32 = 1;
/// How long the leader may take to confirm before this node answers from its own state.
const CONFIRM: Duration = Duration::from_millis(1000);

/// In one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// Every node is up.
    #[serde(rename = "HEALTHY")]
    Healthy,
    /// Some node is down; decisions are taken.
    #[serde(rename = "DEGRADED")]
    Degraded,
    /// Too few voters are up: nothing can be decided.
    #[serde(rename = "NO QUORUM")]
    NoQuorum,
}

impl Health {
    /// As people read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Degraded => "DEGRADED",
            Self::NoQuorum => "NO QUORUM",
        }
    }
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderView {
    /// Its id.
    pub id: NodeId,
    /// Its name in events.
    pub node_id: String,
    /// Its host.
    pub host: String,
    /// Its libp2p id.
    pub peer_id: String,
    /// Its term.
    pub term: u64,
    /// Since when, milliseconds since the epoch.
    pub since_ms: u64,
}

/// The answer to "who leads?".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderReport {
    /// The leader, if there is one.
    pub leader: Option<LeaderView>,
    /// The term.
    pub term: u64,
    /// Not confirmed by a quorum.
    pub stale: bool,
    /// Age of what is said, if stale.
    pub age_ms: u64,
    /// The node that answers.
    pub answered_by: String,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its id.
    pub id: NodeId,
    /// Its name in events.
    pub node_id: String,
    /// Its host.
    pub host: String,
    /// Its libp2p id.
    pub peer_id: String,
    /// `leader`, `voter` or `learner`.
    pub role: String,
    /// As the leader sees it.
    pub online: bool,
    /// Why.
    pub reason: String,
    /// Since when, milliseconds since the epoch.
    pub since_ms: u64,
    /// Whether the answering node is connected to it.
    pub connected: bool,
    /// Where it listens.
    pub addrs: Vec<String>,
    /// Its HTTP interface.
    pub http: String,
    /// Its version.
    pub version: String,
    /// It gets no more work: why.
    pub draining: Option<String>,
    /// What it still has to hand on, if it drains.
    pub handover: Option<Handover>,
    /// Milliseconds since it last showed work, as the answering node heard it; none if it has not.
    pub idle_ms: Option<u64>,
}

/// Exclusive work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    /// The holder now.
    pub node_id: Option<String>,
    /// Number of the last lease.
    pub epoch: u64,
    /// The candidate, for an evaluation.
    pub subject: Option<Hash>,
    /// Failures in a row.
    pub failures: u32,
    /// The last one.
    pub last_error: Option<String>,
}

/// One champion after another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromotionView {
    /// Its number.
    pub generation: u64,
    /// The model.
    pub model: Hash,
    /// The one before.
    pub previous: Hash,
    /// The gain.
    pub elo_delta: f64,
    /// The rating.
    pub new_elo: f64,
    /// When, milliseconds since the epoch.
    pub at_ms: u64,
}

impl From<&Promotion> for PromotionView {
    fn from(promotion: &Promotion) -> Self {
        Self {
            generation: promotion.generation,
            model: promotion.model,
            previous: promotion.previous,
            elo_delta: promotion.elo_delta,
            new_elo: promotion.new_elo,
            at_ms: promotion.at_ms,
        }
    }
}

/// One configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigView {
    /// Such as `hex8_2p`.
    pub config_key: String,
    /// The model that plays.
    pub champion: Hash,
    /// Its number.
    pub generation: u64,
    /// Its rating.
    pub elo: f64,
    /// Every online node holds it.
    pub distributed: bool,
    /// Nodes that hold it.
    pub holders: Vec<String>,
    /// Acknowledged self-play games.
    pub games_total: u64,
    /// Acknowledged self-play games since the last crossing.
    pub games_since_training: u64,
    /// Games that cause a training.
    pub threshold: u64,
    /// Models that wait for a verdict.
    pub candidates: Vec<Hash>,
    /// Why no training starts, as the answering node sees it: a set of causes, each of which ends by itself.
    pub training_paused: Vec<Pause>,
    /// What holds it back or drives it on.
    pub steering: Steering,
    /// Training.
    pub training: LeaseView,
    /// Evaluation.
    pub evaluation: LeaseView,
    /// Loss of the newest model on games set aside.
    pub val_loss: Option<f64>,
    /// What self-play is asked to do.
    pub target: String,
    /// All promotions, oldest first.
    pub history: Vec<PromotionView>,
}

/// Events at one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsView {
    /// Events refused since the process began, by reason.
    pub refused: BTreeMap<String, u64>,
    /// How far each handler is.
    pub handlers: Vec<HandlerStatus>,
    /// Events that a handler could not handle.
    pub dead_letters: u64,
}

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the cluster.
    pub cluster: String,
    /// In one word.
    pub health: Health,
    /// Not confirmed by a quorum: this node's own view.
    pub stale: bool,
    /// Its age, if stale.
    pub age_ms: u64,
    /// The node that answers.
    pub answered_by: String,
    /// Its part in Raft.
    pub role: Role,
    /// Who leads.
    pub leader: Option<LeaderView>,
    /// Raft's term.
    pub term: u64,
    /// Log entries applied here.
    pub applied: u64,
    /// Voters.
    pub voters: Vec<NodeId>,
    /// Voters that the answering node is connected to, itself included.
    pub voters_up: usize,
    /// Voters that a decision needs.
    pub quorum: usize,
    /// All nodes.
    pub nodes: Vec<NodeView>,
    /// All configurations.
    pub configs: Vec<ConfigView>,
    /// Acknowledged segments.
    pub segments: usize,
    /// Where the answering node computes.
    pub devices: DevicesView,
    /// What the answering node does.
    pub work: Work,
    /// Its daemons that failed.
    pub failures: Vec<DaemonFailures>,
    /// Events at the answering node.
    pub events: EventsView,
    /// Hosts and cluster as the answering node sees them.
    pub view: View,
    /// How many peers there should be, as the answering node sees it.
    pub recommendation: Option<Recommendation>,
    /// The longest recent delay of its tasks.
    pub delay_ms: u64,
    /// What does not go on, and why.
    pub blocked: Vec<String>,
    /// Milliseconds since the answering process began.
    pub uptime_ms: u64,
}

/// The state to answer from, and its age if no quorum confirms it.
async fn view(node: &Context) -> (Arc<ClusterState>, Option<Duration>) {
    let known = node.raft.metrics().borrow().leader.is_some();
    if known && let Ok(state) = node.raft.linearizable_within(CONFIRM).await {
        node.fresh.send_replace(Instant::now());
        return (state, None);
    }
    let age = node.fresh.borrow().elapsed();
    (node.raft.local(), Some(age))
}

/// Who leads, as confirmed by a quorum if there is one.
pub async fn leader(node: &Context) -> LeaderReport {
    let (state, stale) = view(node).await;
    let metrics = node.raft.metrics().borrow().clone();
    LeaderReport {
        leader: leader_view(&state, &metrics),
        term: metrics.term,
        stale: stale.is_some(),
        age_ms: stale.map_or(0, millis),
        answered_by: node.name(),
    }
}

/// How things stand, as confirmed by a quorum if there is one.
pub async fn status(node: &Context, cluster: &str) -> Status {
    let (state, stale) = view(node).await;
    let metrics = node.raft.metrics().borrow().clone();
    let up = |id: &NodeId| {
        *id == node.id || state.nodes.get(id).is_some_and(|other| node.p2p.is_connected(&other.peer_id))
    };
    let voters_up = metrics.voters.iter().filter(|id| up(id)).count();
    let quorum = metrics.voters.len() / 2 + 1;
    let leader = leader_view(&state, &metrics);
    let busy = node.hosts.all();
    let view = |known: &Arc<cluster_state::Node>| {
        let left = || handover(&state, known.id, node.config.segment_copies);
        let handover = known.draining.is_some().then(left);
        let idle_ms = busy.get(&known.id).map(|at| millis(at.elapsed()));
        NodeView { handover, idle_ms, ..node_view(known, &metrics, up(&known.id)) }
    };
    let nodes: Vec<NodeView> = state.nodes.values().map(view).collect();
    // Who drained may go.
    let all_up = nodes.iter().all(|n| n.online || n.draining.is_some());
    let health = match (stale, all_up) {
        (Some(_), _) => Health::NoQuorum,
        (None, false) => Health::Degraded,
        (None, true) => Health::Healthy,
    };
    let work = node.activity.get(Instant::now());
    let events = events_view(node).await;
    let seen = Arc::clone(&node.cluster.borrow());
    let mut blocked = blocked(&state, &metrics, stale.is_some(), (voters_up, quorum), &work);
    if events.dead_letters > 0 {
        let count = events.dead_letters;
        blocked.push(format!("{count} events could not be handled here: see `ringrift dlq list`"));
    }
    Status {
        schema: SCHEMA,
        cluster: cluster.to_owned(),
        health,
        stale: stale.is_some(),
        age_ms: stale.map_or(0, millis),
        answered_by: node.name(),
        role: metrics.role,
        leader,
        term: metrics.term,
        applied: state.applied,
        voters: metrics.voters.iter().copied().collect(),
        voters_up,
        quorum,
        nodes,
        configs: state.configs.values().map(|config| config_view(&state, config, &seen)).collect(),
        segments: state.segments.len(),
        devices: node.devices.view(&node.config),
        work,
        failures: node.supervisor.failures(Instant::now()),
        events,
        view: View::clone(&seen),
        recommendation: node.recommendation.borrow().clone(),
        delay_ms: millis(node.delay.get()),
        blocked,
        uptime_ms: millis(node.started.elapsed()),
    }
}

async fn events_view(node: &Context) -> EventsView {
    let refused = node.events.refused();
    match node.runner.status().await {
        Ok((handlers, dead_letters)) => EventsView { refused, handlers, dead_letters },
        Err(error) => {
            tracing::error!(%error, "the handlers' cursors cannot be read");
            EventsView { refused, ..EventsView::default() }
        }
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

fn node_view(node: &cluster_state::Node, metrics: &Metrics, connected: bool) -> NodeView {
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
        draining: node.draining.clone(),
        handover: None,
        idle_ms: None,
    }
}

fn lease_view(slot: &LeaseSlot) -> LeaseView {
    LeaseView {
        node_id: slot.live.as_ref().map(|lease| node_name(lease.node)),
        epoch: slot.epoch,
        subject: slot.live.as_ref().and_then(|lease| lease.subject),
        failures: slot.failures,
        last_error: slot.last_error.clone(),
    }
}

fn config_view(state: &ClusterState, config: &ConfigState, view: &View) -> ConfigView {
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

/// What does not go on, and why, as sentences for an operator.
fn blocked(
    state: &ClusterState,
    metrics: &Metrics,
    stale: bool,
    (up, need): (usize, usize),
    work: &Work,
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
            if let Some(error) = slot.last_error.as_ref().filter(|_| slot.failures > 0) {
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
