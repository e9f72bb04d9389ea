//! Start-up and shutdown of a node.

use super::{
    addresses,
    backbone::{serve_raft, start_p2p, start_raft},
    daemons::{self, Daemons, Parts},
    error::NodeError,
    membership::{FOUNDER, introduce, membership, node_info},
    status::{Fresh, NodeReporter},
};
use crate::{
    clock::now_ms,
    compute::DelayGauge,
    config::Config,
    daemons::{handlers, supervisor::Supervisor},
    devices::Devices,
    events::{
        self,
        deliveries::Deliveries,
        log::{EventLog, Subscriptions},
        runner::Runner,
    },
    http::{self, Front, Handles},
    peer::{
        Activity, Context, DeadLetters, PeerContext, PeerSettings, control, exchange,
        quota::UnregisteredQuota,
    },
    segments::{self, Segments},
    store::{DataFolder, Runtime, folder, token},
};
use p2p::{P2pError, Signer};
use raft::InitializeError;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::{Notify, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// How long tasks may take to end.
const GRACE: Duration = Duration::from_secs(10);

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
    let devices = Devices::find(options.config.device);
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
    let (waiting, waits_for) = watch::channel("starting".to_owned());
    let front = Arc::new(Front::new(waits_for));
    tasks.spawn(http::serve(listener, Arc::clone(&front), shutdown.clone()));

    let Some(id) = membership(&options, &folder, &p2p, &waiting, &me, boot, shutdown).await? else {
        return Ok(()); // stopped while it waited
    };
    runtime.node = Some(id);
    folder.write_runtime(&runtime)?;
    let state_path = folder.join("node.db");
    let subscriptions = Subscriptions::new(events::pairs());
    let signer = Signer::load(&folder.join("peer.key")).map_err(P2pError::from)?;
    let events = Arc::new(EventLog::open(&state_path, signer, subscriptions.clone())?);
    let (quorum, has_quorum) = watch::channel(false);
    let deliveries = Deliveries::open(&state_path)?;
    let token = token::create(&folder)?;
    let pending = segments::open_list(&folder.join("segments.db"))?;
    // Nobody waits for a node that waits for its driver: it is no member that answers yet.
    let Some(devices) = shutdown.run_until_cancelled(devices).await else { return Ok(()) };
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
    let (fresh, delay) = (Fresh::since(last_known(&events)?), DelayGauge::default());
    let node: Context = Arc::new(PeerContext {
        id,
        settings: PeerSettings {
            events: options.config.events.clone(),
            distribution: options.config.distribution.clone(),
        },
        folder,
        raft,
        blobs: p2p.blobs().clone(),
        p2p,
        events,
        activity: Activity::default(),
        shutdown: shutdown.clone(),
        started: Instant::now(),
        boot,
        http,
    });
    core_tasks.spawn_on(delay.clone().measure(shutdown.clone()), core);
    tasks.spawn(introduce(Arc::clone(&node), options.clone(), fresh.clone()));
    let quota = Arc::new(UnregisteredQuota::default());
    let segments = Segments::new(Arc::clone(&node), pending, Arc::clone(&quota));
    let (supervisor, devices) = (Supervisor::default(), Arc::new(devices));
    let gap = Arc::new(Notify::new());
    let noting = supervisor.clone();
    let panicked = move |ran| noting.note("gossip", "it panicked", ran);
    tasks.spawn(exchange::listen(Arc::clone(&node), inbox.gossip, Arc::clone(&gap), quota, panicked));
    tasks.spawn(exchange::repair(Arc::clone(&node), gap));
    tasks.spawn(exchange::follow(Arc::clone(&node), quorum));
    let parts = Parts {
        node: Arc::clone(&node),
        devices: Arc::clone(&devices),
        segments: segments.clone(),
        supervisor: supervisor.clone(),
        deliveries: deliveries.clone(),
    };
    let Daemons { handles, recommendation } = daemons::start(&parts, &options.config, tasks);
    let (health, last_busy) = (handles.health.clone(), handles.last_busy.clone());
    let runner = Runner::new(deliveries.clone(), handlers::all(handles), has_quorum, shutdown.clone());
    tasks.spawn(runner.clone().run(Arc::clone(&node.events)));
    let letters = DeadLetters::new(Arc::clone(&node), runner);
    tasks.spawn(control::serve(Arc::clone(&node), letters.clone(), inbox.control, segments.keeper()));
    let view = health.watch();
    let reporter = Arc::new(NodeReporter {
        cluster: options.cluster_name(),
        node: Arc::clone(&node),
        fresh,
        delay,
        deliveries,
        devices,
        threads_and_games: (options.config.selfplay_threads, options.config.selfplay.parallel_games),
        segment_copies: options.config.segment_copies,
        health,
        last_busy,
        supervisor,
        recommendation,
    });
    front.open(Handles {
        node: Arc::clone(&node),
        segments,
        letters,
        view,
        token,
        status: reporter.status_asked(),
        leader: reporter.leader_asked(),
    });
    tracing::info!(node = %id, peer = me.peer_id, %http, "running");
    tokio::select! {
        biased; // consensus says best why it ended
        outcome = watch_over(&node) => outcome,
        ended = first_to_end(tasks) => unless_stopping(&node, ended),
        ended = first_to_end(core_tasks) => unless_stopping(&node, ended),
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
