use super::*;
use crate::{
    error::ReadError,
    hook::NoHook,
    rpc::{self, Reply, Request},
    samples::{self, append, log_id, piece},
    transport::TransportError,
    types::{Vote, kind},
};
use cluster_state::{
    DrainCause, Refusal,
    command::{SetDraining, SetOnline},
    samples::{body, commands, frame},
};
use openraft::raft::AppendEntriesResponse;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

mod away;

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
        introduced: Voters::new(),
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

/// Node 1 has just joined, and listens to voter 2; with the values that keep it alive.
async fn newcomer() -> (RaftHandle, JoinSet<()>, CancellationToken, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let config = RaftConfig {
        node_id: NodeId(1),
        peer_id: "peer-1".into(),
        log_path: dir.path().join("raft.db"),
        state_path: dir.path().join("node.db"),
        introduced: Voters::from([(NodeId(2), "peer-2".into())]),
        timing: Timing::default(),
    };
    let (mut tasks, shutdown) = (JoinSet::new(), CancellationToken::new());
    let handle = RaftHandle::start(config, Nobody, NoHook, &mut tasks, shutdown.clone()).await.unwrap();
    (handle, tasks, shutdown, dir)
}

async fn ask(handle: &RaftHandle, from: &str, request: &Request) -> Reply {
    rpc::decode_reply(&handle.serve(from, &rpc::encode_request(request).unwrap()).await).unwrap()
}

async fn still_works(handle: &RaftHandle) {
    let draining = handle.local().nodes[&NodeId(1)].draining.is_none();
    let (cause, reason) = (DrainCause::Idle, "a test".to_owned());
    let command = Command::SetDraining(SetDraining { node: NodeId(1), draining, cause, reason, at_ms: 1 });
    assert_eq!(handle.propose(command).await, Ok(Response::Done));
    assert_eq!(handle.metrics().borrow().failed, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_of_a_voter_are_refused_and_harm_nothing() {
    let (handle, mut tasks, shutdown, _dir) = newcomer().await;
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
    cases[7].entries[1].payload = openraft::EntryPayload::Normal(samples::proposal(huge.clone()));
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
    let metrics = handle.metrics().borrow().clone();
    assert_eq!((metrics.failed, metrics.term, metrics.last_log), (None, 0, None));
    // The same voter is followed when it keeps to the protocol.
    let mut rpc = append();
    (rpc.vote, rpc.prev_log_id, rpc.leader_commit) = (vote, None, None);
    rpc.entries.truncate(1);
    rpc.entries[0].log_id = openraft::testing::log_id::<crate::types::TypeConfig>(9, NodeId(2), 0);
    let reply = ask(&handle, "peer-2", &Request::Append { to: NodeId(1), rpc }).await;
    assert!(matches!(reply, Reply::Append(AppendEntriesResponse::Success)), "{reply:?}");
    shutdown.cancel();
    while tasks.join_next().await.is_some() {}
    let (handle, mut tasks, shutdown, _dir) = founder().await;
    // An entry that the log could not hold would end consensus.
    let reply =
        ask(&handle, "peer-1", &Request::Propose { command: huge, operator: false, wait_ms: 1000 }).await;
    assert!(matches!(&reply, Reply::Proposed(Response::Refused(Refusal::Invalid(_)))), "{reply:?}");
    still_works(&handle).await;
    shutdown.cancel();
    while tasks.join_next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutated_requests_are_answered() {
    let seed = 7;
    let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(seed);
    // The sender is a voter to the newcomer, and a member to the founder.
    let (newcomer, mut tasks, shutdown, _dir) = newcomer().await;
    let (founder, mut others, end, _folder) = founder().await;
    // The join request is left out, because a stranger that joins changes the set of nodes that must agree.
    let bodies: Vec<Vec<u8>> = (samples::requests().into_iter())
        .filter(|request| !matches!(request, Request::Join { .. }))
        .flat_map(|request| [samples::of_voter_2(request.clone()), request])
        .map(|request| body(&rpc::encode_request(&request).unwrap()).to_vec())
        .collect();
    for round in 0..3000 {
        let mut body = bodies[rng.random_range(0..bodies.len())].clone();
        for _ in 0..rng.random_range(1..4) {
            let i = rng.random_range(0..body.len());
            body[i] = if rng.random_bool(0.5) { rng.random() } else { 0xff };
        }
        let request = frame(kind::REQUEST, &body);
        for (handle, from) in [(&newcomer, "peer-2"), (&founder, "peer-1")] {
            // A proposal may be valid and may wait long: the test checks only that every request is answered.
            let answer = tokio::time::timeout(Duration::from_secs(12), handle.serve(from, &request)).await;
            let answer = answer.unwrap_or_else(|_| panic!("seed {seed} round {round}: no answer"));
            assert!(rpc::decode_reply(&answer).is_ok(), "seed {seed} round {round}");
            let failed = handle.metrics().borrow().failed.clone();
            assert_eq!(failed, None, "seed {seed} round {round}: {:?}", rpc::decode_request(&request));
        }
    }
    shutdown.cancel();
    end.cancel();
    while tasks.join_next().await.is_some() {}
    while others.join_next().await.is_some() {}
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
    let reply = ask(&handle, "peer-1", &Request::ReadIndex { wait_ms: 10 }).await;
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
        introduced: Voters::new(),
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

/// A made-up leader, a term out of reach and a stranger's commands took the cluster, ended its elections and
/// stopped the process before senders were checked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_and_members_without_a_vote_get_refusals() {
    let (handle, mut tasks, shutdown, _dir) = founder().await;
    let before = (handle.local(), handle.metrics().borrow().term);
    let ghost = NodeId(99);
    for term in [2, 1 << 20, 1 << 62, u64::MAX] {
        let elected = Vote::new_committed(term, ghost);
        let empty = openraft::raft::AppendEntriesRequest {
            vote: elected,
            prev_log_id: None,
            entries: Vec::new(),
            leader_commit: None,
        };
        let snapshot = crate::rpc::SnapshotPiece { vote: elected, ..piece() };
        for request in [
            Request::Append { to: NodeId(1), rpc: empty },
            Request::Snapshot { to: NodeId(1), piece: snapshot },
            Request::Vote {
                to: NodeId(1),
                rpc: openraft::raft::VoteRequest::new(Vote::new(term, ghost), None),
            },
        ] {
            let reply = ask(&handle, "stranger", &request).await;
            assert!(matches!(reply, Reply::Refused(_)), "{request:?}: {reply:?}");
        }
    }
    for command in commands() {
        for operator in [false, true] {
            let request = Request::Propose { command: command.clone(), operator, wait_ms: 1000 };
            let reply = ask(&handle, "stranger", &request).await;
            assert!(matches!(reply, Reply::Refused(_)), "{request:?}: {reply:?}");
        }
    }
    assert_eq!((handle.local(), handle.metrics().borrow().term), before);
    still_works(&handle).await;
    shutdown.cancel();
    while tasks.join_next().await.is_some() {}
}

/// Each proposal that was refused used to be an entry that every node wrote and applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_member_may_not_propose_costs_no_entry() {
    let (handle, mut tasks, shutdown, _dir) = founder().await;
    let last_log = || handle.shared.raft.metrics().borrow_watched().last_log_index;
    let mut refused = 0;
    for command in commands() {
        let before = last_log();
        let request = Request::Propose { command, operator: false, wait_ms: 1000 };
        if let Reply::Proposed(Response::Refused(Refusal::NotAllowed(_))) =
            ask(&handle, "peer-1", &request).await
        {
            assert_eq!(last_log(), before, "{request:?}");
            refused += 1;
        }
    }
    assert!(refused >= 10, "{refused}");
    // Who proposes without end is told to come back later, and the leader goes on.
    let later = Instant::now() + Duration::from_secs(3600);
    while handle.shared.rates.lock().allow("peer-1", later) {}
    let command = commands().remove(0);
    let reply = ask(&handle, "peer-1", &Request::Propose { command, operator: false, wait_ms: 1000 }).await;
    assert!(matches!(&reply, Reply::Refused(reason) if reason.contains("come back later")), "{reply:?}");
    still_works(&handle).await;
    shutdown.cancel();
    while tasks.join_next().await.is_some() {}
}

/// Each of these is an assertion of openraft that a leader's message reaches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_contradicts_the_committed_entries_never_reaches_openraft() {
    let (handle, mut tasks, shutdown, _dir) = newcomer().await;
    let id = |term, index| openraft::testing::log_id::<crate::types::TypeConfig>(term, NodeId(2), index);
    let blank =
        |term, index| crate::types::Entry { log_id: id(term, index), payload: openraft::EntryPayload::Blank };
    let append = |prev_log_id, entries: Vec<_>, commit| Request::Append {
        to: NodeId(1),
        rpc: openraft::raft::AppendEntriesRequest {
            vote: Vote::new_committed(9, NodeId(2)),
            prev_log_id,
            entries,
            leader_commit: commit,
        },
    };
    let first = append(None, vec![blank(3, 0), blank(3, 1), blank(3, 2)], Some(id(3, 2)));
    let reply = ask(&handle, "peer-2", &first).await;
    assert!(matches!(reply, Reply::Append(AppendEntriesResponse::Success)), "{reply:?}");
    let mut metrics = handle.metrics();
    let applied = metrics.wait_for(|metrics| metrics.applied == Some(2));
    tokio::time::timeout(Duration::from_secs(10), applied).await.unwrap().unwrap();
    let snapshot = |last, membership| Request::Snapshot {
        to: NodeId(1),
        piece: crate::rpc::SnapshotPiece {
            vote: Vote::new_committed(9, NodeId(2)),
            last_log_id: Some(last),
            membership,
            ..piece()
        },
    };
    let none: crate::types::Membership = wire::decode::<_, 64>(
        kind::LOG_ID,
        &wire::encode(kind::LOG_ID, &(None::<u8>, 0u64, 0u64), 64).unwrap(),
    )
    .unwrap();
    let newer = |index| {
        let members = samples::membership().membership().clone();
        crate::types::Membership::new(Some(id(8, index)), members)
    };
    for request in [
        append(Some(id(4, 1)), vec![blank(4, 2)], None),
        append(Some(id(3, 0)), vec![blank(5, 1)], None),
        append(None, vec![blank(9, 0)], None),
        append(Some(id(3, 2)), vec![blank(10, 3)], None),
        append(
            Some(id(3, 2)),
            vec![crate::types::Entry {
                log_id: id(9, 3),
                payload: openraft::EntryPayload::Membership(none.membership().clone()),
            }],
            None,
        ),
        snapshot(id(8, 1), samples::membership()),
        snapshot(id(8, 2), samples::membership()),
        snapshot(id(8, 7), none),
        snapshot(id(8, 7), newer(8)),
    ] {
        let reply = ask(&handle, "peer-2", &request).await;
        assert!(matches!(reply, Reply::Refused(_)), "{request:?}: {reply:?}");
    }
    let metrics = handle.metrics().borrow().clone();
    assert_eq!((metrics.failed, metrics.last_log, metrics.applied), (None, Some(2), Some(2)));
    shutdown.cancel();
    while tasks.join_next().await.is_some() {}
}
