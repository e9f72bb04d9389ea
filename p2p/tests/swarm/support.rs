//! Real swarms on loopback.

use p2p::{DoorKey, KeyRing, Multiaddr, P2p, P2pConfig, P2pError, P2pHandle, P2pInbox, PeerInfo};
use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

pub(crate) const TOPIC: &str = "test";
pub(crate) const DIRECT_TOPIC: &str = "test/direct";
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) struct Node {
    pub(crate) handle: P2pHandle,
    pub(crate) inbox: P2pInbox,
    pub(crate) shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

pub(crate) struct Options<'a> {
    pub(crate) bootstrap: &'a [String],
    pub(crate) cluster: &'a str,
    pub(crate) keys: &'a [DoorKey],
    pub(crate) listen: &'a str,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { bootstrap: &[], cluster: "test", keys: &[], listen: "/ip4/127.0.0.1/tcp/0" }
    }
}

impl Node {
    pub(crate) async fn try_start(dir: &Path, options: Options<'_>) -> Result<Self, P2pError> {
        static BOOT: AtomicU64 = AtomicU64::new(1);
        let addr = |text: &String| text.parse::<Multiaddr>().unwrap();
        let keys = KeyRing::new(options.cluster);
        keys.set(options.keys.to_vec());
        let config = P2pConfig {
            key_path: dir.join("node.key"),
            listen: vec![options.listen.parse().unwrap()],
            bootstrap: options.bootstrap.iter().map(addr).collect(),
            keys,
            boot: BOOT.fetch_add(1, Ordering::Relaxed),
            topics: vec![TOPIC.into()],
            direct_topics: vec![DIRECT_TOPIC.into()],
            pending_max: 64,
            members_max: 64,
            blob_dir: dir.join("blobs"),
        };
        let (mut tasks, shutdown) = (JoinSet::new(), CancellationToken::new());
        let (handle, inbox) = P2p::start(config, &mut tasks, shutdown.clone()).await?;
        Ok(Self { handle, inbox, shutdown, tasks })
    }

    pub(crate) async fn start(dir: &Path, bootstrap: &[String]) -> Self {
        Self::try_start(dir, Options { bootstrap, ..Options::default() }).await.unwrap()
    }

    pub(crate) fn id(&self) -> String {
        self.handle.peer_id()
    }

    pub(crate) fn addr(&self) -> String {
        self.handle.listen_addrs()[0].clone()
    }

    /// Waits until the connected peers satisfy `good`.
    pub(crate) async fn until_peers(&self, good: impl Fn(&[PeerInfo]) -> bool) {
        let mut peers = self.handle.peers();
        let found = timeout(SOON, peers.wait_for(|p| good(p))).await.map(|p| p.unwrap().len());
        found.unwrap_or_else(|_| panic!("{}: peers are {:?}", self.id(), self.handle.peers().borrow()));
    }

    /// Ends the node at once, without closing its connections.
    pub(crate) async fn kill(mut self) {
        self.tasks.shutdown().await;
    }

    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// `from` publishes until `to` hears a message that was published after this call. Gossip may be lost, so it
/// is repeated.
pub(crate) async fn until_gossip(from: &Node, to: &mut Node) {
    until_gossip_on(TOPIC, from, to).await;
}

pub(crate) async fn until_gossip_on(topic: &str, from: &Node, to: &mut Node) {
    static MARK: AtomicU64 = AtomicU64::new(0);
    let first = MARK.fetch_add(1, Ordering::Relaxed) << 32;
    let author = from.id();
    let inbox = if topic == DIRECT_TOPIC { &mut to.inbox.direct } else { &mut to.inbox.gossip };
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let mut number = first;
    let heard = async {
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    number += 1;
                    from.handle.publish(topic, number.to_be_bytes().to_vec()).unwrap();
                }
                message = inbox.recv() => {
                    let message = message.unwrap();
                    let Ok(bytes) = message.bytes.as_slice().try_into() else { continue };
                    let mark = u64::from_be_bytes(bytes);
                    if message.topic == topic && message.from == author && mark > first && mark <= number {
                        return;
                    }
                }
            }
        }
    };
    timeout(SOON, heard).await.unwrap_or_else(|_| panic!("{author} is not heard"));
}
