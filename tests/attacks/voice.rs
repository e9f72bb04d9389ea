//! A peer that says what its test wants, and the frames that it sends, made by hand.

use crate::support::{Peer, SOON};
use cluster_state::{
    Command,
    admission::{Invitation, ticket_key},
};
use p2p::{Class, DoorKey, KeyRing, P2p, P2pConfig, P2pHandle, P2pInbox};
use serde::Serialize;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// The frame kind of a request of Raft, and of a snapshot.
pub(super) const REQUEST: u8 = 0x2b;
pub(super) const SNAPSHOT: u8 = 0x2a;
/// The places of the requests in their enum.
pub(super) const APPEND: u32 = 0;
pub(super) const SNAPSHOT_PIECE: u32 = 3;
pub(super) const PROPOSE: u32 = 5;
/// A node that never was.
pub(super) const GHOST: u64 = 99;
/// A leader and its term, and whether a quorum elected it.
pub(super) type Vote = ((u64, u64), bool);
/// A leader and its term, and the index of an entry.
pub(super) type LogId = ((u64, u64), u64);
/// Voters, and members with their peer ids.
pub(super) type Members = (Vec<Vec<u64>>, Vec<(u64, String)>);

pub(super) fn frame(request: u32, fields: &impl Serialize) -> Vec<u8> {
    wire::encode(REQUEST, &(request, fields), 2 << 20).unwrap()
}

pub(super) fn only_the_ghost() -> Members {
    (vec![vec![GHOST]], vec![(GHOST, "ghost".to_owned())])
}

/// A peer under some identity, with a runtime of its own, which does nothing while nothing is asked of it.
pub(super) struct Voice {
    pub(super) runtime: Runtime,
    pub(super) handle: P2pHandle,
    _inbox: P2pInbox,
    _tasks: JoinSet<()>,
}

impl Voice {
    pub(super) fn new(root: &Path, key: &Path, keys: Arc<KeyRing>, address: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let config = P2pConfig {
            key_path: key.to_owned(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            bootstrap: vec![address.parse().unwrap()],
            keys,
            boot: 4711,
            topics: vec![],
            direct_topics: vec![],
            pending_max: 64,
            members_max: 64,
            blob_dir: tempfile::tempdir_in(root).unwrap().keep(),
        };
        let mut tasks = JoinSet::new();
        let started = runtime.block_on(P2p::start(config, &mut tasks, CancellationToken::new()));
        let (handle, inbox) = started.unwrap();
        Self { runtime, handle, _inbox: inbox, _tasks: tasks }
    }

    /// Somebody with the key of a ticket of this peer.
    pub(super) fn stranger(root: &Path, peer: &mut Peer) -> Self {
        let ended = peer.read(&["cluster", "ticket"]);
        let ticket: Invitation = ended.stdout.trim().parse().unwrap();
        let keys = KeyRing::new("ringrift");
        keys.set(vec![DoorKey::new(ticket_key(&ticket.token))]);
        let voice = Self::new(root, &root.join("stranger.key"), keys, &peer.address());
        voice.until_connected(1);
        voice
    }

    /// The peer of a member that does not run.
    pub(super) fn member(root: &Path, folder: &Path, peer: &mut Peer) -> Self {
        let voice = Self::new(root, &folder.join("peer.key"), peer.keys(), &peer.address());
        voice.until_connected(1);
        voice
    }

    pub(super) fn until_connected(&self, count: usize) {
        let mut peers = self.handle.peers();
        let all = async { peers.wait_for(|peers| peers.len() >= count).await.map(|_| ()) };
        let all = self.runtime.block_on(async { tokio::time::timeout(SOON, all).await });
        assert!(matches!(all, Ok(Ok(()))), "{:?}", self.handle.bootstrap().borrow());
    }

    pub(super) fn ask(&self, class: Class, peer: &str, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        let asked = self.handle.request(class, peer, bytes, Duration::from_secs(10));
        self.runtime.block_on(asked).map_err(|error| error.to_string())
    }

    /// Sends a request of Raft; returns the answer as a text.
    pub(super) fn send(&self, peer: &str, request: u32, fields: &impl Serialize) -> String {
        match self.ask(Class::Raft, peer, frame(request, fields)) {
            Ok(answer) => raft::samples::answer(&answer).unwrap(),
            Err(error) => error,
        }
    }

    pub(super) fn propose(&self, peer: &str, command: impl Into<Command>) -> String {
        self.send(peer, PROPOSE, &(command.into(), true, 5000u64))
    }
}
