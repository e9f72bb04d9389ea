//! The settings of the service, and its start.
//!
//! Invariant: when [`P2p::start`] returns, every address is bound to a real port.

use crate::{
    behaviour::Behaviour,
    blobs::{local::LocalContent, store::BlobStore},
    bootstrap::Bootstrap,
    class::Class,
    drops::Drops,
    error::P2pError,
    handle::{HandleInner, P2pHandle, P2pInbox},
    handshake::Question,
    identity,
    incoming::IncomingRequest,
    keys::KeyRing,
    lobby::Lobby,
    service::{Outlets, Own, Service},
    transfer, transport,
};
use futures::StreamExt;
use libp2p::{
    Multiaddr, Swarm,
    identity::Keypair,
    multiaddr::Protocol,
    swarm::{self, SwarmEvent},
};
use std::{
    collections::{BTreeMap, HashSet},
    net::{IpAddr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::{JoinSet, spawn_blocking},
};
use tokio_util::sync::CancellationToken;

const COMMANDS_CAPACITY: usize = 1024;
/// Messages that wait, of either kind of gossip.
const GOSSIP_CAPACITY: usize = 2048;
/// The most handshakes that wait for the service to look at them; more wait before they ask.
const QUESTIONS_CAPACITY: usize = 64;
const LISTEN_DEADLINE: Duration = Duration::from_secs(5);
/// A connection never ends because it is idle; the service ends it when pings fail.
const IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// The settings of the service.
#[derive(Clone, Debug)]
pub struct P2pConfig {
    /// The path of the node's key, which is made if there is no such file.
    pub key_path: PathBuf,
    /// The addresses to listen on (`/ip4/0.0.0.0/tcp/4001`; port 0 lets the system choose).
    pub listen: Vec<Multiaddr>,
    /// The addresses to join through (IP or DNS name, TCP, with or without `/p2p/ID`). One that answers is
    /// enough.
    pub bootstrap: Vec<Multiaddr>,
    /// The keys of the door. Peers that have none of them cannot connect.
    pub keys: Arc<KeyRing>,
    /// A number that each process draws at random. Other peers see a restart by it.
    pub boot: u64,
    /// The gossip topics of this cluster. Every peer names the same.
    pub topics: Vec<String>,
    /// Further topics, for authors that are connected to every peer: a peer that receives a message does not
    /// pass it on. In the mesh of the other topics it would cross most connections, and its signature would
    /// be checked each time.
    pub direct_topics: Vec<String>,
    /// The most inbound connections that may be in the handshake at once.
    pub pending_max: u32,
    /// The most members that a cluster has. All that grows with them is sized by it: the address book, the
    /// connections, the authors of gossip that are counted apart, and who refuses this node. Whoever is no
    /// member has a small number of places beside theirs, and cannot take one of them.
    pub members_max: usize,
    /// The folder in which content is kept.
    pub blob_dir: PathBuf,
}

pub(crate) struct Launched {
    pub(crate) handle: P2pHandle,
    pub(crate) inbox: P2pInbox,
    pub(crate) blob_inbox: mpsc::Receiver<IncomingRequest>,
}

/// The peer-to-peer service.
pub struct P2p;

impl P2p {
    /// Starts to listen, and runs the service in `tasks` until `shutdown` is cancelled.
    ///
    /// # Errors
    /// [`P2pError`] if the key or the content folder is unusable, or an address is invalid or taken. A
    /// bootstrap address that cannot be reached is no error: see [`P2pHandle::bootstrap`].
    pub async fn start(
        config: P2pConfig,
        tasks: &mut JoinSet<()>,
        shutdown: CancellationToken,
    ) -> Result<(P2pHandle, P2pInbox), P2pError> {
        let launched = Self::launch(config, tasks, shutdown.clone()).await?;
        let sharing = launched.handle.0.content.sharing.clone();
        tasks.spawn(transfer::serve::serve(
            launched.handle.blobs().clone(),
            sharing,
            launched.blob_inbox,
            shutdown,
        ));
        Ok((launched.handle, launched.inbox))
    }

    /// Starts everything but the task that serves content.
    pub(crate) async fn launch(
        config: P2pConfig,
        tasks: &mut JoinSet<()>,
        shutdown: CancellationToken,
    ) -> Result<Launched, P2pError> {
        let key = identity::load_or_create(&config.key_path)?;
        let store = open_store(config.blob_dir.clone()).await?;
        let own = key.public().to_peer_id();
        let now = Instant::now();
        let bootstraps = config.bootstrap.iter().map(|addr| Bootstrap::new(addr.clone(), now));
        let bootstraps = bootstraps.collect::<Result<Vec<_>, _>>()?;
        let pending_max = config.pending_max as usize;
        // Half of the places are more than the members behind one address need at once.
        let lobby = Lobby::new("p2p", pending_max, pending_max / 2);
        let (asks, questions) = mpsc::channel(QUESTIONS_CAPACITY);
        let (swarm, addrs) = build_swarm(&config, &key, asks, &lobby).await?;
        let keys = config.keys;
        let topics = [config.topics, config.direct_topics.clone()].concat();

        let (commands, command_queue) = mpsc::channel(COMMANDS_CAPACITY);
        let [(gossip, gossip_inbox), (direct, direct_inbox)] =
            [(); 2].map(|()| mpsc::channel(GOSSIP_CAPACITY));
        let [(raft, raft_inbox), (control, control_inbox), (blob, blob_inbox)] =
            Class::ALL.map(|class| mpsc::channel(class.inbox_capacity()));
        let (listen, listen_watch) = watch::channel(addrs);
        let (peers, peers_watch) = watch::channel(Vec::new());
        let (bootstrap, bootstrap_watch) = watch::channel(bootstraps.iter().map(Bootstrap::status).collect());
        let (refusals, refusals_watch) = watch::channel(BTreeMap::new());
        let requests = [raft, control, blob];
        let drops: Arc<Drops> = Arc::default();
        let outlets = Outlets {
            requests,
            gossip,
            direct,
            listen,
            peers,
            bootstrap,
            refusals,
            lobby: Arc::clone(&lobby),
            drops: Arc::clone(&drops),
        };
        let who =
            Own { boot: config.boot, keys: Arc::clone(&keys), questions, members_max: config.members_max };
        let service = Service::new(swarm, who, bootstraps, config.direct_topics, outlets);
        tasks.spawn(service.run(command_queue, shutdown));

        let inner = HandleInner {
            peer_id: own,
            topics,
            listen: listen_watch,
            peers: peers_watch,
            bootstrap: bootstrap_watch,
            refusals: refusals_watch,
            keys,
            commands,
            permits: Class::ALL.map(|class| Semaphore::new(class.in_flight_max())),
            content: LocalContent::new(store),
            lobby,
            drops,
        };
        let inbox =
            P2pInbox { raft: raft_inbox, control: control_inbox, gossip: gossip_inbox, direct: direct_inbox };
        Ok(Launched { handle: P2pHandle(Arc::new(inner)), inbox, blob_inbox })
    }
}

/// The swarm with all protocols, and the addresses on which it listens.
async fn build_swarm(
    config: &P2pConfig,
    key: &Keypair,
    asks: mpsc::Sender<Question>,
    lobby: &Arc<Lobby>,
) -> Result<(Swarm<Behaviour>, Vec<Multiaddr>), P2pError> {
    let transport = transport::build(key, Arc::clone(&config.keys), (config.boot, asks), Arc::clone(lobby))
        .map_err(|e| P2pError::Setup(e.to_string()))?;
    let most = (config.pending_max, config.members_max);
    let behaviour = Behaviour::new(key, &config.topics, &config.direct_topics, most)?;
    let swarm_config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_TIMEOUT);
    let mut swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), swarm_config);
    let addrs = listen(&mut swarm, &config.listen).await?;
    Ok((swarm, addrs))
}

/// Opens the store of content on a thread that may block.
async fn open_store(dir: PathBuf) -> Result<BlobStore, P2pError> {
    let open = spawn_blocking(move || BlobStore::open(&dir)).await;
    Ok(open.map_err(|e| P2pError::Setup(e.to_string()))??)
}

/// Binds every address and waits until each has a real port.
async fn listen(swarm: &mut Swarm<Behaviour>, wanted: &[Multiaddr]) -> Result<Vec<Multiaddr>, P2pError> {
    let mut waiting = HashSet::new();
    for addr in wanted {
        let refused = |reason: String| P2pError::Listen { addr: addr.clone(), reason };
        let socket = socket_addr(addr).ok_or_else(|| P2pError::Address(addr.clone()))?;
        if socket.port() != 0 {
            // libp2p binds with SO_REUSEPORT, with which two processes would share a port without notice.
            TcpListener::bind(socket).map_err(|e| refused(e.to_string()))?;
        }
        waiting.insert(swarm.listen_on(addr.clone()).map_err(|e| refused(e.to_string()))?);
    }
    let mut addrs = Vec::new();
    let all = async {
        while !waiting.is_empty() {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, address } => {
                    waiting.remove(&listener_id);
                    addrs.push(address);
                }
                SwarmEvent::ListenerClosed { addresses, reason: Err(error), .. } => {
                    let addr = addresses.into_iter().next().unwrap_or_else(Multiaddr::empty);
                    return Err(P2pError::Listen { addr, reason: error.to_string() });
                }
                _ => {}
            }
        }
        Ok(())
    };
    tokio::time::timeout(LISTEN_DEADLINE, all).await.unwrap_or_else(|_| {
        let addr = wanted.first().cloned().unwrap_or_else(Multiaddr::empty);
        Err(P2pError::Listen { addr, reason: "no address within 5 s".into() })
    })?;
    Ok(addrs)
}

fn socket_addr(addr: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = addr.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::from(ip),
        Protocol::Ip6(ip) => IpAddr::from(ip),
        _ => return None,
    };
    match (parts.next()?, parts.next()) {
        (Protocol::Tcp(port), None) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}
