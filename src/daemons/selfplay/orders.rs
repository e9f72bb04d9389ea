//! What this node should play now.
//!
//! Invariant: a device that trains or evaluates plays no games, because its cores, or the card, have more
//! urgent work. Other cards go on playing. A node that sees the cluster as unhealthy plays less; it decides
//! so by its own view, because without a quorum no leader can tell it to.

use super::{SelfplayDaemon, thread::OnHost};
use crate::{
    api::health::{ClusterView, HostState},
    daemons::cache::LoadedNetworks,
    devices::number_of,
    peer::WorkError,
    store::record::SIMULATIONS_MAX,
};
use cluster_state::{ClusterState, ConfigKey, LeaseKind, ModelId, NodeId};
use kernels::Network;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// Unacknowledged games at which a node stops playing, because no other node takes its segments.
const UNACKNOWLEDGED_MAX: u64 = 8192;
/// Least share of its time in which a node plays while the cluster is unhealthy.
const RATE_MIN: f64 = 0.3;
/// Pause between two looks when nothing has changed.
const TICK: Duration = Duration::from_secs(1);

/// What the threads should play.
#[derive(Clone, Default)]
pub(super) struct Orders {
    pub(super) configs: Vec<ConfigOrder>,
    /// Why this node plays nothing, if it does not play.
    pub(super) paused: Option<String>,
    /// Devices, by number, that play nothing.
    pub(super) occupied: BTreeSet<usize>,
    /// Share of the time in which the threads play; see [`rate`].
    pub(super) rate: f64,
}

/// How the games of one configuration are played.
#[derive(Clone)]
pub(super) struct ConfigOrder {
    pub(super) config: rules::Config,
    /// Share of the time that this configuration gets, relative to the others.
    pub(super) weight: f64,
    pub(super) simulations: u32,
    pub(super) exploration: f64,
    pub(super) model: ModelId,
    pub(super) network: Arc<Network>,
}

impl ConfigOrder {
    /// The values that new games depend on.
    pub(super) fn key(&self) -> (ModelId, u32, u64) {
        (self.model, self.simulations, self.exploration.to_bits())
    }

    fn equals(&self, other: &Self) -> bool {
        let all = |one: &Self| (one.config, one.weight.to_bits(), one.key());
        all(self) == all(other)
    }
}

impl Orders {
    fn equals(&self, other: &Self) -> bool {
        self.paused == other.paused
            && self.occupied == other.occupied
            && self.rate.to_bits() == other.rate.to_bits()
            && self.configs.len() == other.configs.len()
            && self.configs.iter().zip(&other.configs).all(|(one, other)| one.equals(other))
    }
}

/// The share of its time in which a node with this view of the cluster plays: all of it, or while the cluster
/// is unhealthy the healthy share of the hosts that the node knows.
fn rate(view: &ClusterView) -> f64 {
    if view.unhealthy.is_none() {
        return 1.0;
    }
    let count = |state: HostState| view.hosts.values().filter(|host| **host == state).count() as f64;
    let (online, offline) = (count(HostState::Online), count(HostState::Offline));
    if online + offline == 0.0 { 1.0 } else { (online / (online + offline)).max(RATE_MIN) }
}

/// The devices of node `me`, by number, that its other work occupies, with the name of that work.
fn occupied(state: &ClusterState, me: NodeId, devices: usize) -> BTreeMap<usize, String> {
    let mut found = BTreeMap::new();
    for config in state.configs.values() {
        for kind in [LeaseKind::Training, LeaseKind::Evaluation] {
            if config.lease(kind).live.as_ref().is_some_and(|lease| lease.node == me) {
                let work = || format!("this node has the {kind} of {}", config.config_key);
                found.entry(number_of(kind, devices)).or_insert_with(work);
            }
        }
    }
    found
}

/// Why this node plays no games, if it does not. It plays on the first `devices` of its devices.
fn pause(occupied: &BTreeMap<usize, String>, devices: usize, unacknowledged: u64) -> Option<String> {
    let mut used = occupied.range(..devices);
    if used.clone().count() >= devices {
        return used.next().map(|(_, work)| work.clone());
    }
    if unacknowledged >= UNACKNOWLEDGED_MAX {
        return Some(format!("{unacknowledged} games wait to be acknowledged"));
    }
    None
}

/// The configurations that every card of the node searches.
fn on_cards(configs: &[ConfigOrder], on_host: &[OnHost]) -> Vec<String> {
    let everywhere = |order: &&ConfigOrder| {
        on_host.iter().all(|on_host| on_host.borrow().get(&order.config) != Some(&order.model))
    };
    if on_host.is_empty() {
        Vec::new()
    } else {
        configs.iter().filter(everywhere).map(|order| order.config.key()).collect()
    }
}

impl SelfplayDaemon {
    /// Gives the threads new orders whenever something changes, until the shutdown.
    pub(super) async fn give_orders(
        &self,
        orders: &watch::Sender<Orders>,
        on_host: &[OnHost],
    ) -> Result<(), WorkError> {
        let node = &self.node;
        let (mut state, mut view) = (node.raft.applied(), self.health.watch());
        let mut tick = tokio::time::interval(TICK);
        loop {
            let current = Arc::clone(&state.borrow_and_update());
            let rate = rate(&view.borrow_and_update());
            let next = self.orders(&current, rate).await?;
            self.show(&next, on_host);
            orders.send_if_modified(|now| {
                let changed = !now.equals(&next);
                if changed {
                    *now = next;
                }
                changed
            });
            tokio::select! {
                () = node.shutdown.cancelled() => return Ok(()),
                changed = state.changed() => if changed.is_err() { return Ok(()) },
                changed = view.changed() => if changed.is_err() { return Ok(()) },
                _ = tick.tick() => {}
            }
        }
    }

    /// The orders that follow from this state.
    async fn orders(&self, state: &ClusterState, rate: f64) -> Result<Orders, WorkError> {
        let devices = self.devices.count();
        let mut configs = Vec::new();
        for config in state.configs.values().filter(|config| !config.target.paused) {
            let Some(game) = config.config_key.game() else { continue };
            let model = config.champion;
            let Some(network) = load(&self.networks, &config.config_key, model).await? else { continue };
            configs.push(ConfigOrder {
                config: game,
                weight: config.target.weight,
                simulations: config.target.simulations.clamp(1, SIMULATIONS_MAX),
                exploration: config.steering.feedback.exploration,
                model,
                network,
            });
        }
        let occupied = occupied(state, self.node.id, devices);
        let used = devices.min(self.devices.selfplay_threads(self.settings.threads));
        let off = (!self.settings.play.enabled).then(|| "switched off in the settings".to_owned());
        let distrusted = (!state.is_trusted(self.node.id))
            .then(|| "the cluster has found a game of this node forged".to_owned());
        let paused = off
            .or(distrusted)
            .or_else(|| pause(&occupied, used, self.segments.unacknowledged()))
            .or_else(|| configs.is_empty().then(|| "no model yet".to_owned()));
        Ok(Orders { configs, paused, occupied: occupied.into_keys().collect(), rate })
    }

    /// Shows in the node's activity what is played.
    fn show(&self, orders: &Orders, on_host: &[OnHost]) {
        self.node.activity.update(|work| {
            work.selfplay.paused.clone_from(&orders.paused);
            work.selfplay.rate = orders.rate;
            work.selfplay.configs = orders.configs.iter().map(|order| order.config.key()).collect();
            work.selfplay.on_cards = on_cards(&orders.configs, on_host);
        });
    }
}

/// Returns the network if it is on this node, and none while it is on its way. A model that does not load
/// stops only its own configuration.
async fn load(
    networks: &LoadedNetworks,
    key: &ConfigKey,
    model: ModelId,
) -> Result<Option<Arc<Network>>, WorkError> {
    match networks.get(key, model).await {
        Err(WorkError::Checkpoint(error)) => {
            tracing::error!(model = model.short(), %error, "the champion does not load here");
            Ok(None)
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;

    #[test]
    fn a_node_with_a_lease_plays_no_games() {
        let mut world = World::with_nodes(2);
        let why = |world: &World, me, devices, unacknowledged| {
            let occupied = occupied(&world.state, me, devices);
            let numbers: Vec<usize> = occupied.keys().copied().collect();
            (pause(&occupied, devices, unacknowledged).unwrap_or_default(), numbers)
        };
        let plays = |numbers: &[usize]| (String::new(), numbers.to_vec());
        world.play(500);
        world.cross();
        assert_eq!(why(&world, NodeId(1), 1, 0), plays(&[]));
        world.grant(LeaseKind::Training, 1, None);
        let training = "this node has the training of hex8_2p".to_owned();
        assert_eq!(why(&world, NodeId(1), 1, 0), (training, vec![0]));
        assert_eq!(why(&world, NodeId(2), 1, 0), plays(&[]));
        assert!(why(&world, NodeId(2), 1, UNACKNOWLEDGED_MAX).0.contains("acknowledged"));
        // If there are more cards than work, the other cards play on.
        assert_eq!(why(&world, NodeId(1), 2, 0), plays(&[0]));
        assert!(why(&world, NodeId(1), 2, UNACKNOWLEDGED_MAX).0.contains("acknowledged"));
        // They do not if there are too few threads to play there.
        assert!(
            pause(&occupied(&world.state, NodeId(1), 2), 1, 0).is_some_and(|why| why.contains("training"))
        );
    }

    #[test]
    fn an_unhealthy_cluster_is_played_for_at_the_rate_of_its_healthy_hosts() {
        let check = |unhealthy: bool, hosts: &[HostState], expected: f64| {
            let view = ClusterView {
                unhealthy: unhealthy.then(|| "2 of 5 hosts".to_owned()),
                hosts: (1..).map(NodeId).zip(hosts.iter().copied()).collect(),
                ..ClusterView::default()
            };
            assert!((rate(&view) - expected).abs() < 1e-9, "{hosts:?}: {}", rate(&view));
        };
        let (up, down, unknown) = (HostState::Online, HostState::Offline, HostState::Unknown);
        check(false, &[up, down, down, down], 1.0);
        check(true, &[up, up, down, down, down], 0.4);
        check(true, &[up, down, down, down, down], 0.3);
        check(true, &[up, up, down, unknown], 2.0 / 3.0);
        check(true, &[unknown], 1.0);
        check(true, &[], 1.0);
    }
}
