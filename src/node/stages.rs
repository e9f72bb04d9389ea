//! The stages in which a node starts. Each is a struct of the parts that exist by then.
//!
//! Invariant: a node listens before it joins, and is a member before any daemon works. Everything that a
//! stage starts is a task in [`Tasks`], so that it ends with the shutdown also when a later stage fails.

use super::{
    addresses,
    admission::{self, DoorList, OwnKeys},
    backbone::{serve_raft, start_p2p, start_raft},
    daemons::{self, Daemons, Parts},
    descriptors::Shares,
    error::NodeError,
    founding::{self, Tell},
    membership::{FOUNDER, introduce, membership, node_info},
    options::{NodeOptions, Ready},
    status::{Fresh, NodeReporter},
};
use crate::{
    clock::now_ms,
    compute::DelayGauge,
    daemons::{handlers, supervisor::Supervisor},
    devices::Devices,
    events::{self, Subscriptions, deliveries::Deliveries, log::EventLog, runner::Runner},
    http::{self, Front, HttpHandles, Rules},
    peer::{
        Activity, Context, DeadLetters, Nonsense, PeerContext, PeerSettings, control, exchange, hearing,
        quota::{self, UnregisteredQuota},
    },
    segments::{self, Segments},
    store::{self, DataFolder, FolderError, KeptForPeers, PendingSegments, Runtime, token},
};
use cluster_state::{ClusterState, NodeId};
use p2p::{GossipMessage, Lobby, P2pError, P2pHandle, P2pInbox, Signer};
use raft::{InitializeError, RaftHandle};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::{Notify, mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// The tasks of a node, and the token that ends them.
pub(super) struct Tasks {
    /// The runtime of p2p and Raft.
    pub(super) core: Handle,
    /// Tasks on that runtime.
    pub(super) on_core: JoinSet<()>,
    /// Tasks on the caller's runtime.
    pub(super) here: JoinSet<()>,
    pub(super) shutdown: CancellationToken,
}

/// The node can be reached by peers and over HTTP, and is not a member yet.
pub(super) struct Listening {
    pub(super) folder: Arc<DataFolder>,
    pub(super) p2p: P2pHandle,
    pub(super) me: Ready,
    /// A random number, different at each start.
    pub(super) boot: u64,
    /// The text that says over HTTP what the node waits for.
    pub(super) waiting: watch::Sender<String>,
    /// The keys that the node has besides those of the replicated state.
    pub(super) own_keys: OwnKeys,
    /// Whom the state lets in that the node had kept.
    guests: DoorList,
    /// The id of the node, if it is a member already.
    pub(super) stored: Option<NodeId>,
    inbox: P2pInbox,
    front: Arc<Front>,
    /// The connections of the HTTP interface.
    door: Arc<Lobby>,
    runtime: Runtime,
}

/// The node is a member: its databases are open, and Raft runs.
pub(super) struct Joined {
    id: NodeId,
    raft: RaftHandle,
    events: Arc<EventLog>,
    deliveries: Deliveries,
    pending: PendingSegments,
    kept: KeptForPeers,
    token: String,
    signer: Signer,
    devices: Arc<Devices>,
}

/// Listens for peers and for HTTP requests.
pub(super) async fn listen(
    options: &NodeOptions,
    mut folder: DataFolder,
    listener: TcpListener,
    shares: Shares,
    tasks: &mut Tasks,
) -> Result<Listening, NodeError> {
    admission::was_removed(&folder)?;
    let boot: u64 = rand::random();
    let http = listener.local_addr()?;
    let stored = raft::stored_node(&folder.join("raft.db"))?.map(|(id, _)| id);
    let founds = stored.is_none() && options.bootstrap.is_empty();
    let own_keys = OwnKeys::at_start(options, &folder, founds)?;
    let kept = match stored {
        Some(_) => raft::stored_state(&folder.join("node.db"))?.unwrap_or_default(),
        None => ClusterState::default(),
    };
    let (door, guests) = own_keys.doorway(&kept, stored.is_some(), now_ms());
    let (p2p, inbox) = start_p2p(options, &folder, (boot, door, &guests), shares.pending, tasks).await?;
    let me = Ready { peer_id: p2p.peer_id(), addrs: p2p.listen_addrs(), http, founds };
    folder.claim(&me.peer_id)?;
    addresses::remember(&folder, &me.addrs)?;
    let runtime = Runtime {
        pid: std::process::id(),
        http: format!("http://{http}"),
        p2p: me.addrs.clone(),
        node: None,
        peer_id: me.peer_id.clone(),
    };
    folder.write_runtime(&runtime)?;
    let (waiting, waits_for) = watch::channel("starting".to_owned());
    let own = &options.config.http;
    let names = own.names.iter().chain([&options.name]).map(|name| name.to_ascii_lowercase()).collect();
    let rules = Rules { names, loopback_reads: own.loopback_reads, me: me.peer_id.clone() };
    let door = Lobby::new("http", shares.http, shares.http / 2);
    let front = Arc::new(Front::new(waits_for, rules, Arc::clone(&door)));
    tasks.here.spawn(http::serve(listener, Arc::clone(&front), tasks.shutdown.clone()));
    let folder = Arc::new(folder);
    Ok(Listening { folder, p2p, me, boot, waiting, own_keys, guests, stored, inbox, front, door, runtime })
}

/// Makes the node a member, opens the databases and starts Raft. None means that the node was stopped while
/// it waited.
pub(super) async fn join(
    options: &NodeOptions,
    listening: &mut Listening,
    devices: impl Future<Output = Devices>,
    tasks: &mut Tasks,
) -> Result<Option<Joined>, NodeError> {
    let Some((id, introduced)) = membership(options, listening, &tasks.shutdown).await? else {
        return Ok(None);
    };
    listening.runtime.node = Some(id);
    let folder = &listening.folder;
    folder.write_runtime(&listening.runtime)?;
    store::admission::keep_databases_private(folder)
        .map_err(|source| FolderError::Unwritable { path: folder.path().to_owned(), source })?;
    let state_path = folder.join("node.db");
    let subscriptions = Subscriptions::new(events::pairs());
    let signer = Signer::load(&folder.join("peer.key")).map_err(P2pError::from)?;
    let events = Arc::new(EventLog::open(&state_path, signer.clone(), subscriptions.clone())?);
    let deliveries = Deliveries::open(&state_path)?;
    let token = token::create(folder)?;
    let pending = segments::open_list(&folder.join("segments.db"))?;
    let kept = quota::open_account(&folder.join("kept.db"))?;
    // No other node waits for a node that waits for its driver, because it is not yet a member that answers.
    let Some(devices) = tasks.shutdown.clone().run_until_cancelled(devices).await else { return Ok(None) };
    let raft = start_raft(options, listening, (id, introduced), subscriptions, tasks).await?;
    serve_raft(raft.clone(), listening.p2p.clone(), &mut listening.inbox, tasks);
    if raft.metrics().borrow().voters.is_empty() && id == FOUNDER && options.bootstrap.is_empty() {
        let info = node_info(options, &listening.me, &listening.p2p, listening.boot);
        match raft.initialize(info, now_ms()).await {
            Ok(_) => tracing::info!("founded a new cluster"),
            // The cluster is founded; `introduce` goes on trying to register the node.
            Err(InitializeError::Register(error)) if error.is_retryable() => {
                tracing::warn!(%error, "founded a new cluster, not registered yet");
            }
            Err(error) => return Err(error.into()),
        }
    }
    let devices = Arc::new(devices);
    Ok(Some(Joined { id, raft, events, deliveries, pending, kept, token, signer, devices }))
}

/// Starts every part that works, and opens the HTTP interface.
pub(super) fn work(
    options: &NodeOptions,
    listening: Listening,
    joined: Joined,
    tell: Tell,
    tasks: &mut Tasks,
) -> Result<Context, NodeError> {
    let node = context(options, &listening, &joined, tasks);
    let Listening { inbox, front, door, own_keys, guests, me, .. } = listening;
    let Joined { events, deliveries, pending, kept, token, devices, .. } = joined;
    let (fresh, delay) = (Fresh::since(last_known(&events)?), DelayGauge::default());
    tasks.on_core.spawn_on(delay.clone().measure(tasks.shutdown.clone()), &tasks.core);
    tasks.here.spawn(introduce(Arc::clone(&node), options.clone(), fresh.clone()));
    tasks.here.spawn(admission::follow(Arc::clone(&node), own_keys.clone(), guests));
    tasks.here.spawn(founding::found(Arc::clone(&node), options.clone(), own_keys, me, tell));
    let share = options.config.distribution.unregistered_mib_max << 20;
    let quota = Arc::new(UnregisteredQuota::new(kept, node.blobs.clone(), share));
    let parts = Parts {
        node: Arc::clone(&node),
        devices: Arc::clone(&devices),
        segments: Segments::new(Arc::clone(&node), pending, Arc::clone(&quota)),
        supervisor: Supervisor::default(),
        deliveries: deliveries.clone(),
    };
    let has_quorum =
        exchange_logs(&node, (inbox.gossip, inbox.direct), quota, parts.supervisor.clone(), tasks);
    let Daemons { handles, recommendation } = daemons::start(&parts, &options.config, &mut tasks.here);
    let reporter = Arc::new(NodeReporter {
        cluster: options.cluster.clone(),
        node: Arc::clone(&node),
        fresh,
        door,
        delay,
        deliveries: deliveries.clone(),
        devices,
        threads_and_games: (options.config.selfplay_threads, options.config.selfplay.parallel_games),
        segment_copies: options.config.segment_copies,
        health: handles.health.clone(),
        last_busy: handles.last_busy.clone(),
        supervisor: parts.supervisor,
        recommendation,
    });
    let view = handles.health.watch();
    let runner = Runner::new(deliveries, handlers::all(handles), has_quorum, tasks.shutdown.clone());
    tasks.here.spawn(runner.clone().run(Arc::clone(&node.events)));
    let letters = DeadLetters::new(Arc::clone(&node), runner);
    let keeper = parts.segments.keeper();
    tasks.here.spawn(control::serve(Arc::clone(&node), letters.clone(), inbox.control, keeper));
    front.open(HttpHandles {
        node: Arc::clone(&node),
        segments: parts.segments,
        letters,
        view,
        token,
        status: reporter.status_query(),
        leader: reporter.leader_query(),
    });
    Ok(node)
}

/// What every part of the running node needs.
fn context(options: &NodeOptions, listening: &Listening, joined: &Joined, tasks: &Tasks) -> Context {
    Arc::new(PeerContext {
        id: joined.id,
        settings: PeerSettings {
            events: options.config.events.clone(),
            distribution: options.config.distribution.clone(),
        },
        folder: Arc::clone(&listening.folder),
        raft: joined.raft.clone(),
        p2p: listening.p2p.clone(),
        signer: joined.signer.clone(),
        blobs: listening.p2p.blobs().clone(),
        nonsense: Nonsense::default(),
        events: Arc::clone(&joined.events),
        activity: Activity::default(),
        shutdown: tasks.shutdown.clone(),
        started: Instant::now(),
        boot: listening.boot,
        http: listening.me.http,
    })
}

/// Starts the exchange of the event log with the other nodes. The channel says whether there is a quorum.
fn exchange_logs(
    node: &Context,
    gossip: (mpsc::Receiver<GossipMessage>, mpsc::Receiver<GossipMessage>),
    quota: Arc<UnregisteredQuota>,
    supervisor: Supervisor,
    tasks: &mut Tasks,
) -> watch::Receiver<bool> {
    let gap = Arc::new(Notify::new());
    let panicked = move |ran| supervisor.note("gossip", "it panicked", ran);
    tasks.here.spawn(hearing::listen(Arc::clone(node), gossip, Arc::clone(&gap), quota, panicked));
    tasks.here.spawn(exchange::repair(Arc::clone(node), gap));
    let (quorum, has_quorum) = watch::channel(false);
    tasks.here.spawn(exchange::follow(Arc::clone(node), quorum));
    has_quorum
}

/// When the state on this disk was last known to be the cluster's: the time of the last decision in the
/// event log, not the start of this process.
fn last_known(events: &EventLog) -> Result<Instant, NodeError> {
    let now = Instant::now();
    let age = events.last_decision_ms()?.map_or(0, |at_ms| now_ms().saturating_sub(at_ms));
    Ok(now.checked_sub(Duration::from_millis(age)).unwrap_or(now))
}
