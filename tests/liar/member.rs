//! The liar as a member: it is in this process, came with a ticket, follows Raft as every learner does, and
//! answers its peers with what the test gives it to say.
//!
//! It speaks by the crates of the project (`p2p`, `raft`), so its messages are those of a real node as far as
//! form goes. Only what they say is false.

use crate::support::{Peer, SOON, until, when};
use cluster_state::{
    Admission, ClusterState, Command, NodeId, Receipt, Refusal, Response, Signature,
    admission::{Invitation, ticket_key},
    command::RegisterSegment,
};
use p2p::{
    Class, DoorKey, IncomingRequest, KeyRing, P2p, P2pConfig, P2pHandle, P2pInbox, RequestError, Signer,
};
use parking_lot::Mutex;
use raft::{NoHook, NodeInfo, ProposeError, RaftConfig, RaftHandle, Timing, Transport, TransportError};
use ringrift::{
    events::{
        envelope::Signed,
        repair::{Floor, QUESTION, RepairAnswer, RepairQuestion},
    },
    peer::{EVENTS_TOPIC, MODELS_TOPIC},
    store::Segment,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;
use tokio::{
    runtime::Runtime,
    sync::mpsc::Receiver,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use wire::Hash;

/// Frame kinds of requests between nodes, of their answers, and of announcements.
const REQUEST: u8 = 0x51;
const ANSWER: u8 = 0x52;
pub(super) const ANNOUNCEMENT: u8 = 0x53;
/// Largest of the first two, in bytes.
const BYTES_MAX: usize = 4096;
/// How long a peer may take to fetch a segment and to check it.
const KEEP: Duration = Duration::from_secs(30);

/// The requests of nodes to each other, as they are encoded.
#[derive(Serialize, Deserialize)]
enum Request {
    Keep { hash: Hash },
}

/// The answers to them.
#[derive(Serialize, Deserialize)]
enum Answer {
    Kept(Signature),
    Refused(String),
}

pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// What the liar says when it is asked, and how often it was.
#[derive(Default)]
pub(super) struct Says {
    /// What it says is gone.
    pub(super) floors: Mutex<Vec<Floor>>,
    /// Events that everybody who asks gets.
    pub(super) events: Mutex<Vec<Signed>>,
    /// Questions about events that it was asked, and segments that it was asked to keep.
    pub(super) questions: AtomicUsize,
    pub(super) keeps: AtomicUsize,
}

impl Says {
    fn answer(&self, request: &[u8]) -> Vec<u8> {
        if wire::kind(request) == Some(QUESTION) {
            self.questions.fetch_add(1, Ordering::Relaxed);
            let (events, floors) = (self.events.lock().clone(), self.floors.lock().clone());
            let now_ms = now_ms() as i64;
            return RepairAnswer { now_ms, events, floors, ..RepairAnswer::default() }.encode().unwrap();
        }
        // Whoever wants something kept gets a receipt at once: a signature that the liar made up.
        self.keeps.fetch_add(1, Ordering::Relaxed);
        wire::encode(ANSWER, &Answer::Kept(Signature::of(&[7; 64]).unwrap()), BYTES_MAX).unwrap()
    }
}

/// Carries Raft's messages.
#[derive(Clone)]
struct Messages(P2pHandle);

impl Transport for Messages {
    async fn call(&self, peer: &str, request: Vec<u8>, timeout: Duration) -> Result<Vec<u8>, TransportError> {
        self.0.request(Class::Raft, peer, request, timeout).await.map_err(|error| match error {
            RequestError::NotConnected => TransportError::Unreachable(peer.to_owned()),
            RequestError::Timeout => TransportError::Timeout,
            other => TransportError::Failed(other.to_string()),
        })
    }
}

/// A member that lies.
pub(super) struct Liar {
    pub(super) id: NodeId,
    pub(super) p2p: P2pHandle,
    pub(super) signer: Signer,
    pub(super) says: Arc<Says>,
    pub(super) scratch: TempDir,
    raft: RaftHandle,
    shutdown: CancellationToken,
    /// Its tasks end before the runtime does.
    _tasks: JoinSet<()>,
    runtime: Runtime,
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Liar {
    /// Joins the cluster of `host` with a ticket that its operator makes.
    pub(super) fn join(host: &Peer) -> Self {
        let ticket = host.read(&["cluster", "ticket", "--uses", "1"]);
        let Invitation { address, token } = ticket.stdout.trim().parse().expect("a ticket");
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        let (runtime, shutdown) = (Runtime::new().unwrap(), CancellationToken::new());
        let (mut tasks, keys) = (JoinSet::new(), KeyRing::new("ringrift"));
        keys.set(vec![DoorKey::new(ticket_key(&token))]);
        let config = P2pConfig {
            key_path: path("peer.key"),
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            bootstrap: vec![address.parse().unwrap()],
            keys: Arc::clone(&keys),
            boot: 4711,
            topics: vec![EVENTS_TOPIC.to_owned(), MODELS_TOPIC.to_owned()],
            direct_topics: Vec::new(),
            pending_max: 64,
            members_max: 64,
            blob_dir: path("blobs"),
        };
        let started = runtime.block_on(P2p::start(config, &mut tasks, shutdown.clone()));
        let (p2p, inbox) = started.unwrap();
        let peer = until("the liar is connected", SOON, || {
            let peers = p2p.peers();
            let first = peers.borrow().first().map(|peer| peer.peer_id.clone());
            first.ok_or_else(|| format!("{:?}", p2p.bootstrap().borrow()))
        });
        let info = NodeInfo {
            peer_id: p2p.peer_id(),
            name: "liar".to_owned(),
            addrs: p2p.listen_addrs(),
            http: "http://127.0.0.1:1".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: 4711,
        };
        let messages = Messages(p2p.clone());
        let (peers, admission) = ([peer], Admission::by_ticket(&token, &info.peer_id));
        let join = RaftHandle::join(&messages, &peers, &info, &admission, SOON);
        let (id, introduced) = runtime.block_on(join).unwrap();
        let config = RaftConfig {
            node_id: id,
            peer_id: p2p.peer_id(),
            log_path: path("raft.db"),
            state_path: path("node.db"),
            introduced,
            timing: Timing::default(),
        };
        let start = RaftHandle::start(config, messages, NoHook, &mut tasks, shutdown.clone());
        let raft = runtime.block_on(start).unwrap();
        let signer = Signer::load(&path("peer.key")).unwrap();
        let says = Arc::new(Says::default());
        let liar = Self { id, p2p, signer, says, scratch, raft, shutdown, _tasks: tasks, runtime };
        liar.live(inbox, keys);
        liar
    }

    /// Does what a member has to do so that the others take it for one.
    fn live(&self, inbox: P2pInbox, keys: Arc<KeyRing>) {
        let P2pInbox { raft: messages, control, mut gossip, direct: _ } = inbox;
        let (raft, says) = (self.raft.clone(), Arc::clone(&self.says));
        self.runtime.spawn(serve_raft(messages, raft.clone()));
        self.runtime.spawn(answer(control, says));
        // What others gossip, it neither keeps nor passes on.
        self.runtime.spawn(async move { while gossip.recv().await.is_some() {} });
        self.runtime.spawn(follow(raft, self.p2p.clone(), keys));
    }

    /// The replicated state, as a learner has it.
    pub(super) fn state(&self) -> Arc<ClusterState> {
        self.raft.local()
    }

    /// Proposes a command in its own name.
    pub(super) fn propose(&self, command: impl Into<Command>) -> Result<Response, ProposeError> {
        let command = command.into();
        until("the leader answers", SOON, || {
            match self.runtime.block_on(self.raft.propose(command.clone())) {
                Err(error) if error.is_retryable() => Err(error.to_string()),
                answer => Ok(answer),
            }
        })
    }

    /// Proposes a command that the cluster refuses, and returns why.
    pub(super) fn is_refused(&self, command: impl Into<Command>) -> Refusal {
        match self.propose(command) {
            Err(ProposeError::Refused(refusal)) => refusal,
            other => panic!("the cluster took it: {other:?}"),
        }
    }

    /// Asks a peer for everything that it knows, and returns its answer.
    pub(super) fn questions(&self, peer: &str) -> Option<RepairAnswer> {
        let question = RepairQuestion::default().encode().unwrap();
        let answer = self.p2p.request(Class::Control, peer, question, KEEP);
        RepairAnswer::decode(&self.runtime.block_on(answer).ok()?, now_ms() as i64).ok()
    }

    /// Asks a peer to keep a content as a segment; returns its receipt, or why it does not.
    pub(super) fn has_kept(&self, peer: &str, hash: Hash) -> Result<Signature, String> {
        let request = wire::encode(REQUEST, &Request::Keep { hash }, BYTES_MAX).unwrap();
        let answer = self.runtime.block_on(self.p2p.request(Class::Control, peer, request, KEEP));
        match wire::decode::<Answer, BYTES_MAX>(ANSWER, &answer.map_err(|error| error.to_string())?) {
            Ok(Answer::Kept(signature)) => Ok(signature),
            Ok(Answer::Refused(why)) => Err(why),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The command that registers a segment which it holds itself and which other nodes have signed.
    pub(super) fn registration(&self, segment: &Segment, others: Vec<Receipt>) -> RegisterSegment {
        let (header, facts) = (segment.header(), segment.facts());
        let own = self.signer.sign(&facts.message(&self.signer.peer_id()));
        let mut receipts = vec![Receipt { node: self.id, signature: Signature::of(&own).unwrap() }];
        receipts.extend(others);
        RegisterSegment {
            hash: segment.hash(),
            config_key: header.config_key.clone(),
            games: header.games.into(),
            samples: header.samples,
            bytes: facts.bytes,
            source: header.source.clone(),
            model: header.model,
            receipts,
            at_ms: now_ms(),
        }
    }

    /// Gets a segment registered as an honest node does: another one keeps it and signs what it has counted.
    pub(super) fn registers(&self, segment: &Segment) {
        self.p2p.blobs().put(segment.bytes()).unwrap();
        let state = self.state();
        let keeper = state.nodes.values().find(|node| node.id != self.id && node.online).unwrap();
        let signature =
            until("an honest node keeps it", SOON, || self.has_kept(&keeper.peer_id, segment.hash().0));
        let registration = self.registration(segment, vec![Receipt { node: keeper.id, signature }]);
        let answer = self.propose(registration).unwrap();
        assert!(matches!(answer, Response::Segment { .. }), "{answer:?}");
    }

    /// Puts a content into its folder of which it gives away the first and the last piece only: the file is
    /// damaged after its outline was made. Returns a function that puts the file back, which the liar's own
    /// node moves away each time that it notices the damage.
    pub(super) fn withholds(&self, mut content: Vec<u8>, damage: fn(&mut [u8])) -> (Hash, impl Fn() + use<>) {
        let blobs = self.p2p.blobs();
        let hash = blobs.put(&content).unwrap();
        blobs.known_outline(hash).unwrap();
        let (shown, kept): (PathBuf, PathBuf) =
            (blobs.path(hash), self.scratch.path().join(format!("damaged-{hash}")));
        damage(&mut content);
        fs::write(&kept, content).unwrap();
        fs::remove_file(&shown).unwrap();
        let restore = move || {
            if !shown.exists() {
                fs::hard_link(&kept, &shown).unwrap();
            }
        };
        restore();
        (hash, restore)
    }

    /// Runs a task beside the test, until the liar ends or the handle is aborted.
    pub(super) fn beside(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.runtime.spawn(task)
    }

    /// That nobody is connected to it any more; else how many are.
    pub(super) fn is_alone(&self) -> Result<(), String> {
        let peers = self.p2p.peers();
        let peers = peers.borrow();
        when(peers.is_empty(), (), || format!("{} peers are connected", peers.len()))
    }
}

async fn serve_raft(mut messages: Receiver<IncomingRequest>, raft: RaftHandle) {
    while let Some(IncomingRequest { from, bytes, reply, .. }) = messages.recv().await {
        let raft = raft.clone();
        tokio::spawn(async move {
            // The sender may have given up.
            let _ = reply.send(raft.serve(&from, &bytes).await);
        });
    }
}

async fn answer(mut requests: Receiver<IncomingRequest>, says: Arc<Says>) {
    while let Some(request) = requests.recv().await {
        // The peer that asked may have given up.
        let _ = request.reply.send(says.answer(&request.bytes));
    }
}

/// Keeps its door and its address book as the state says.
async fn follow(raft: RaftHandle, p2p: P2pHandle, keys: Arc<KeyRing>) {
    let mut states = raft.applied();
    let mut known = BTreeSet::new();
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        if let Some(secret) = &state.admissions.secret {
            keys.set(vec![DoorKey::new(secret.bytes)]);
        }
        let members: BTreeSet<String> = state.nodes.values().map(|node| node.peer_id.clone()).collect();
        if !members.is_empty() && members != known {
            p2p.set_members(&members).await;
            for node in state.nodes.values().filter(|node| node.peer_id != p2p.peer_id()) {
                p2p.add_peer(&node.peer_id, &node.addrs).await;
            }
            known = members;
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}
