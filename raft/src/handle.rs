//! The handle by which the node uses consensus.
//!
//! Invariant: a proposal answers only after the command was committed and applied on the leader; every
//! earlier failure is an error that says whether it makes sense to try again.

mod incoming;
mod join;
pub(crate) mod plausible;
mod propose;
mod rates;
mod read;
mod senders;
mod serve;

use crate::{
    error::{InitializeError, ProposeError, StartError, StoreError},
    hook::{ApplyHook, Door},
    log_store::{Closed, LogStore},
    machine::Machine,
    members::{self, MemberRequest},
    metrics::{self, Metrics},
    network::LinkFactory,
    rpc::{NodeInfo, Voters},
    timing::Timing,
    transport::{SharedTransport, Transport},
    trust::{Footing, Pace, Trust},
    types::{Member, Raft},
    voucher,
};
use cluster_state::{ClusterState, Command, NodeId, Response};
use incoming::Incoming;
use openraft::{
    async_runtime::watch::WatchReceiver,
    errors::{InitializeError as NotInitialized, RaftError},
};
use parking_lot::Mutex;
use rates::ProposalRates;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Maximum number of membership requests that may wait.
const REQUESTS_MAX: usize = 16;

/// The identity of this node and the paths of its files.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// Id of this node: 1 for the node that founds a cluster; the others get theirs from
    /// [`RaftHandle::join`].
    pub node_id: NodeId,
    /// Libp2p peer id of this node.
    pub peer_id: String,
    /// Path of `raft.db`, which holds log and vote.
    pub log_path: PathBuf,
    /// Path of `node.db`, which holds the applied state beside the node's own tables.
    pub state_path: PathBuf,
    /// The voters that [`RaftHandle::join`] returned, if this node has just joined.
    pub introduced: Voters,
    /// Timeouts of consensus.
    pub timing: Timing,
}

/// What the tasks and all handles share.
pub(crate) struct HandleShared {
    pub(crate) raft: Raft,
    pub(crate) timing: Timing,
    pub(crate) metrics: watch::Receiver<Metrics>,
    node_id: NodeId,
    pub(crate) peer_id: String,
    pub(crate) transport: SharedTransport,
    state: watch::Receiver<Arc<ClusterState>>,
    requests: mpsc::Sender<MemberRequest>,
    incoming: Arc<Mutex<Incoming>>,
    /// The voters that let this node in.
    introduced: Voters,
    /// Whom this node follows that was away.
    pub(crate) trust: Trust,
    /// Told of each message of a peer that may vote, or lead, but is not followed yet.
    pub(crate) unknown_sender: Notify,
    /// Through which proposals come that this node writes as the leader.
    door: Door,
    /// How much each member may still propose.
    rates: Mutex<ProposalRates>,
}

impl HandleShared {
    /// The voter sets in force: two during a change.
    pub(crate) fn voter_configs(&self) -> Vec<BTreeSet<NodeId>> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.get_joint_config().clone()
    }

    /// The state as applied at this node.
    pub(crate) fn state(&self) -> Arc<ClusterState> {
        Arc::clone(&self.state.borrow())
    }

    /// The voters of this node's own log. A node whose log names none yet has those that let it in.
    pub(crate) fn own_voters(&self) -> Voters {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = &metrics.membership_config;
        let peer = |id| membership.get_node(&id).map(|member| (id, member.peer_id.clone()));
        let own: Voters = membership.voter_ids().filter_map(peer).collect();
        if own.is_empty() { self.introduced.clone() } else { own }
    }

    /// The sets of voters whose word counts about who votes: those of [`Self::own_voters`].
    pub(crate) fn own_configs(&self) -> Vec<BTreeSet<NodeId>> {
        let own = self.voter_configs().into_iter();
        let own: Vec<_> = own.filter(|config| !config.is_empty()).collect();
        if own.is_empty() && !self.introduced.is_empty() {
            vec![self.introduced.keys().copied().collect()]
        } else {
            own
        }
    }

    pub(crate) fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// Every member that this node knows of, by its log or by the replicated state.
    pub(crate) fn members(&self) -> BTreeSet<String> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let own = metrics.membership_config.nodes().map(|(_, member)| member.peer_id.clone());
        let mut members: BTreeSet<String> = own.collect();
        members.extend(self.state.borrow().nodes.values().map(|node| node.peer_id.clone()));
        members
    }

    /// Drops a snapshot that stopped arriving. While a piece is being written, it has not stopped.
    pub(crate) fn drop_idle_snapshot(&self) {
        if let Some(mut incoming) = self.incoming.try_lock() {
            incoming.drop_idle(Instant::now());
        }
    }
}

/// The handle of consensus. It is cheap to clone; consensus runs until `shutdown` is cancelled.
#[derive(Clone)]
pub struct RaftHandle {
    shared: Arc<HandleShared>,
}

/// Both databases, open.
struct Stores {
    log: LogStore,
    closed: Closed,
    machine: Machine,
    introduced: Voters,
}

/// Opens both databases and checks that one continues the other.
fn open_stores(
    node_id: NodeId,
    peer_id: &str,
    log_path: &Path,
    state_path: &Path,
    introduced: Voters,
    hook: Box<dyn ApplyHook>,
) -> Result<Stores, StoreError> {
    let (log, closed, introduced) = LogStore::open(log_path, node_id, peer_id, introduced)?;
    let machine = Machine::open(state_path, node_id, peer_id, hook)?;
    // With the log, votes and entries were lost that other members count on.
    if log.is_unused() && machine.last_applied().is_some() {
        return Err(StoreError::Corrupt {
            path: log_path.to_owned(),
            detail: "it is empty, but the state beside it is a member's: put it back, or start with an empty data folder"
                .to_owned(),
        });
    }
    // openraft would continue with a state that lacks the purged entries.
    if let Some(purged) = log.purged()
        && machine.last_applied().is_none_or(|applied| applied < purged)
    {
        return Err(StoreError::Corrupt {
            path: state_path.to_owned(),
            detail: format!("lacks entries up to {}, which are no longer in the log", purged.index),
        });
    }
    Ok(Stores { log, closed, machine, introduced })
}

/// Ends consensus with the node, and waits until every write is complete, so that the files may be opened
/// again.
async fn end(raft: Raft, shutdown: CancellationToken, closed: Closed) {
    shutdown.cancelled().await;
    // The only error is that a task of consensus panicked, which ends consensus as well.
    let _ = raft.shutdown().await;
    drop(raft);
    let _ = closed.await;
}

impl RaftHandle {
    /// Opens the databases and starts consensus on the current tokio runtime; its tasks are spawned into
    /// `tasks`.
    ///
    /// A node that is not in a cluster yet waits: the founder needs a call of [`Self::initialize`], the
    /// others a call of [`Self::join`] before this one.
    ///
    /// # Errors
    /// Returns [`StartError`]; then nothing is left running.
    pub async fn start<T: Transport>(
        config: RaftConfig,
        transport: T,
        hook: impl ApplyHook,
        tasks: &mut JoinSet<()>,
        shutdown: CancellationToken,
    ) -> Result<Self, StartError> {
        let RaftConfig { node_id, peer_id, log_path, state_path, introduced, timing } = config;
        let raft_config = timing.config().map_err(StartError::Timing)?;
        let transport: SharedTransport = Arc::new(transport);
        let peer = peer_id.clone();
        let incoming = Incoming::new(log_path.with_extension("incoming"));
        let trust = Trust::new(Pace::of(&timing), !introduced.is_empty());
        let door = hook.door();
        let open = move || open_stores(node_id, &peer, &log_path, &state_path, introduced, Box::new(hook));
        let Stores { log, closed, machine, introduced } = tokio::task::spawn_blocking(open)
            .await
            .map_err(|e| StartError::Fatal(format!("opening the databases: {e}")))??;
        let state = machine.subscribe();
        let term = Arc::new(AtomicU64::new(log.vote_term()));
        let network = LinkFactory::new(node_id, Arc::clone(&transport), Arc::clone(&term));
        let raft = match Raft::new(node_id, Arc::new(raft_config), network, log, machine).await {
            Ok(raft) => raft,
            Err(e) => {
                // The only error is that the sender is gone already.
                let _ = closed.await;
                return Err(StartError::Fatal(e.to_string()));
            }
        };
        let (publish, metrics) = watch::channel(metrics::of(&raft));
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let shared = Arc::new(HandleShared {
            raft: raft.clone(),
            timing,
            metrics,
            node_id,
            peer_id,
            transport,
            state,
            requests,
            incoming: Arc::new(Mutex::new(incoming)),
            introduced,
            trust,
            unknown_sender: Notify::new(),
            door,
            rates: Mutex::default(),
        });
        tasks.spawn(metrics::follow(raft.clone(), publish, term));
        tasks.spawn(members::run(Arc::clone(&shared), inbox, shutdown.clone()));
        tasks.spawn(voucher::run(Arc::clone(&shared), shutdown.clone()));
        tasks.spawn(end(raft, shutdown, closed));
        Ok(Self { shared })
    }

    /// Founds a cluster with this node as its only voter, and registers it as node 1. A repeated call is
    /// harmless.
    ///
    /// # Errors
    /// Returns [`InitializeError`] when this node already belongs to a cluster or could not register.
    pub async fn initialize(&self, info: NodeInfo, at_ms: u64) -> Result<NodeId, InitializeError> {
        let shared = &self.shared;
        let me = Member { peer_id: shared.peer_id.clone() };
        match shared.raft.initialize(BTreeMap::from([(shared.node_id, me)])).await {
            Ok(()) | Err(RaftError::APIError(NotInitialized::NotAllowed(_))) => {}
            Err(e) => return Err(InitializeError::NotAllowed(e.to_string())),
        }
        match self.propose(info.register(at_ms)).await {
            Ok(Response::Node { id, .. }) if id == shared.node_id => Ok(id),
            Ok(other) => Err(InitializeError::NotAllowed(format!(
                "the founder is node {}, registered as {other:?}",
                shared.node_id
            ))),
            Err(e) => Err(InitializeError::Register(e)),
        }
    }

    /// Id of this node.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.shared.node_id
    }

    /// The state as applied at this node, which may be behind the leader's.
    #[must_use]
    pub fn local(&self) -> Arc<ClusterState> {
        self.shared.state()
    }

    /// The state as applied at this node, as it changes; a change is a hint to look again.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<Arc<ClusterState>> {
        self.shared.state.clone()
    }

    /// Consensus as this node sees it.
    #[must_use]
    pub fn metrics(&self) -> watch::Receiver<Metrics> {
        self.shared.metrics.clone()
    }

    /// What this node may rest on: whether its state is current, and whom others named as voters.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Footing> {
        self.shared.trust.standing()
    }

    /// Whether this node believes that it leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.shared.metrics.borrow().is_leader()
    }

    /// Transfers the leadership to another voter, if this node leads.
    ///
    /// # Errors
    /// Returns [`ProposeError::Stopped`] when consensus has stopped here.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), ProposeError> {
        let trigger = self.shared.raft.trigger();
        trigger.transfer_leader(to).await.map_err(|e| ProposeError::Stopped(e.to_string()))
    }

    /// Commits and applies a command through the leader, wherever it is.
    ///
    /// # Errors
    /// Returns [`ProposeError`]; after a timeout the command may still be applied.
    pub async fn propose(&self, command: Command) -> Result<Response, ProposeError> {
        self.propose_within(command, self.shared.timing.propose).await
    }

    /// Ends consensus on this node. The same happens when the token given to [`Self::start`] is cancelled.
    pub async fn shutdown(&self) {
        // The only error is that a task of consensus panicked, which ends consensus as well.
        let _ = self.shared.raft.shutdown().await;
    }
}

#[cfg(test)]
mod tests;
