//! UnifiedHealthManager: the health of the hosts and of the cluster, as this node sees it.
//!
//! Invariant: a node acts only on its own verdict, which needs no quorum; the verdicts of others are
//! information. Only an operator's event changes the verdict, as a claim that expires by itself. What is
//! unknown counts as neither good nor bad.

pub(crate) mod claims;
mod observe;
mod score;

use super::{
    idle_shutdown::LastBusy,
    supervisor::Supervisor,
    watchdog::{Limits, Watchdog},
};
use crate::events::runner::Handled;
use crate::{
    api::health::{ClusterView, HostState, Standing},
    clock::now_ms,
    events::{ClusterHealth, Event, LogError, Logged, caused, deliveries::Deliveries},
    peer::{Context, Daemon, Wake, WorkError, blocking},
};
use claims::{Claim, ClaimChange, Claims};
use cluster_state::{ClusterState, NodeId};
use observe::{Observer, Sight};
use score::{Alarm, Troubles};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Pause between two looks when nothing changes.
const TICK: Duration = Duration::from_millis(250);
/// Pause between two looks at what costs more: dead letters, the disk, the watchdog.
const SLOW: Duration = Duration::from_secs(5);

/// Members that count: all except those that drained and left.
pub(super) fn members(state: &ClusterState, hosts: &BTreeMap<NodeId, HostState>) -> BTreeSet<NodeId> {
    let left = |node: &cluster_state::Node| {
        node.draining.is_some() && hosts.get(&node.id) != Some(&HostState::Online)
    };
    state.nodes.values().filter(|node| !left(node)).map(|node| node.id).collect()
}

/// What is looked at only every few seconds.
#[derive(Default)]
struct Slow {
    dead_letters: u64,
    alarms: Vec<Alarm>,
}

/// This node's view of the cluster. A clone is a cheap handle.
#[derive(Clone)]
pub struct HealthHandle {
    view: watch::Receiver<Arc<ClusterView>>,
    wake: Wake,
}

impl HealthHandle {
    /// The cluster as this node sees it now.
    #[must_use]
    pub fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.view.borrow())
    }

    /// [`Self::view`] as a channel that reports every change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<ClusterView>> {
        self.view.clone()
    }

    /// Wakes the daemon so that it looks at the hosts now.
    pub fn look(&self) {
        self.wake.wake();
    }

    /// Stores an operator's event as a claim, or as the end of one; every other event only makes this node
    /// look again. An event that makes no sense is refused with a warning.
    pub fn handle(&self, node: &Context, logged: &Logged) -> Handled {
        self.look();
        let change = ClaimChange::of(logged, &node.raft.local());
        Ok(change.map(ClaimChange::effect))
    }
}

pub struct HealthDaemon {
    node: Context,
    sources: Sources,
    view: watch::Sender<Arc<ClusterView>>,
    wake: Wake,
}

/// The other sources of the view.
pub struct Sources {
    pub supervisor: Supervisor,
    pub last_busy: LastBusy,
    pub deliveries: Deliveries,
    /// How long work may take before the watchdog reports it.
    pub limits: Limits,
}

impl HealthDaemon {
    /// Returns the daemon and the handles that other parts need.
    #[must_use]
    pub fn new(node: Context, sources: Sources) -> (Self, HealthHandle) {
        let (sender, view) = watch::channel(Arc::default());
        let wake = Wake::default();
        (Self { node, sources, view: sender, wake: wake.clone() }, HealthHandle { view, wake })
    }
}

impl Daemon for HealthDaemon {
    const NAME: &'static str = "health";

    async fn run(&mut self) -> Result<(), WorkError> {
        self.keep_view().await
    }
}

impl Slow {
    async fn look(
        node: &Context,
        sources: &Sources,
        state: &ClusterState,
        view: &ClusterView,
        watchdog: &mut Watchdog,
    ) -> Self {
        let dead_letters = match sources.deliveries.status().await {
            Ok((_, count)) => count,
            Err(error) => {
                tracing::error!(%error, "dead letters cannot be counted");
                0
            }
        };
        let now = Instant::now();
        let mut alarms = watchdog.look(state, view, &sources.last_busy.all(), &sources.limits, now);
        let folder = node.path("");
        let space = blocking(move || nix::sys::statvfs::statvfs(&folder)).await;
        if let Ok(Ok(space)) = space {
            alarms.extend(score::disk(space.blocks_available().saturating_mul(space.fragment_size())));
        }
        Self { dead_letters, alarms }
    }
}

impl HealthDaemon {
    /// Keeps the view up to date until the shutdown.
    ///
    /// # Errors
    /// When `node.db` cannot be read or written.
    async fn keep_view(&self) -> Result<(), WorkError> {
        let Self { node, sources, .. } = self;
        let (mut claims, mut reported) = open_claims(node).await?;
        // A cluster that was unhealthy counts as unhealthy until this node sees that it is better, also after
        // a restart.
        let mut observer = Observer::resume(if reported { Standing::Unhealthy } else { Standing::Unknown });
        let (mut watchdog, mut slow, mut looked) = (Watchdog::default(), Slow::default(), None);
        let (mut peers, mut failures) = (node.p2p.peers(), sources.supervisor.watch());
        loop {
            peers.mark_unchanged();
            let state = node.raft.local();
            let current;
            (claims, current) = read_claims(claims).await?;
            let claimed = claims::hosts(&current, &state);
            let (hosts, standing) = observer.look(&Sight {
                state: &state,
                me: node.id,
                connected: &|peer| node.p2p.is_connected(peer),
                claimed: &claimed,
                now: Instant::now(),
            });
            let was = Arc::clone(&self.view.borrow());
            let view = self.compose(&state, &current, (hosts, standing, claimed), &slow, &was);
            let view = self.publish(&was, view);
            // This node reports its own verdict to the others, also without a quorum. It does not report
            // claims, because the others know them.
            let unhealthy = standing == Standing::Unhealthy;
            if standing != Standing::Unknown && unhealthy != reported {
                let verdict = verdict(node, &state, &view, unhealthy);
                node.emit_with(verdict, move |connection| claims::store_report(connection, unhealthy))
                    .await?;
                reported = unhealthy;
            }
            if looked.is_none_or(|at: Instant| at.elapsed() >= SLOW) {
                slow = Slow::look(node, sources, &state, &view, &mut watchdog).await;
                looked = Some(Instant::now());
            }
            tokio::select! {
                () = node.shutdown.cancelled() => return Ok(()),
                changed = peers.changed() => if changed.is_err() { return Ok(()) },
                () = self.wake.woken() => {}
                // The supervisor exists for as long as the node.
                _ = failures.changed() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Hands the view to everybody who watches it, and warns of what is new in it.
    fn publish(&self, was: &ClusterView, view: ClusterView) -> Arc<ClusterView> {
        if was.unhealthy.is_some() != view.unhealthy.is_some() {
            tracing::warn!(standing = ?view.standing, reason = view.unhealthy, "the cluster as seen from here");
        }
        warn_of_new(was, &view);
        let view = Arc::new(view);
        self.view.send_if_modified(|seen| {
            let changed = **seen != *view;
            *seen = Arc::clone(&view);
            changed
        });
        view
    }

    /// Composes the view from everything that is known.
    fn compose(
        &self,
        state: &ClusterState,
        claims: &[Claim],
        (hosts, standing, claimed): (BTreeMap<NodeId, HostState>, Standing, BTreeSet<NodeId>),
        slow: &Slow,
        was: &ClusterView,
    ) -> ClusterView {
        let members = members(state, &hosts);
        let count = |host| members.iter().filter(|id| hosts.get(id) == Some(&host)).count();
        let (online, offline) = (count(HostState::Online), count(HostState::Offline));
        let own = (standing == Standing::Unhealthy).then(|| match members.len() {
            all if 2 * offline > all => format!("{offline} of {all} members cannot be reached from here"),
            all => format!("{online} of {all} members can be reached so far"),
        });
        let unhealthy = own.or_else(|| claims.iter().find_map(Claim::unhealthy));
        let standing = if unhealthy.is_some() { Standing::Unhealthy } else { standing };
        let since_ms = if standing == was.standing { was.since_ms } else { now_ms() };
        let troubles = Troubles {
            online,
            known: online + offline,
            members: members.len(),
            regression: score::worst(state, claims),
            failures: self.sources.supervisor.recent(Instant::now()),
            dead_letters: slow.dead_letters,
        };
        let failures = self.sources.supervisor.failures(Instant::now());
        let mut alarms = score::alarms(state, claims, unhealthy.as_deref(), &failures, slow.dead_letters);
        alarms.extend(slow.alarms.iter().cloned());
        let alerts = score::alerts(alarms, &was.alerts, now_ms());
        ClusterView { standing, unhealthy, since_ms, score: troubles.score(), hosts, claimed, alerts }
    }
}

/// Opens the claims, and says whether this node last reported that the cluster is unhealthy.
async fn open_claims(node: &Context) -> Result<(Claims, bool), WorkError> {
    let path = node.path("node.db");
    let opened = blocking(move || {
        let claims = Claims::open(&path)?;
        let reported = claims.reported_unhealthy()?;
        Ok::<_, LogError>((claims, reported))
    });
    Ok(opened.await??)
}

/// The claims that count now.
async fn read_claims(claims: Claims) -> Result<(Claims, Vec<Claim>), WorkError> {
    let read = blocking(move || claims.current(now_ms()).map(|current| (claims, current)));
    Ok(read.await??)
}

fn warn_of_new(was: &ClusterView, view: &ClusterView) {
    for alert in &view.alerts {
        if !was.alerts.iter().any(|known| known.name == alert.name) {
            tracing::warn!(alert = alert.name, "{}", alert.message);
        }
    }
}

fn verdict(node: &Context, state: &ClusterState, view: &ClusterView, unhealthy: bool) -> Event {
    let metrics = node.raft.metrics().borrow().clone();
    let members = members(state, &view.hosts);
    let reached = |id: &&NodeId| view.hosts.get(id) == Some(&HostState::Online);
    let healthy = members.iter().filter(reached).count();
    let up = metrics.voters.iter().filter(reached).count();
    let reason = format!("{healthy} of {} members can be reached from {}", members.len(), node.name());
    let health = ClusterHealth {
        node_id: node.name(),
        node_count: members.len() as u64,
        healthy_nodes: healthy as u64,
        quorum_met: up > metrics.voters.len() / 2,
        leader_id: metrics.leader.as_ref().map(|(id, _)| caused::node_name(*id)),
        reason,
        timestamp: caused::seconds(now_ms()),
    };
    if unhealthy { Event::P2pClusterUnhealthy(health) } else { Event::P2pClusterHealthy(health) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;

    #[test]
    fn who_is_said_to_be_offline_counts_as_offline() {
        let world = World::with_nodes(3);
        let mut view = ClusterView::default();
        assert_eq!(view.through(&world.state), world.state);
        view.claimed.insert(NodeId(2));
        let seen = view.through(&world.state);
        assert_eq!(seen.online().map(|node| node.id).collect::<Vec<_>>(), [NodeId(1), NodeId(3)]);
        assert!(world.state.is_online(NodeId(2)), "the state itself is as it was");
    }

    #[test]
    fn who_drained_and_went_is_no_member() {
        let mut world = World::with_nodes(3);
        let hosts = |third| {
            BTreeMap::from([
                (NodeId(1), HostState::Online),
                (NodeId(2), HostState::Online),
                (NodeId(3), third),
            ])
        };
        world.drain(3, true);
        assert_eq!(members(&world.state, &hosts(HostState::Online)).len(), 3);
        assert_eq!(members(&world.state, &hosts(HostState::Offline)).len(), 2);
        world.drain(3, false);
        assert_eq!(members(&world.state, &hosts(HostState::Offline)).len(), 3);
    }
}
