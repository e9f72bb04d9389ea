//! Start-up and shutdown of a node.

use super::{
    activity::Activity,
    addresses,
    announce::MODELS_TOPIC,
    context::{Context, EVENTS_TOPIC, Node},
    control,
    error::NodeError,
    exchange,
    supervise::{Failures, supervise},
    token,
    transport::PeerTransport,
};
use crate::{
    clock::now_ms,
    compute::DelayGauge,
    config::Config,
    daemons::{self, handlers},
    events::{
        EventHook,
        log::{EventLog, Subscriptions},
        runner::Runner,
    },
    http::{self, Front},
    store::{self, DataFolder, DbError, PendingSegments, Runtime, folder},
};
use p2p::{Inbox, IncomingRequest, Multiaddr, P2p, P2pConfig, P2pError, P2pHandle, Signer};
use raft::{ClusterState, InitializeError, JoinError, NodeId, NodeInfo, RaftConfig, RaftHandle, Timing};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::{Notify, Semaphore, mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// How long tasks may take to end.
const GRACE: Duration = Duration::from_secs(10);
/// One attempt to join.
const JOIN: Duration = Duration::from_secs(10);
/// Between attempts to tell the cluster about this node.
const REGISTER_PAUSE: Duration = Duration::from_millis(500);
/// The node that founds a cluster.
const FOUNDER: NodeId = 1;
/// Raft requests served at once.
const RAFT_SERVED_MAX: usize = 256;

/// How to start a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its data folder.
    pub data_dir: PathBuf,
    /// Where to join; empty founds a cluster, unless the folder belongs to one.
    pub bootstrap: Vec<String>,
    /// Where to listen for peers, as multiaddresses; empty: as last time, or a free port of the loopback interface.
    pub listen: Vec<String>,
    /// Where to answer people.
    pub http: SocketAddr,
    /// Name and secret of the cluster; peers with another are refused in the handshake.
    pub cluster: String,
    /// The host's name.
    pub name: String,
    /// Settings.
    pub config: Config,
}

/// A node that listens.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Its libp2p id.
    pub peer_id: String,
    /// Where others can join.
    pub addrs: Vec<String>,
    /// Where it answers people.
    pub http: SocketAddr,
}

/// Runs a node until `shutdown`. p2p and Raft run on `core`, the rest on the current runtime. `ready` is called once
/// it listens.
///
/// # Errors
/// [`NodeError`]; every task has ended.
pub async fn run(
    options: Options,
    core: Handle,
    shutdown: CancellationToken,
    ready: impl FnOnce(&Ready),
) -> Result<(), NodeError> {
    options.config.validate()?;
    let folder = DataFolder::open(&options.data_dir, folder::FORMAT_VERSION)?;
    let listener = TcpListener::bind(options.http)
        .await
        .map_err(|source| NodeError::Http { address: options.http.to_string(), source })?;
    let http = listener.local_addr()?;
    // Whatever happens below, all tasks end.
    let _guard = shutdown.clone().drop_guard();
    let mut core_tasks = JoinSet::new();
    let mut tasks = JoinSet::new();
    let outcome =
        live(options, &core, folder, listener, http, &shutdown, ready, &mut core_tasks, &mut tasks).await;
    let told = shutdown.is_cancelled();
    shutdown.cancel();
    let ended = async {
        while tasks.join_next().await.is_some() {}
        while core_tasks.join_next().await.is_some() {}
    };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::warn!("some tasks did not end in time");
    }
    match outcome {
        // Whoever is stopped while it starts finds its parts stopped: no failure.
        Err(error) if told => {
            tracing::info!(%error, "stopped before it was running");
            Ok(())
        }
        outcome => outcome,
    }
}

#[allow(clippy::too_many_arguments)] // the second half of `run`
async fn live(
    options: Options,
    core: &Handle,
    mut folder: DataFolder,
    listener: TcpListener,
    http: SocketAddr,
    shutdown: &CancellationToken,
    ready: impl FnOnce(&Ready),
    core_tasks: &mut JoinSet<()>,
    tasks: &mut JoinSet<()>,
) -> Result<(), NodeError> {
    let boot: u64 = rand::random();
    let (p2p, mut inbox) = start_p2p(&options, core, &folder, boot, shutdown, core_tasks).await?;
    let me = Ready { peer_id: p2p.peer_id(), addrs: p2p.listen_addrs(), http };
    folder.claim(&me.peer_id)?;
    addresses::remember(&folder, &me.addrs)?;
    let folder = Arc::new(folder);
    let mut runtime = Runtime {
        pid: std::process::id(),
        http: format!("http://{http}"),
        p2p: me.addrs.clone(),
        node: None,
        peer_id: me.peer_id.clone(),
    };
    folder.write_runtime(&runtime)?;
    ready(&me);
    let front = Arc::new(Front::new(options.cluster_name()));
    tasks.spawn(http::serve(listener, Arc::clone(&front), shutdown.clone()));

    let Some(id) = membership(&options, &folder, &p2p, &front, &me, boot, shutdown).await? else {
        return Ok(()); // stopped while it waited
    };
    runtime.node = Some(id);
    folder.write_runtime(&runtime)?;
    let state_path = folder.join("node.db");
    let late = handlers::Late::default();
    let registered = handlers::all(&late);
    let subscriptions = registered.subscriptions();
    let signer = Signer::load(&folder.join("peer.key")).map_err(P2pError::from)?;
    let events = Arc::new(EventLog::open(&state_path, signer, subscriptions.clone())?);
    let (quorum, has_quorum) = watch::channel(false);
    let runner = Runner::open(&state_path, registered, has_quorum, shutdown.clone())?;
    let token = token::create(&folder)?;
    let pending = Arc::new(open_pending(&folder.join("segments.db"))?);
    let raft = start_raft(&options, core, &folder, &p2p, id, subscriptions, shutdown, core_tasks).await?;
    serve_raft(core, core_tasks, raft.clone(), &mut inbox, shutdown);
    let info = node_info(&options, &me, &p2p, boot);
    if raft.metrics().borrow().voters.is_empty() && id == FOUNDER && options.bootstrap.is_empty() {
        match raft.initialize(info, now_ms()).await {
            Ok(_) => tracing::info!("founded a new cluster"),
            // It is founded; `introduce` goes on trying.
            Err(InitializeError::Register(error)) if error.is_retryable() => {
                tracing::warn!(%error, "founded a new cluster, not registered yet");
            }
            Err(error) => return Err(error.into()),
        }
    }
    let fresh = last_known(&events)?;
    let node: Context = Arc::new(Node {
        id,
        config: options.config.clone(),
        folder,
        raft,
        blobs: p2p.blobs().clone(),
        p2p,
        events,
        runner,
        wakes: handlers::Wakes::default(),
        token,
        pending,
        nudge: Notify::new(),
        activity: Activity::default(),
        failures: Failures::default(),
        delay: DelayGauge::default(),
        fresh: watch::Sender::new(fresh),
        shutdown: shutdown.clone(),
        started: Instant::now(),
        boot,
        http,
    });
    core_tasks.spawn_on(node.delay.clone().measure(shutdown.clone()), core);
    tasks.spawn(introduce(Arc::clone(&node), options.clone()));
    // Set once, here.
    let _ = late.set(Arc::downgrade(&node));
    let gap = Arc::new(Notify::new());
    tasks.spawn(exchange::listen(Arc::clone(&node), inbox.gossip, Arc::clone(&gap)));
    tasks.spawn(exchange::repair(Arc::clone(&node), gap));
    tasks.spawn(exchange::follow(Arc::clone(&node), quorum));
    tasks.spawn(node.runner.clone().run(Arc::clone(&node.events)));
    tasks.spawn(control::serve(Arc::clone(&node), inbox.control));
    start_daemons(&node, tasks);
    front.open(Arc::clone(&node));
    tracing::info!(node = id, peer = me.peer_id, %http, "running");
    tokio::select! {
        biased; // consensus says best why it ended
        outcome = watch_over(&node) => outcome,
        ended = first_to_end(tasks) => unless_stopping(&node, ended),
        ended = first_to_end(core_tasks) => unless_stopping(&node, ended),
    }
}

/// The list of segments; a damaged one is moved away, for what it listed is found again among the content.
fn open_pending(path: &Path) -> Result<PendingSegments, NodeError> {
    match PendingSegments::open(path) {
        Err(DbError::Corrupt { detail, .. }) => {
            let aside = store::set_aside(path, &now_ms().to_string())?;
            tracing::error!(aside = %aside.display(), detail, "the list of segments was damaged");
            Ok(PendingSegments::open(path)?)
        }
        outcome => Ok(outcome?),
    }
}

/// When the state on this disk was the cluster's: not since this process began, but since its last event.
fn last_known(events: &EventLog) -> Result<Instant, NodeError> {
    let now = Instant::now();
    let age = events.last_decision_ms()?.map_or(0, |at_ms| now_ms().saturating_sub(at_ms));
    Ok(now.checked_sub(Duration::from_millis(age)).unwrap_or(now))
}

/// Waits until a task ends; says how. All of them go on until the shutdown.
async fn first_to_end(tasks: &mut JoinSet<()>) -> String {
    match tasks.join_next().await {
        Some(Ok(())) => "a task".to_owned(),
        Some(Err(error)) => error.to_string(),
        None => "every task".to_owned(),
    }
}

fn unless_stopping(node: &Context, ended: String) -> Result<(), NodeError> {
    if node.shutdown.is_cancelled() { Ok(()) } else { Err(NodeError::Ended(ended)) }
}

impl Options {
    /// The cluster's name, without its secret.
    fn cluster_name(&self) -> String {
        self.cluster.split('/').next().unwrap_or_default().to_owned()
    }
}

async fn start_p2p(
    options: &Options,
    core: &Handle,
    folder: &DataFolder,
    boot: u64,
    shutdown: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> Result<(P2pHandle, Inbox), NodeError> {
    let config = P2pConfig {
        key_path: folder.join("peer.key"),
        listen: Vec::new(),
        bootstrap: parse(&options.bootstrap)?,
        cluster: options.cluster.clone(),
        topics: vec![EVENTS_TOPIC.to_owned(), MODELS_TOPIC.to_owned()],
        boot,
        blob_dir: folder.join("blobs"),
    };
    let shutdown = shutdown.clone();
    let listens =
        if options.listen.is_empty() { addresses::choices(folder) } else { vec![parse(&options.listen)?] };
    // libp2p spawns its tasks where it is started.
    let start = core.spawn(async move {
        let mut tasks = JoinSet::new();
        let mut started = Err(P2pError::Setup("nowhere to listen".to_owned()));
        for listen in listens {
            let config = P2pConfig { listen, ..config.clone() };
            started = P2p::start(config, &mut tasks, shutdown.clone()).await;
            match &started {
                Err(error @ P2pError::Listen { .. }) => tracing::warn!(%error, "that port is taken"),
                Ok(_) | Err(_) => break,
            }
        }
        (started, tasks)
    });
    let (started, mut p2p_tasks) =
        start.await.map_err(|e| NodeError::Ended(format!("the start of p2p: {e}")))?;
    tasks.spawn_on(async move { while p2p_tasks.join_next().await.is_some() {} }, core);
    Ok(started?)
}

/// Addresses as a user gave them.
fn parse(addresses: &[String]) -> Result<Vec<Multiaddr>, NodeError> {
    let parse = |text: &String| text.parse().map_err(|_| NodeError::Address(text.clone()));
    addresses.iter().map(parse).collect()
}

/// This node's id: the one it has, 1 for the founder, or what the cluster gives it. None: stopped while waiting.
async fn membership(
    options: &Options,
    folder: &DataFolder,
    p2p: &P2pHandle,
    front: &Front,
    me: &Ready,
    boot: u64,
    shutdown: &CancellationToken,
) -> Result<Option<NodeId>, NodeError> {
    if let Some((id, _)) = raft::stored_node(&folder.join("raft.db"))? {
        return Ok(Some(id));
    }
    if options.bootstrap.is_empty() {
        return Ok(Some(FOUNDER));
    }
    let transport = PeerTransport(p2p.clone());
    let info = node_info(options, me, p2p, boot);
    let mut peers = p2p.peers();
    let mut told = Instant::now();
    loop {
        let connected: Vec<String> =
            peers.borrow_and_update().iter().map(|peer| peer.peer_id.clone()).collect();
        if connected.is_empty() {
            let waiting =
                format!("no peer at {} can be reached yet; still trying", options.bootstrap.join(", "));
            if told.elapsed() > Duration::from_secs(5) {
                tracing::warn!("{waiting}");
                told = Instant::now();
            }
            front.waiting(waiting);
            tokio::select! {
                () = shutdown.cancelled() => return Ok(None),
                changed = peers.changed() => if changed.is_err() { return Ok(None) },
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            continue;
        }
        let join = RaftHandle::join(&transport, &connected, &info, now_ms(), JOIN);
        match shutdown.run_until_cancelled(join).await {
            None => return Ok(None),
            Some(Ok(id)) => {
                tracing::info!(node = id, "joined");
                return Ok(Some(id));
            }
            Some(Err(JoinError::NoLeader(why))) => {
                tracing::warn!(why, "no leader lets this node in yet; still trying");
                front.waiting(format!("no leader lets this node in yet ({why}); still trying"));
            }
            Some(Err(error @ JoinError::Refused(_))) => return Err(error.into()),
        }
    }
}

fn node_info(options: &Options, me: &Ready, p2p: &P2pHandle, boot: u64) -> raft::NodeInfo {
    raft::NodeInfo {
        peer_id: me.peer_id.clone(),
        name: options.name.clone(),
        addrs: p2p.listen_addrs(),
        http: format!("http://{}", me.http),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot,
    }
}

#[allow(clippy::too_many_arguments)] // a part of `live`
async fn start_raft(
    options: &Options,
    core: &Handle,
    folder: &DataFolder,
    p2p: &P2pHandle,
    id: NodeId,
    subscriptions: Subscriptions,
    shutdown: &CancellationToken,
    core_tasks: &mut JoinSet<()>,
) -> Result<RaftHandle, NodeError> {
    let config = RaftConfig {
        node_id: id,
        peer_id: p2p.peer_id(),
        log_path: folder.join("raft.db"),
        state_path: folder.join("node.db"),
        timing: Timing::default(),
    };
    let hook = EventHook::new(options.config.evaluation.games_max, subscriptions);
    let (transport, shutdown) = (PeerTransport(p2p.clone()), shutdown.clone());
    // openraft spawns its tasks where it is started.
    let start = core.spawn(async move {
        let mut tasks = JoinSet::new();
        let started = RaftHandle::start(config, transport, hook, &mut tasks, shutdown).await;
        (started, tasks)
    });
    let (started, mut raft_tasks) =
        start.await.map_err(|e| NodeError::Ended(format!("the start of Raft: {e}")))?;
    core_tasks.spawn_on(async move { while raft_tasks.join_next().await.is_some() {} }, core);
    Ok(started?)
}

/// Answers Raft's requests on `core`, each in a task of its own.
fn serve_raft(
    core: &Handle,
    core_tasks: &mut JoinSet<()>,
    raft: RaftHandle,
    inbox: &mut Inbox,
    shutdown: &CancellationToken,
) {
    let (_, empty) = mpsc::channel(1);
    let mut requests: mpsc::Receiver<IncomingRequest> = std::mem::replace(&mut inbox.raft, empty);
    let shutdown = shutdown.clone();
    core_tasks.spawn_on(
        async move {
            let permits = Arc::new(Semaphore::new(RAFT_SERVED_MAX));
            let mut served = JoinSet::new();
            while let Some(Some(request)) = shutdown.run_until_cancelled(requests.recv()).await {
                while served.try_join_next().is_some() {}
                // Without a permit the request is dropped: its sender tries again.
                let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { continue };
                let raft = raft.clone();
                served.spawn(async move {
                    let answer = raft.serve(&request.from, &request.bytes).await;
                    // Whoever asked may have given up.
                    let _ = request.reply.send(answer);
                    drop(permit);
                });
            }
        },
        core,
    );
}

/// Whether the cluster should be told about node `me`. A joined node waits until it knows that it is a member. The
/// founder may have been killed after it founded the cluster and before it registered: nobody else can come before it.
fn should_register(state: &ClusterState, me: NodeId, info: &NodeInfo) -> bool {
    match state.nodes.get(&me) {
        Some(known) => {
            (known.boot, &known.addrs, &known.http, &known.name, &known.version)
                != (info.boot, &info.addrs, &info.http, &info.name, &info.version)
        }
        None => me == FOUNDER,
    }
}

/// Keeps the cluster's record of this node true, and this node's address book that of the cluster.
async fn introduce(node: Context, options: Options) {
    let mut state = node.raft.applied();
    let me = Ready { peer_id: node.p2p.peer_id(), addrs: Vec::new(), http: node.http };
    loop {
        let current = state.borrow_and_update().clone();
        for other in current.nodes.values().filter(|other| other.id != node.id) {
            node.p2p.add_peer(&other.peer_id, &other.addrs).await;
        }
        let info = node_info(&options, &me, &node.p2p, node.boot);
        if should_register(&current, node.id, &info) {
            match node.shutdown.run_until_cancelled(node.propose(info.register(now_ms()))).await {
                None => return,
                Some(Ok(_)) => {}
                Some(Err(error)) => tracing::warn!(%error, "not registered yet"),
            }
            // Also after a success: it may take a while until it shows here.
            let pause = tokio::time::sleep(REGISTER_PAUSE);
            if node.shutdown.run_until_cancelled(pause).await.is_none() {
                return;
            }
            continue;
        }
        match node.shutdown.run_until_cancelled(state.changed()).await {
            Some(Ok(())) => {
                node.fresh.send_replace(Instant::now());
            }
            Some(Err(_)) | None => return,
        }
    }
}

fn start_daemons(node: &Context, tasks: &mut JoinSet<()>) {
    macro_rules! daemon {
        ($name:ident) => {
            tasks.spawn(supervise(Arc::clone(node), stringify!($name), daemons::$name::run));
        };
    }
    daemon!(leader);
    daemon!(selfplay);
    daemon!(sync);
    daemon!(replication);
    daemon!(consolidation);
    daemon!(distribution);
    daemon!(trainer);
    daemon!(gauntlet);
}

/// Returns when the node shall end, or cannot go on.
async fn watch_over(node: &Context) -> Result<(), NodeError> {
    let mut metrics = node.raft.metrics();
    loop {
        if let Some(why) = metrics.borrow_and_update().failed.clone()
            && !node.shutdown.is_cancelled()
        {
            return Err(NodeError::Consensus(why));
        }
        match node.shutdown.run_until_cancelled(metrics.changed()).await {
            None => return Ok(()),
            Some(Ok(())) => {}
            Some(Err(_)) if node.shutdown.is_cancelled() => return Ok(()),
            Some(Err(_)) => return Err(NodeError::Ended("consensus".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;

    #[test]
    fn a_damaged_list_of_segments_is_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segments.db");
        std::fs::write(&path, vec![7; 8192]).unwrap();
        assert_eq!(open_pending(&path).unwrap().pending().unwrap(), []);
        assert_eq!(
            std::fs::read_dir(folder.path())
                .unwrap()
                .filter(|f| {
                    f.as_ref().unwrap().file_name().to_string_lossy().starts_with("segments.db.corrupt-")
                })
                .count(),
            1
        );
    }

    #[test]
    fn a_node_registers_until_the_cluster_knows_it_as_it_is() {
        let world = World::with_nodes(2);
        let known = &world.state.nodes[&2];
        let same = NodeInfo {
            peer_id: known.peer_id.clone(),
            name: known.name.clone(),
            addrs: known.addrs.clone(),
            http: known.http.clone(),
            version: known.version.clone(),
            boot: known.boot,
        };
        let restarted = NodeInfo { boot: 77, ..same.clone() };
        assert!(!should_register(&world.state, 2, &same));
        assert!(should_register(&world.state, 2, &restarted));
        let nobody = ClusterState::default();
        assert!(should_register(&nobody, FOUNDER, &same), "killed between founding and registering");
        assert!(!should_register(&nobody, 2, &same), "not caught up");
    }
}
