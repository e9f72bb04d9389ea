use super::*;
use crate::{
    error::ReadError,
    hook::NoHook,
    samples::{self, append, log_id, piece},
    transport::TransportError,
    types::{Vote, kind},
};
use cluster_state::{
    Refusal,
    command::{SetLeader, SetOnline},
    samples::{body, commands, frame},
};
use rand::{RngExt, SeedableRng};

/// A transport without any peer.
#[derive(Clone)]
struct Nobody;

impl Transport for Nobody {
    async fn call(&self, peer: &str, _: Vec<u8>, _: Duration) -> Result<Vec<u8>, TransportError> {
        Err(TransportError::Unreachable(peer.into()))
    }
}

/// One node, which leads, and the values that keep it alive.
async fn founder() -> (RaftHandle, JoinSet<()>, CancellationToken, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let config = RaftConfig {
        node_id: NodeId(1),
        peer_id: "peer-1".into(),
        log_path: dir.path().join("raft.db"),
        state_path: dir.path().join("node.db"),
        timing: Timing::default(),
    };
    let (mut tasks, shutdown) = (JoinSet::new(), CancellationToken::new());
    let handle = RaftHandle::start(config, Nobody, NoHook, &mut tasks, shutdown.clone()).await.unwrap();
    let info = NodeInfo {
        peer_id: "peer-1".into(),
        name: String::new(),
        addrs: Vec::new(),
        http: String::new(),
        version: String::new(),
        boot: 1,
    };
    assert_eq!(handle.initialize(info, 1).await.unwrap(), NodeId(1));
    (handle, tasks, shutdown, dir)
}

async fn ask(handle: &RaftHandle, from: &str, request: &Request) -> Reply {
    rpc::decode_reply(&handle.serve(from, &rpc::encode_request(request).unwrap()).await).unwrap()
}

async fn still_works(handle: &RaftHandle) {
    let term = handle.local().leader.as_ref().map_or(1, |leader| leader.term + 1);
    let command = Command::SetLeader(SetLeader { node: NodeId(1), term, at_ms: 1 });
    assert_eq!(handle.propose(command).await, Ok(Response::Done));
    assert_eq!(handle.metrics().borrow().failed, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_are_refused_and_harm_nothing() {
    let (handle, mut tasks, shutdown, _dir) = founder().await;
    let refused = async |from: &str, request: Request| {
        let reply = ask(&handle, from, &request).await;
        assert!(matches!(reply, Reply::Refused(_)), "{request:?}: {reply:?}");
    };
    let far = log_id(1, u64::MAX);
    let old = log_id(u64::MAX, 3);
    refused(
        "peer-2",
        Request::Vote { to: NodeId(2), rpc: openraft::raft::VoteRequest::new(Vote::new(9, NodeId(2)), None) },
    )
    .await;
    for vote in [Vote::new(u64::MAX, NodeId(2)), Vote::new_committed(9, NodeId(2)), Vote::new(9, NodeId(1))] {
        let rpc = openraft::raft::VoteRequest::new(vote, None);
        refused("peer-2", Request::Vote { to: NodeId(1), rpc: rpc.clone() }).await;
        refused("peer-2", Request::PreVote { to: NodeId(1), rpc }).await;
    }
    let rpc = openraft::raft::VoteRequest::new(Vote::new(9, NodeId(2)), Some(far));
    refused("peer-2", Request::Vote { to: NodeId(1), rpc }).await;
    let vote = Vote::new_committed(9, NodeId(2));
    let mut cases = vec![append(); 8];
    for case in &mut cases {
        case.vote = vote;
    }
    cases[0].vote = Vote::new(9, NodeId(2));
    cases[1].vote = Vote::new_committed(u64::MAX, NodeId(2));
    cases[2].prev_log_id = Some(far);
    cases[3].leader_commit = Some(old);
    cases[4].entries.swap(0, 1);
    cases[5].prev_log_id = None;
    cases[6].entries[2].log_id = log_id(10, 5);
    let huge = Command::SetOnline(SetOnline {
        node: NodeId(1),
        online: true,
        reason: "x".repeat(700_000),
        observed_boot: 1,
        at_ms: 1,
    });
    cases[7].entries[1].payload = openraft::EntryPayload::Normal(huge.clone());
    for rpc in cases {
        refused("peer-2", Request::Append { to: NodeId(1), rpc }).await;
    }
    let mut pieces = vec![piece(); 5];
    for piece in &mut pieces {
        piece.vote = vote;
    }
    pieces[0].vote = Vote::new(9, NodeId(2));
    pieces[1].last_log_id = None;
    pieces[2].last_log_id = Some(log_id(10, 2));
    pieces[3].offset = 1;
    pieces[4].total = u64::MAX;
    for piece in pieces {
        refused("peer-2", Request::Snapshot { to: NodeId(1), piece }).await;
    }
    // The bytes are complete, but they are no snapshot.
    refused(
        "peer-2",
        Request::Snapshot { to: NodeId(1), piece: crate::rpc::SnapshotPiece { vote, ..piece() } },
    )
    .await;
    // The request claims to come from this node itself.
    refused("peer-2", Request::Append { to: NodeId(1), rpc: append() }).await;
    // An entry that the log could not hold would end consensus.
    let reply = ask(&handle, "peer-2", &Request::Propose { command: huge, wait_ms: 1000 }).await;
    assert!(matches!(&reply, Reply::Proposed(Response::Refused(Refusal::Invalid(_)))), "{reply:?}");
    still_works(&handle).await;
    shutdown.cancel();
    while tasks.join_next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutated_requests_are_answered() {
    let seed = 7;
    let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(seed);
    let (handle, mut tasks, shutdown, _dir) = founder().await;
    // The join request is left out, because a stranger that joins changes the set of nodes that must agree.
    let bodies: Vec<Vec<u8>> = samples::requests()
        .iter()
        .filter(|request| !matches!(request, Request::Join { .. }))
        .map(|request| body(&rpc::encode_request(request).unwrap()).to_vec())
        .collect();
    for round in 0..3000 {
        let mut body = bodies[rng.random_range(0..bodies.len())].clone();
        for _ in 0..rng.random_range(1..4) {
            let i = rng.random_range(0..body.len());
            body[i] = if rng.random_bool(0.5) { rng.random() } else { 0xff };
        }
        let request = frame(kind::REQUEST, &body);
        // A proposal may be valid and may wait long: the test checks only that every request is answered.
        let answer = tokio::time::timeout(Duration::from_secs(12), handle.serve("peer-2", &request)).await;
        let answer = answer.unwrap_or_else(|_| panic!("seed {seed} round {round}: no answer"));
        assert!(rpc::decode_reply(&answer).is_ok(), "seed {seed} round {round}");
        let failed = handle.metrics().borrow().failed.clone();
        assert_eq!(failed, None, "seed {seed} round {round}: {:?}", rpc::decode_request(&request));
    }
    shutdown.cancel();
    while tasks.join_next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_ends_everything_and_answers_say_so() {
    let (handle, mut tasks, shutdown, dir) = founder().await;
    still_works(&handle).await;
    shutdown.cancel();
    let all = async { while tasks.join_next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(10), all).await.expect("a task goes on");
    let error = handle.propose(commands().swap_remove(2)).await;
    assert!(matches!(error, Err(ProposeError::Stopped(_))), "{error:?}");
    assert_eq!(handle.linearizable().await.map(|_| ()), Err(ReadError::Stopped));
    let reply = ask(&handle, "peer-2", &Request::ReadIndex { wait_ms: 10 }).await;
    assert!(matches!(reply, Reply::ReadFailed(ReadError::Stopped)), "{reply:?}");
    drop(handle);
    // Everything that was committed can be read from the files, which no process holds open any more.
    assert_eq!(crate::stored_node(&dir.path().join("raft.db")).unwrap(), Some((NodeId(1), "peer-1".into())));
    assert!(!dir.path().join("raft.db-wal").exists(), "the log is still open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_do_not_fit_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = |timing: Timing, node_id| RaftConfig {
        node_id,
        peer_id: "peer-1".into(),
        log_path: dir.path().join(format!("raft-{node_id}.db")),
        state_path: dir.path().join("node.db"),
        timing,
    };
    let start = async |config| {
        let mut tasks = JoinSet::new();
        let started = RaftHandle::start(config, Nobody, NoHook, &mut tasks, CancellationToken::new()).await;
        assert!(started.is_ok() || tasks.is_empty(), "something was left running");
        started.map(|handle| (handle, tasks))
    };
    let senseless = Timing { election_min: Duration::from_millis(10), ..Timing::default() };
    assert!(matches!(start(config(senseless, NodeId(1))).await.err(), Some(StartError::Timing(_))));
    let (handle, mut tasks) = start(config(Timing::default(), NodeId(1))).await.unwrap();
    handle.shutdown().await;
    tasks.abort_all();
    while tasks.join_next().await.is_some() {}
    // The state belongs to another node.
    let error = start(config(Timing::default(), NodeId(2))).await.err();
    assert!(
        matches!(error, Some(StartError::Store(StoreError::OtherNode { node: NodeId(1), .. }))),
        "{error:?}"
    );
}
