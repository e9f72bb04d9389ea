//! A node starts again that was away while a voter of its log was removed.

use super::*;
use crate::types::{Entry, LogId, TypeConfig};
use openraft::{EntryPayload, raft::AppendEntriesRequest};

/// Peers that answer who votes, and nothing else.
#[derive(Clone, Default)]
struct Say(Arc<Mutex<BTreeMap<String, Voters>>>);

impl Transport for Say {
    async fn call(&self, peer: &str, request: Vec<u8>, _: Duration) -> Result<Vec<u8>, TransportError> {
        match (rpc::decode_request(&request), self.0.lock().get(peer)) {
            (Ok(Request::Voters), Some(voters)) => Ok(rpc::encode_reply(&Reply::Voters(voters.clone()))),
            (_, _) => Err(TransportError::Unreachable(peer.into())),
        }
    }
}

fn voters(ids: &[u64]) -> Voters {
    ids.iter().map(|id| (NodeId(*id), format!("peer-{id}"))).collect()
}

fn id(term: u64, node: u64, index: u64) -> LogId {
    openraft::testing::log_id::<TypeConfig>(term, NodeId(node), index)
}

/// Entries as `sender` sends them that leads in `term`.
fn entries(sender: u64, term: u64, prev: Option<LogId>, entries: Vec<Entry>) -> Request {
    let leader_commit = entries.last().map(|entry| entry.log_id);
    let vote = Vote::new_committed(term, NodeId(sender));
    let rpc = AppendEntriesRequest { vote, prev_log_id: prev, entries, leader_commit };
    Request::Append { to: NodeId(1), rpc }
}

async fn start(dir: &tempfile::TempDir, introduced: Voters, say: Say) -> (RaftHandle, impl AsyncFnOnce()) {
    let config = RaftConfig {
        node_id: NodeId(1),
        peer_id: "peer-1".into(),
        log_path: dir.path().join("raft.db"),
        state_path: dir.path().join("node.db"),
        introduced,
        timing: Timing::default(),
    };
    let (mut tasks, shutdown) = (JoinSet::new(), CancellationToken::new());
    let handle = RaftHandle::start(config, say, NoHook, &mut tasks, shutdown.clone()).await.unwrap();
    let end = async move || {
        shutdown.cancel();
        while tasks.join_next().await.is_some() {}
    };
    (handle, end)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_voter_leads_nobody_under_any_term() {
    let dir = tempfile::tempdir().unwrap();
    // Node 1 learns that 1, 2 and 3 vote, and ends.
    let (handle, end) = start(&dir, voters(&[2]), Say::default()).await;
    let nodes = voters(&[1, 2, 3]).into_iter().map(|(id, peer_id)| (id, Member { peer_id })).collect();
    let members: BTreeMap<NodeId, Member> = nodes;
    let membership = openraft::Membership::new(vec![members.keys().copied().collect()], members).unwrap();
    let first = Entry { log_id: id(9, 2, 0), payload: EntryPayload::Membership(membership) };
    let reply = ask(&handle, "peer-2", &entries(2, 9, None, vec![first])).await;
    assert!(matches!(reply, Reply::Append(AppendEntriesResponse::Success)), "{reply:?}");
    drop(handle);
    end().await;
    // Node 2 says that 3 votes no longer.
    let say = Say(Arc::new(Mutex::new([("peer-2".to_owned(), voters(&[1, 2]))].into())));
    let (handle, end) = start(&dir, Voters::new(), say.clone()).await;
    let of = |term| {
        let entry = Entry { log_id: id(term, 3, 1), payload: EntryPayload::Blank };
        entries(3, term, Some(id(9, 2, 0)), vec![entry])
    };
    let begun = Instant::now();
    let grace = Pace::of(&Timing::default()).grace;
    while begun.elapsed() < grace + Duration::from_secs(1) {
        for term in [9, 10, 1 << 20] {
            let reply = ask(&handle, "peer-3", &of(term)).await;
            assert!(matches!(reply, Reply::Refused(_)), "{term} {reply:?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // It does not even get a vote.
    let rpc = openraft::raft::VoteRequest::new(Vote::new(1 << 20, NodeId(3)), Some(id(9, 2, 0)));
    let reply = ask(&handle, "peer-3", &Request::Vote { to: NodeId(1), rpc }).await;
    assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
    assert_eq!(handle.metrics().borrow().last_log, Some(0));
    assert!(!handle.standing().borrow().is_current);
    // A voter that others name is followed, and then this node knows what is committed.
    say.0.lock().insert("peer-2".to_owned(), voters(&[1, 2, 3]));
    let begun = Instant::now();
    loop {
        let reply = ask(&handle, "peer-3", &of(10)).await;
        if matches!(reply, Reply::Append(AppendEntriesResponse::Success))
            && handle.standing().borrow().is_current
        {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{reply:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(handle.metrics().borrow().last_log, Some(1));
    end().await;
}
