//! Which hosts can be reached, and what that means for the cluster.
//!
//! Pure except for its memory. Getting worse and getting better have different thresholds, so that a cluster
//! on the edge does not flicker.

use super::members;
use crate::api::health::{HostState, Standing};
use cluster_state::{ClusterState, NodeId};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// A host is offline when its connection has been gone for this long; the leader uses the same limit.
const LOST_AFTER: Duration = crate::leader::node_monitor::LOST_AFTER;
/// A host that this node never reached stays unknown for this long, which is enough to dial it several times.
const UNSEEN: Duration = Duration::from_secs(10);
/// More than half of the members must be online for this long before the cluster is healthy again.
const STABLE: Duration = Duration::from_secs(2);

/// The input of one look.
pub(super) struct Sight<'a> {
    pub(super) state: &'a ClusterState,
    pub(super) me: NodeId,
    pub(super) connected: &'a dyn Fn(&str) -> bool,
    /// Hosts that an operator claims to be offline.
    pub(super) claimed: &'a BTreeSet<NodeId>,
    pub(super) now: Instant,
}

/// When this node last reached a host.
#[derive(Clone, Copy, Debug)]
enum Seen {
    /// This process has never reached it; the time is when the host became known.
    Never(Instant),
    Connected,
    /// The connection is gone since that time.
    Lost(Instant),
}

/// What this node remembers between two looks.
#[derive(Debug, Default)]
pub(super) struct Observer {
    seen: BTreeMap<NodeId, Seen>,
    standing: Standing,
    /// Since when more than half of the members have been online.
    better: Option<Instant>,
}

impl Observer {
    /// Starts from the standing that an earlier process left.
    pub(super) fn resume(standing: Standing) -> Self {
        Self { standing, ..Self::default() }
    }

    /// Returns the standing of every host and of the cluster now.
    pub(super) fn look(&mut self, sight: &Sight<'_>) -> (BTreeMap<NodeId, HostState>, Standing) {
        let now = sight.now;
        let mut hosts = BTreeMap::new();
        for node in sight.state.nodes.values() {
            let connected = node.id == sight.me || (sight.connected)(&node.peer_id);
            let seen = self.seen.entry(node.id).or_insert(Seen::Never(now));
            *seen = match (connected, *seen) {
                (true, _) => Seen::Connected,
                (false, Seen::Connected) => Seen::Lost(now),
                (false, gone) => gone,
            };
            let host = match *seen {
                _ if sight.claimed.contains(&node.id) => HostState::Offline,
                Seen::Connected => HostState::Online,
                Seen::Lost(since) if now.duration_since(since) < LOST_AFTER => HostState::Online,
                Seen::Never(since) if now.duration_since(since) < UNSEEN => HostState::Unknown,
                Seen::Lost(_) | Seen::Never(_) => HostState::Offline,
            };
            hosts.insert(node.id, host);
        }
        self.seen.retain(|id, _| hosts.contains_key(id));
        self.judge(sight.state, &hosts, now);
        (hosts, self.standing)
    }

    fn judge(&mut self, state: &ClusterState, hosts: &BTreeMap<NodeId, HostState>, now: Instant) {
        let members = members(state, hosts);
        let majority =
            |host| 2 * members.iter().filter(|id| hosts.get(id) == Some(&host)).count() > members.len();
        if majority(HostState::Offline) {
            self.standing = Standing::Unhealthy;
        }
        if !majority(HostState::Online) {
            self.better = None;
            return;
        }
        let since = *self.better.get_or_insert(now);
        if now.duration_since(since) >= STABLE {
            self.standing = Standing::Healthy;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;
    use cluster_state::samples::peer_id;

    /// Seconds, members connected to (in addition to node 1), claimed offline, expected standing of the
    /// cluster.
    type Step<'a> = (f64, &'a [u64], &'a [u64], Standing);

    fn check(world: &World, steps: &[Step<'_>]) {
        let (start, mut observer) = (Instant::now(), Observer::default());
        for (step, (seconds, connected, claimed, expected)) in steps.iter().enumerate() {
            let connected = |peer: &str| connected.iter().any(|id| peer == peer_id(*id));
            let sight = Sight {
                state: &world.state,
                me: NodeId(1),
                connected: &connected,
                claimed: &claimed.iter().copied().map(NodeId).collect(),
                now: start + Duration::from_secs_f64(*seconds),
            };
            assert_eq!(observer.look(&sight).1, *expected, "step {step}");
        }
    }

    #[test]
    fn a_majority_that_is_offline_is_unhealthy_and_a_stable_one_online_healthy() {
        use Standing::{Healthy, Unhealthy, Unknown};
        let world = World::with_nodes(5);
        check(
            &world,
            &[
                (0.0, &[], &[], Unknown),
                (1.0, &[2, 3], &[], Unknown), // more than half, but not yet stable
                (2.9, &[2, 3], &[], Unknown),
                (3.0, &[2, 3, 4, 5], &[], Healthy),
                (4.0, &[2], &[], Healthy), // may come back
                (6.9, &[2], &[], Healthy),
                (7.0, &[2], &[], Unhealthy),
                (8.0, &[2, 3], &[], Unhealthy),
                (9.9, &[2, 3], &[], Unhealthy),
                (10.0, &[2, 3], &[], Healthy),
                (11.0, &[2, 3, 4, 5], &[2, 3, 4], Unhealthy), // said so
                (12.0, &[2, 3, 4, 5], &[2, 3], Unhealthy),
                (13.0, &[2, 3, 4, 5], &[], Unhealthy),
                (14.0, &[2, 3, 4, 5], &[], Healthy),
            ],
        );
        // A host that never came is unknown at first, which is neither good nor bad; then it is offline.
        check(&world, &[(0.0, &[], &[], Unknown), (9.9, &[], &[], Unknown), (10.0, &[], &[], Unhealthy)]);
        // Half is no majority, so the standing does not change.
        let four = World::with_nodes(4);
        check(
            &four,
            &[
                (0.0, &[2], &[], Unknown),
                (99.0, &[2], &[], Unknown),
                (100.0, &[], &[], Unknown),
                (103.0, &[], &[], Unhealthy),
            ],
        );
        check(
            &four,
            &[(0.0, &[2, 3], &[], Unknown), (2.0, &[2, 3], &[], Healthy), (99.0, &[2], &[], Healthy)],
        );
        // A single node is the whole cluster.
        check(&World::with_nodes(1), &[(0.0, &[], &[], Unknown), (2.0, &[], &[], Healthy)]);
    }

    #[test]
    fn a_host_is_unknown_then_online_then_offline() {
        let world = World::with_nodes(2);
        let (start, mut observer) = (Instant::now(), Observer::default());
        let mut at = |seconds: u64, connected: bool| {
            let sight = Sight {
                state: &world.state,
                me: NodeId(1),
                connected: &|_| connected,
                claimed: &BTreeSet::new(),
                now: start + Duration::from_secs(seconds),
            };
            observer.look(&sight).0[&NodeId(2)]
        };
        assert_eq!(at(0, false), HostState::Unknown);
        assert_eq!(at(1, true), HostState::Online);
        assert_eq!(at(20, false), HostState::Online, "a moment's loss");
        assert_eq!(at(22, false), HostState::Online);
        assert_eq!(at(23, false), HostState::Offline);
        assert_eq!(at(24, true), HostState::Online, "at once");
    }
}
