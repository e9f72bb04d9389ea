//! A cluster of real nodes with real files, over links in memory that drop, delay and cut.
#![allow(clippy::unwrap_used, reason = "part of tests, but no test itself")]

use cluster_state::{Admission, ClusterState, Command, NodeId, Response, command::SetLeader};
use raft::{
    ApplyHook, Door, HookError, NodeInfo, RaftConfig, RaftHandle, Timing, Transport, TransportError, Voters,
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The longest that anything may take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

struct Net {
    nodes: BTreeMap<String, RaftHandle>,
    cut: BTreeSet<(String, String)>,
    /// Share of the requests, and of the answers, that are lost.
    loss: f64,
    delay_ms: std::ops::RangeInclusive<u64>,
    rng: Pcg64Mcg,
    calls: u64,
}

/// The marks of these tests are commands that only a leader may propose, and any node proposes them here.
pub(crate) struct AnybodyMay;

impl ApplyHook for AnybodyMay {
    fn door(&self) -> Door {
        |_, _, _| Ok(())
    }

    fn on_apply(
        &mut self,
        _: &rusqlite::Transaction<'_>,
        _: u64,
        _: &Command,
        _: &Response,
        _: &ClusterState,
    ) -> Result<(), HookError> {
        Ok(())
    }
}

/// Everybody's links.
#[derive(Clone)]
pub(crate) struct Links(Arc<Mutex<Net>>);

impl Links {
    fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Net {
            nodes: BTreeMap::new(),
            cut: BTreeSet::new(),
            loss: 0.0,
            delay_ms: 0..=0,
            rng: Pcg64Mcg::seed_from_u64(seed),
            calls: 0,
        })))
    }

    fn net(&self) -> MutexGuard<'_, Net> {
        self.0.lock().unwrap()
    }

    pub(crate) fn calls(&self) -> u64 {
        self.net().calls
    }

    pub(crate) fn trouble(&self, loss: f64, delay_ms: std::ops::RangeInclusive<u64>) {
        let mut net = self.net();
        net.loss = loss;
        net.delay_ms = delay_ms;
    }

    /// Cuts (or heals) both directions between two peers.
    pub(crate) fn cut(&self, a: &str, b: &str, cut: bool) {
        let mut net = self.net();
        for pair in [(a.to_owned(), b.to_owned()), (b.to_owned(), a.to_owned())] {
            if cut {
                net.cut.insert(pair);
            } else {
                net.cut.remove(&pair);
            }
        }
    }

    pub(crate) fn heal(&self) {
        self.net().cut.clear();
    }

    pub(crate) fn of(&self, me: &str) -> Link {
        Link { me: me.into(), links: self.clone() }
    }
}

/// One peer's end of the links.
#[derive(Clone)]
pub(crate) struct Link {
    me: String,
    links: Links,
}

impl Link {
    /// Delay of the request and whether it and its answer get lost.
    fn fate(&self) -> (Duration, bool, bool) {
        let mut net = self.links.net();
        net.calls += 1;
        let (loss, range) = (net.loss, net.delay_ms.clone());
        let delay = net.rng.random_range(range);
        let lost = [net.rng.random_bool(loss), net.rng.random_bool(loss)];
        (Duration::from_millis(delay), lost[0], lost[1])
    }

    fn reach(&self, peer: &str) -> Result<RaftHandle, TransportError> {
        let net = self.links.net();
        if net.cut.contains(&(self.me.clone(), peer.to_owned())) {
            return Err(TransportError::Timeout);
        }
        net.nodes.get(peer).cloned().ok_or_else(|| TransportError::Unreachable(peer.into()))
    }
}

impl Transport for Link {
    async fn call(&self, peer: &str, request: Vec<u8>, timeout: Duration) -> Result<Vec<u8>, TransportError> {
        let (delay, lost, answer_lost) = self.fate();
        let exchange = async {
            tokio::time::sleep(delay).await;
            match self.reach(peer) {
                Ok(node) if !lost => {
                    let answer = node.serve(&self.me, &request).await;
                    drop(node);
                    match self.reach(peer) {
                        Ok(_) if !answer_lost => Ok(answer),
                        Ok(_) | Err(TransportError::Timeout) => std::future::pending().await,
                        Err(_) => Err(TransportError::Failed("the peer died".into())),
                    }
                }
                // As on a real link, silence.
                Ok(_) | Err(TransportError::Timeout) => std::future::pending().await,
                Err(e) => Err(e),
            }
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(TransportError::Timeout))
    }
}

struct Running {
    handle: RaftHandle,
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

/// Nodes by number of their peer, which is their node id too if they join in order.
pub(crate) struct Cluster {
    pub(crate) links: Links,
    pub(crate) timing: Timing,
    pub(crate) seed: u64,
    dir: Arc<TempDir>,
    running: BTreeMap<u64, Running>,
    ids: BTreeMap<u64, NodeId>,
    introduced: BTreeMap<u64, Voters>,
    boots: u64,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}", self.seed);
        }
    }
}

pub(crate) fn peer(n: u64) -> String {
    format!("peer-{n}")
}

/// Quick elections and changes of voters, for tests that are not about time.
pub(crate) fn quick() -> Timing {
    Timing {
        voters_tick: Duration::from_millis(100),
        stable: Duration::from_millis(300),
        dead: Duration::from_secs(2),
        ..Timing::default()
    }
}

impl Cluster {
    /// Founds a cluster and lets the others join through random members.
    pub(crate) async fn new(size: u64, timing: Timing, seed: u64) -> Self {
        let links = Links::new(seed);
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let mut cluster = Self {
            links,
            timing,
            seed,
            dir,
            running: BTreeMap::new(),
            ids: BTreeMap::new(),
            introduced: BTreeMap::new(),
            boots: 0,
        };
        cluster.ids.insert(1, NodeId(1));
        cluster.start(1).await;
        let info = cluster.info(1);
        assert_eq!(cluster.node(1).initialize(info, 1).await.unwrap(), NodeId(1));
        for n in 2..=size {
            cluster.join(n, &[n - 1]).await;
        }
        if size >= 3 {
            cluster.until("three voters", |c| c.settled_voters().len() == 3).await;
        }
        cluster
    }

    pub(crate) fn path(&self, n: u64, file: &str) -> PathBuf {
        self.dir.path().join(format!("{n}-{file}"))
    }

    pub(crate) fn info(&mut self, n: u64) -> NodeInfo {
        self.boots += 1;
        NodeInfo {
            peer_id: peer(n),
            name: format!("host-{n}"),
            addrs: vec![format!("/memory/{n}")],
            http: String::new(),
            version: "1".into(),
            boot: self.boots,
        }
    }

    /// Asks `through` to let peer `n` in, then starts it.
    pub(crate) async fn join(&mut self, n: u64, through: &[u64]) {
        let peers: Vec<String> = through.iter().map(|n| peer(*n)).collect();
        let info = self.info(n);
        let (id, introduced) =
            RaftHandle::join(&self.links.of(&peer(n)), &peers, &info, &Admission::Known, PATIENCE)
                .await
                .unwrap();
        self.let_in(n, (id, introduced));
        self.start(n).await;
    }

    /// Remembers what peer `n` got when it was let in.
    pub(crate) fn let_in(&mut self, n: u64, (id, introduced): (NodeId, Voters)) {
        self.ids.insert(n, id);
        self.introduced.insert(n, introduced);
    }

    /// A process that starts again knows only its files.
    pub(crate) fn forget_introduction(&mut self, n: u64) {
        self.introduced.remove(&n);
    }

    pub(crate) fn config(&self, n: u64) -> RaftConfig {
        RaftConfig {
            node_id: self.ids[&n],
            peer_id: peer(n),
            log_path: self.path(n, "raft.db"),
            state_path: self.path(n, "node.db"),
            introduced: self.introduced.get(&n).cloned().unwrap_or_default(),
            timing: self.timing.clone(),
        }
    }

    /// Starts or restarts peer `n` from its files.
    pub(crate) async fn start(&mut self, n: u64) {
        let mut tasks = JoinSet::new();
        let shutdown = CancellationToken::new();
        let link = self.links.of(&peer(n));
        let handle =
            RaftHandle::start(self.config(n), link, AnybodyMay, &mut tasks, shutdown.clone()).await.unwrap();
        self.links.net().nodes.insert(peer(n), handle.clone());
        self.running.insert(n, Running { handle, tasks, shutdown });
    }

    /// Cuts a peer off at once, as `kill -9` does, then ends its tasks so that its files can be opened again.
    pub(crate) async fn kill(&mut self, n: u64) {
        self.links.net().nodes.remove(&peer(n));
        let Running { handle, mut tasks, shutdown } = self.running.remove(&n).unwrap();
        shutdown.cancel();
        let ends = async { while tasks.join_next().await.transpose().unwrap().is_some() {} };
        let ended = tokio::time::timeout(PATIENCE, ends).await;
        assert!(ended.is_ok(), "the tasks of peer {n} do not end");
        assert_eq!(handle.metrics().borrow().role, raft::Role::Stopped);
    }

    /// Ends every node; the files stay until the folder that is returned goes.
    pub(crate) async fn end(mut self) -> Arc<TempDir> {
        for n in self.up() {
            self.kill(n).await;
        }
        Arc::clone(&self.dir)
    }

    pub(crate) fn node(&self, n: u64) -> &RaftHandle {
        &self.running[&n].handle
    }

    pub(crate) fn up(&self) -> Vec<u64> {
        self.running.keys().copied().collect()
    }

    pub(crate) fn leaders(&self) -> Vec<u64> {
        self.running.iter().filter(|(_, r)| r.handle.is_leader()).map(|(n, _)| *n).collect()
    }

    /// The leader of the highest term, as far as any node knows.
    pub(crate) fn leader(&self) -> Option<u64> {
        self.leaders().into_iter().max_by_key(|n| self.node(*n).metrics().borrow().term)
    }

    pub(crate) fn voters(&self) -> BTreeSet<NodeId> {
        self.leader().map_or_else(BTreeSet::new, |n| self.node(n).metrics().borrow().voters.clone())
    }

    /// The voters, unless they are just being changed: before that is over, the cluster cannot do without
    /// those of before.
    pub(crate) fn settled_voters(&self) -> BTreeSet<NodeId> {
        let metrics = self.leader().map(|n| self.node(n).metrics().borrow().clone());
        metrics.filter(|metrics| !metrics.is_changing).map(|metrics| metrics.voters).unwrap_or_default()
    }

    /// Awaits a condition.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) -> Duration {
        let begun = Instant::now();
        while !condition(self) {
            assert!(
                begun.elapsed() < PATIENCE,
                "seed {}: not in time: {what}\n{}",
                self.seed,
                self.describe()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        begun.elapsed()
    }

    pub(crate) fn describe(&self) -> String {
        self.running
            .values()
            .map(|r| {
                let m = r.handle.metrics().borrow().clone();
                format!(
                    "{} {:?} term {} leader {:?} voters {:?} learners {:?} last {:?} committed {:?} applied {:?} {:?}\n",
                    m.id, m.role, m.term, m.leader, m.voters, m.learners, m.last_log, m.committed, m.applied, m.failed
                )
            })
            .collect()
    }

    pub(crate) async fn propose(&self, through: u64, command: Command) -> Response {
        let result = self.node(through).propose_within(command, PATIENCE).await;
        result.unwrap_or_else(|e| panic!("seed {}: {e}\n{}", self.seed, self.describe()))
    }

    /// Every running node has applied the same.
    pub(crate) async fn agree(&self) {
        self.until("agreement", |c| {
            let states: Vec<_> = c.running.values().map(|r| r.handle.local()).collect();
            states.windows(2).all(|pair| pair[0] == pair[1])
        })
        .await;
    }
}

/// A command that leaves a trace: the term of the leader that announced itself last, and one more election.
pub(crate) fn mark(n: u64) -> Command {
    Command::SetLeader(SetLeader { node: NodeId(1), term: n, at_ms: n })
}
