//! A cluster to ask, and the peers that ask it.

use super::SETTINGS;
use crate::support::{Cluster, Peer, SOON, until, when};
use cluster_state::{NodeId, admission::Invitation};
use p2p::{DoorKey, EntryRefusal, KeyRing, P2p, P2pConfig, P2pHandle, P2pInbox};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, task::JoinSet};
use tokio_util::sync::CancellationToken;
use wire::Hash;

/// For how long the replicated state must not change to be at rest.
const REST: Duration = Duration::from_millis(1500);

/// A peer of the test under some identity.
pub(super) struct Voice {
    pub(super) handle: P2pHandle,
    _inbox: P2pInbox,
    tasks: JoinSet<()>,
    over: CancellationToken,
}

/// The members, of which one has been killed, and a host that joined and was killed.
pub(super) struct World {
    pub(super) runtime: Runtime,
    pub(super) cluster: Cluster,
    pub(super) leader: usize,
    /// A voter that follows.
    pub(super) other: usize,
    /// The voter that was killed.
    pub(super) gone: usize,
    pub(super) guest: Peer,
    pub(super) term: u64,
    /// Node id and peer id by the index of the peer; the last one is the guest.
    pub(super) nodes: Vec<(NodeId, String)>,
}

pub(super) fn invitation(of: &Peer) -> Invitation {
    let ended = of.read(&["cluster", "ticket", "--uses", "9"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout.trim().parse().unwrap()
}

pub(super) fn ring(keys: impl IntoIterator<Item = [u8; 32]>) -> Arc<KeyRing> {
    let ring = KeyRing::new("ringrift");
    ring.set(keys.into_iter().map(DoorKey::new).collect());
    ring
}

impl World {
    pub(super) fn begin() -> Self {
        let mut cluster = Cluster::start_with_last(3, SETTINGS, "[http]\nloopback_reads = false\n");
        let leader = cluster.leader();
        let gone = if leader == 1 { 0 } else { 1 };
        let other = 3 - leader - gone;
        let mut guest = Peer::new(cluster.root.path(), "guest", SETTINGS);
        let ticket = invitation(&cluster.peers[leader]).to_string();
        guest.spawn(None, &["--bootstrap", &ticket]);
        let status = cluster.peers[leader].until_status("the guest is in", |status| status.nodes.len() == 4);
        guest.kill();
        cluster.peers[gone].kill();
        let names = ["n1", "n2", "n3", "guest"];
        let found = names.map(|name| status.nodes.iter().find(|node| node.host == name).unwrap());
        let nodes = found.map(|node| (node.id, node.peer_id.clone())).into();
        let me = found[leader].node_id.clone();
        let ended = cluster.peers[leader].read(&["cluster", "operators", &me]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let (runtime, term) = (Runtime::new().unwrap(), status.term);
        Self { runtime, cluster, leader, other, gone, guest, term, nodes }
    }

    pub(super) fn peer(&self, index: usize) -> &Peer {
        self.cluster.peers.get(index).unwrap_or(&self.guest)
    }

    pub(super) fn root(&self) -> PathBuf {
        self.cluster.root.path().to_owned()
    }

    /// The hash of the state that the leader has.
    pub(super) fn state(&self) -> Hash {
        self.peer(self.leader).audit().state
    }

    /// The hash of the state once nothing happens any more.
    pub(super) fn at_rest(&self) -> Hash {
        let (mut last, mut since) = (self.state(), Instant::now());
        until("the state is at rest", SOON, || {
            let now = self.state();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            when(since.elapsed() > REST, now, || format!("{now}"))
        })
    }

    /// A peer with the key in this file, which dials both members.
    pub(super) fn voice(&mut self, key: &Path, keys: Arc<KeyRing>) -> Voice {
        let (leader, other) = (self.leader, self.other);
        let addresses = [leader, other].map(|index| self.cluster.peers[index].address());
        let config = P2pConfig {
            key_path: key.to_owned(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            bootstrap: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            keys,
            boot: 4711,
            topics: vec![],
            direct_topics: vec![],
            pending_max: 64,
            members_max: 64,
            blob_dir: tempfile::tempdir_in(self.root()).unwrap().keep(),
        };
        let (mut tasks, over) = (JoinSet::new(), CancellationToken::new());
        let started = self.runtime.block_on(P2p::start(config, &mut tasks, over.clone()));
        let (handle, inbox) = started.unwrap();
        Voice { handle, _inbox: inbox, tasks, over }
    }

    pub(super) fn end(&self, mut voice: Voice) {
        voice.over.cancel();
        self.runtime.block_on(async { while voice.tasks.join_next().await.is_some() {} });
    }

    pub(super) fn until_connected(&self, voice: &Voice) {
        until("both members let it in", SOON, || {
            let in_ = [self.leader, self.other].map(|index| voice.handle.is_connected(&self.nodes[index].1));
            when(in_ == [true; 2], (), || format!("{:?}", voice.handle.bootstrap().borrow()))
        });
    }

    pub(super) fn until_refused(&self, voice: &Voice, why: impl Fn(&EntryRefusal) -> bool) {
        until("both members refuse it", SOON, || {
            let found = voice.handle.bootstrap().borrow().clone();
            when(found.iter().all(|it| it.refusal.as_ref().is_some_and(&why)), (), || format!("{found:?}"))
        });
    }
}
