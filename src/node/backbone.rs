//! Starts p2p and Raft, on a runtime of their own.

use super::{
    addresses,
    admission::DoorList,
    error::NodeError,
    options::NodeOptions,
    stages::{Listening, Tasks},
    transport::PeerTransport,
};
use crate::{
    events::{EventHook, Subscriptions, caused::GamesPlanned},
    learner::evaluation::WATCH_GAMES,
    peer::{EVENTS_TOPIC, MODELS_TOPIC, context::EVENTS_DIRECT_TOPIC},
    store::DataFolder,
};
use cluster_state::{ADDRESSES_MAX, NodeId, state_machine::NODES_MAX};
use p2p::{
    DoorKey, DropReason, IncomingRequest, KeyRing, Multiaddr, P2p, P2pConfig, P2pError, P2pHandle, P2pInbox,
    PeerPermits,
};
use raft::{RaftConfig, RaftHandle, Timing, Voters};
use tokio::{sync::mpsc, task::JoinSet};
use tracing::Instrument as _;

/// What the state may hold of a member, p2p keeps of a peer.
const _: () = assert!(p2p::ADDRS_MAX == ADDRESSES_MAX);

/// Most Raft requests served at the same time.
const RAFT_SERVED_MAX: usize = 256;
/// Of those, the most of one peer: consensus has a few under way to each, and the proposals and reads of a
/// peer's tasks, which wait for a commit, come to this node while it leads.
const RAFT_PER_PEER_MAX: usize = 32;
/// Most requests served at the same time of peers that this node does not know as members: they join, or this
/// node has not learnt yet that they are.
const RAFT_JOINS_MAX: usize = 16;
/// Of those, the most of one peer.
const RAFT_JOINS_PER_PEER_MAX: usize = 4;

pub(super) async fn start_p2p(
    options: &NodeOptions,
    folder: &DataFolder,
    (boot, door, guests): (u64, Vec<DoorKey>, &DoorList),
    pending_max: u32,
    tasks: &mut Tasks,
) -> Result<(P2pHandle, P2pInbox), NodeError> {
    let keys = KeyRing::new(&options.cluster);
    keys.set(door);
    // Without a state nobody knows who the members are, and each peer may be one.
    if !guests.members.is_empty() {
        keys.know(&guests.members, guests.out.clone());
    }
    let config = P2pConfig {
        key_path: folder.join("peer.key"),
        listen: Vec::new(),
        bootstrap: parse(&options.bootstrap)?,
        keys,
        topics: vec![EVENTS_TOPIC.to_owned(), MODELS_TOPIC.to_owned()],
        direct_topics: vec![EVENTS_DIRECT_TOPIC.to_owned()],
        boot,
        pending_max,
        members_max: NODES_MAX,
        blob_dir: folder.join("blobs"),
    };
    let shutdown = tasks.shutdown.clone();
    let listens =
        if options.listen.is_empty() { addresses::choices(folder) } else { vec![parse(&options.listen)?] };
    // libp2p spawns its tasks on the runtime in which it is started.
    let start = tasks.core.spawn(async move {
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
    tasks.on_core.spawn_on(async move { while p2p_tasks.join_next().await.is_some() {} }, &tasks.core);
    Ok(started?)
}

/// Parses addresses as a user gave them.
fn parse(addresses: &[String]) -> Result<Vec<Multiaddr>, NodeError> {
    let parse = |text: &String| text.parse().map_err(|_| NodeError::Address(text.clone()));
    addresses.iter().map(parse).collect()
}

pub(super) async fn start_raft(
    options: &NodeOptions,
    Listening { folder, p2p, .. }: &Listening,
    (id, introduced): (NodeId, Voters),
    subscriptions: Subscriptions,
    tasks: &mut Tasks,
) -> Result<RaftHandle, NodeError> {
    let config = RaftConfig {
        node_id: id,
        peer_id: p2p.peer_id(),
        log_path: folder.join("raft.db"),
        state_path: folder.join("node.db"),
        introduced,
        timing: Timing::default(),
    };
    let games_planned =
        GamesPlanned { candidate: options.config.evaluation.games_max, champion: WATCH_GAMES };
    let hook = EventHook::new(games_planned, subscriptions);
    let (transport, shutdown) = (PeerTransport(p2p.clone()), tasks.shutdown.clone());
    // openraft spawns its tasks on the runtime in which it is started.
    let start = tasks.core.spawn(async move {
        let mut tasks = JoinSet::new();
        let started = RaftHandle::start(config, transport, hook, &mut tasks, shutdown).await;
        (started, tasks)
    });
    let (started, mut raft_tasks) =
        start.await.map_err(|e| NodeError::Ended(format!("the start of Raft: {e}")))?;
    tasks.on_core.spawn_on(async move { while raft_tasks.join_next().await.is_some() {} }, &tasks.core);
    Ok(started?)
}

/// Answers Raft's requests on `core`, each in its own task.
pub(super) fn serve_raft(raft: RaftHandle, p2p: P2pHandle, inbox: &mut P2pInbox, tasks: &mut Tasks) {
    let (_, empty) = mpsc::channel(1);
    let mut requests: mpsc::Receiver<IncomingRequest> = std::mem::replace(&mut inbox.raft, empty);
    let shutdown = tasks.shutdown.clone();
    tasks.on_core.spawn_on(
        async move {
            let members = PeerPermits::new(RAFT_SERVED_MAX, RAFT_PER_PEER_MAX);
            let others = PeerPermits::new(RAFT_JOINS_MAX, RAFT_JOINS_PER_PEER_MAX);
            let mut arrived = 0u64;
            let mut served = JoinSet::new();
            while let Some(Some(request)) = shutdown.run_until_cancelled(requests.recv()).await {
                while served.try_join_next().is_some() {}
                // Without a permit the request is dropped, and its sender tries again.
                let is_member = raft.local().node_of_peer(&request.from).is_some();
                let permits = if is_member { &members } else { &others };
                let Some(permit) = permits.try_take(&request.from) else {
                    p2p.drops().count(DropReason::RequestBusy);
                    continue;
                };
                let raft = raft.clone();
                arrived += 1;
                let span = tracing::debug_span!("raft request", id = arrived, from = request.from);
                let serving = async move {
                    let answer = raft.serve(&request.from, &request.bytes).await;
                    // The sender may have stopped waiting.
                    let _ = request.reply.send(answer);
                    drop(permit);
                };
                served.spawn(serving.instrument(span));
            }
        },
        &tasks.core,
    );
}
