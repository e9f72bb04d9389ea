use super::*;
use crate::{hook::NoHook, machine::Machine, samples::proposal};
use cluster_state::{
    Command,
    command::{SetLeader, SetOnline},
};
use openraft::{
    EntryPayload, RaftTypeConfig, StorageError,
    testing::log::{StoreBuilder, Suite},
    type_config::TypeConfigExt,
};
use std::{fs, process, time::Duration};
use tempfile::TempDir;

fn log_id(term: u64, index: u64) -> LogId {
    openraft::testing::log_id::<TypeConfig>(term, NodeId(1), index)
}

fn entry(term: u64, index: u64) -> Entry {
    let command = Command::SetLeader(SetLeader { node: NodeId(1), term, at_ms: index });
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(proposal(command)) }
}

async fn append(log: &mut LogStore, entries: impl IntoIterator<Item = Entry>) {
    let (tx, rx) = TypeConfig::oneshot();
    let entries: Vec<Entry> = entries.into_iter().collect();
    log.append(entries, IOFlushed::signal(tx)).await.unwrap();
    rx.await.unwrap().unwrap();
}

async fn indexes(log: &mut LogStore, range: impl RangeBounds<u64> + Clone + Debug + Send) -> Vec<u64> {
    let entries = log.try_get_log_entries(range).await.unwrap();
    entries.iter().map(|entry| entry.log_id.index).collect()
}

/// Opens the log, runs `work`, and closes the log.
async fn with<T>(path: &Path, work: impl AsyncFnOnce(&mut LogStore) -> T) -> T {
    let (mut log, closed, _) = LogStore::open(path, NodeId(1), "peer", Voters::new()).unwrap();
    let result = work(&mut log).await;
    drop(log);
    closed.await.unwrap();
    result
}

struct Stores;

impl StoreBuilder<TypeConfig, LogStore, Machine, TempDir> for Stores {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let (log, ..) =
            LogStore::open(&dir.path().join("raft.db"), NodeId(0), "peer", Voters::new()).unwrap();
        let machine =
            Machine::open(&dir.path().join("node.db"), NodeId(0), "peer", Box::new(NoHook)).unwrap();
        Ok((dir, log, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_openrafts_own_suite() {
    let data = std::any::type_name::<<TypeConfig as RaftTypeConfig>::D>();
    assert_eq!(data, "alloc::sync::Arc<cluster_state::door::Proposal>");
    Suite::test_all(Stores).await.unwrap();
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.db");
    let vote = Vote::new_committed(3, NodeId(2));
    with(&path, async |log| {
        append(log, (0..2000).map(|i| entry(1, i))).await;
        log.save_vote(&vote).await.unwrap();
        log.truncate_after(Some(log_id(1, 1499))).await.unwrap();
        append(log, [entry(2, 1500)]).await;
        log.purge(log_id(1, 99)).await.unwrap();
        // One part comes from memory, the other from the file.
        assert_eq!(indexes(log, 0..1600).await, (100..1501).collect::<Vec<_>>());
        assert_eq!(indexes(log, 600..=601).await, [600, 601]);
        assert_eq!(indexes(log, 1499..).await, [1499, 1500]);
        assert_eq!(indexes(log, 5..5).await, [0; 0]);
    })
    .await;
    assert_eq!(stored_node(&path).unwrap(), Some((NodeId(1), "peer".into())));
    with(&path, async |log| {
        let state = log.get_log_state().await.unwrap();
        assert_eq!(
            (state.last_purged_log_id, state.last_log_id),
            (Some(log_id(1, 99)), Some(log_id(2, 1500)))
        );
        assert_eq!(log.read_vote().await.unwrap(), Some(vote));
        assert_eq!(indexes(log, ..).await, (100..1501).collect::<Vec<_>>());
        let kept = log.shared().tail.len();
        assert_eq!(kept, TAIL, "memory is bounded");
        // The whole log may be purged, and it continues behind a snapshot.
        log.purge(log_id(4, 9000)).await.unwrap();
        append(log, [entry(5, 9001)]).await;
    })
    .await;
    with(&path, async |log| assert_eq!(indexes(log, ..).await, [9001])).await;
}

#[tokio::test]
async fn a_hole_is_refused_and_reads_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    with(&dir.path().join("raft.db"), async |log| {
        append(log, (0..3).map(|i| entry(1, i))).await;
        let hole = log.append([entry(1, 4)], IOFlushed::noop()).await;
        assert!(hole.unwrap_err().to_string().contains("hole"));
        let reason = "x".repeat(250);
        let big = |i| Entry {
            log_id: log_id(1, i),
            payload: EntryPayload::Normal(proposal(Command::SetOnline(SetOnline {
                node: NodeId(1),
                online: true,
                reason: reason.clone(),
                observed_boot: 1,
                at_ms: i,
            }))),
        };
        append(log, (3..6000).map(big)).await;
        let mut next = 0;
        let mut reads = 0;
        while next < 6000 {
            let entries = log.limited_get_log_entries(next, 6000).await.unwrap();
            let bytes: usize = entries.iter().map(|e| encode(kind::ENTRY, e).unwrap().len()).sum();
            assert!(bytes <= APPEND_BYTES_MAX, "{bytes}");
            assert_eq!(entries.first().map(|e| e.log_id.index), Some(next));
            next += entries.len() as u64;
            reads += 1;
        }
        assert!((2..20).contains(&reads), "{reads}");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_trusted_is_a_typed_error() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good.db");
    with(&good, async |log| append(log, (0..3000).map(|i| entry(1, i))).await).await;
    let case = |name: &str, change: &dyn Fn(&Path)| {
        let path = dir.path().join(name);
        fs::copy(&good, &path).unwrap();
        change(&path);
        let bytes = fs::read(&path).unwrap();
        let error = LogStore::open(&path, NodeId(1), "peer", Voters::new()).map(|_| ()).unwrap_err();
        (error, path, bytes)
    };
    let sql = |text: &'static str| {
        move |path: &Path| {
            let db = Connection::open(path).unwrap();
            db.execute_batch(text).unwrap();
        }
    };
    let corrupt = |name: &str, change: &dyn Fn(&Path)| {
        let (error, ..) = case(name, change);
        assert!(matches!(error, StoreError::Corrupt { .. }), "{name}: {error:?}");
    };
    corrupt("page", &|path| {
        let mut bytes = fs::read(path).unwrap();
        assert!(bytes.len() > 100_000);
        bytes[50_000..50_100].fill(0xff);
        fs::write(path, bytes).unwrap();
    });
    corrupt("truncated", &|path| {
        let length = fs::metadata(path).unwrap().len();
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length / 2).unwrap();
    });
    corrupt("header", &|path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[..16].fill(b'x');
        fs::write(path, bytes).unwrap();
    });
    corrupt("bit", &|path| {
        let mut bytes = fs::read(path).unwrap();
        let text = bytes.windows(4).rposition(|w| w == b"RR\x01\x20").unwrap();
        bytes[text + 20] ^= 1;
        fs::write(path, bytes).unwrap();
    });
    corrupt("hole", &sql("DELETE FROM log WHERE idx = 1500"));
    corrupt("moved", &sql("UPDATE log SET entry = (SELECT entry FROM log WHERE idx = 7) WHERE idx = 8"));
    corrupt("head", &sql("DELETE FROM log WHERE idx = 0"));
    corrupt("garbled vote", &sql("INSERT INTO meta (name, value) VALUES ('vote', x'00')"));
    corrupt("negative", &sql("INSERT INTO log (idx, entry) VALUES (-1, x'00')"));
    corrupt("tables", &sql("DROP TABLE log"));

    let (error, path, before) = case("newer", &sql("PRAGMA user_version = 6"));
    assert!(matches!(error, StoreError::Newer { found: 6, supported: 5, .. }), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), before, "left as it was");
    let (error, path, before) = case("older", &sql("PRAGMA user_version = 1"));
    assert!(matches!(error, StoreError::Older { found: 1, supported: 5, .. }), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), before, "left as it was");
    assert!(matches!(stored_node(&path), Err(StoreError::Older { .. })));
    let foreign = |path: &Path| {
        fs::remove_file(path).unwrap();
        sql("CREATE TABLE theirs (x); PRAGMA application_id = 77")(path);
    };
    let (error, path, before) = case("foreign", &foreign);
    assert!(matches!(error, StoreError::Foreign { found: 77, .. }), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), before, "left as it was");
    let error = stored_node(&path).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error:?}");

    for (node, peer) in [(2, "peer"), (1, "another")] {
        let error = LogStore::open(&good, NodeId(node), peer, Voters::new()).map(|_| ()).unwrap_err();
        assert!(
            matches!(&error, StoreError::OtherNode { node: NodeId(1), peer, .. } if peer == "peer"),
            "{error:?}"
        );
    }
    let error = LogStore::open(&dir.path().join("no/such/folder"), NodeId(1), "peer", Voters::new())
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, StoreError::Sqlite { .. }), "{error:?}");
    // None of this damaged the original.
    with(&good, async |log| assert_eq!(indexes(log, ..).await.len(), 3000)).await;
}

#[test]
fn an_unused_file_is_no_stranger() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.db");
    assert_eq!(stored_node(&path).unwrap(), None);
    fs::write(&path, b"").unwrap();
    assert_eq!(stored_node(&path).unwrap(), None);
    // The process was killed between the first write of the file and the tables.
    let half = dir.path().join("half.db");
    let db = Connection::open(&half).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    drop(db);
    assert!(fs::metadata(&half).unwrap().len() > 0);
    assert_eq!(stored_node(&half).unwrap(), None);
    assert!(LogStore::open(&half, NodeId(1), "peer", Voters::new()).is_ok());
}

#[tokio::test]
async fn a_failed_write_is_an_error_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.db");
    let (mut log, closed, _) = LogStore::open(&path, NodeId(1), "peer", Voters::new()).unwrap();
    append(&mut log, [entry(1, 0)]).await;
    Connection::open(&path).unwrap().execute_batch("ALTER TABLE log RENAME TO gone").unwrap();
    for index in 1..3 {
        let (tx, rx) = TypeConfig::oneshot();
        log.append([entry(1, index)], IOFlushed::signal(tx)).await.unwrap();
        assert!(rx.await.unwrap().is_err(), "entry {index} was not written");
    }
    assert!(log.save_vote(&Vote::new(9, NodeId(1))).await.is_err());
    assert_eq!(log.read_vote().await.unwrap(), None, "nor is it seen");
    drop(log);
    closed.await.unwrap();
}

/// Simulates a full disk: SQLite may not grow the file.
#[tokio::test]
async fn a_full_disk_acknowledges_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.db");
    with(&path, async |log| append(log, (0..100).map(|i| entry(1, i))).await).await;
    let db = open::open(&path).unwrap();
    let pages: i64 = db.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    db.pragma_update(None, "max_page_count", pages).unwrap();
    let (sender, inbox) = mpsc::channel(8);
    let writer = LogWriter::new(db, inbox, Arc::default());
    let thread = thread::spawn(move || writer.run());
    let rows: Vec<_> = (100..5000)
        .map(|i| (i64::try_from(i).unwrap(), encode(kind::ENTRY, &entry(1, i)).unwrap()))
        .collect();
    let (tx, rx) = TypeConfig::oneshot();
    assert!(sender.send(Op::Append { rows, callback: IOFlushed::signal(tx) }).await.is_ok());
    assert!(rx.await.unwrap().unwrap_err().to_string().contains("full"));
    drop(sender);
    thread.join().unwrap();
    with(&path, async |log| assert_eq!(indexes(log, ..).await, (0..100).collect::<Vec<_>>())).await;
}

const CHILD: &str = "RAFT_LOG_KILL_TEST";
const ROUNDS: u64 = 12;

/// The part of the test below that is killed: it appends, votes and purges, and prints what was acknowledged.
#[tokio::test]
async fn killed_child() {
    use std::io::Write;
    let Some(path) = std::env::var_os(CHILD) else {
        // If this test runs alone, no parent reads the output: one acknowledged entry is enough.
        let dir = tempfile::tempdir().unwrap();
        with(&dir.path().join("raft.db"), async |log| append(log, [entry(1, 0)]).await).await;
        assert!(dir.path().join("raft.db").exists());
        return;
    };
    let (mut log, _closed, _) = LogStore::open(Path::new(&path), NodeId(1), "peer", Voters::new()).unwrap();
    let mut term = log.read_vote().await.unwrap().map_or(1, |vote| vote.leader_id.term + 1);
    let mut next = log.get_log_state().await.unwrap().last_log_id.map_or(0, |id| id.index + 1);
    let mut out =
        std::fs::OpenOptions::new().append(true).open(Path::new(&path).with_extension("said")).unwrap();
    let mut say = |line: String| out.write_all(line.as_bytes()).unwrap();
    loop {
        log.save_vote(&Vote::new(term, NodeId(1))).await.unwrap();
        say(format!("v {term}\n"));
        // Several appends are in flight at once, as with openraft.
        let mut waiting = Vec::new();
        for _ in 0..8 {
            let (tx, rx) = TypeConfig::oneshot();
            log.append((next..next + 5).map(|i| entry(term, i)), IOFlushed::signal(tx)).await.unwrap();
            next += 5;
            waiting.push((next - 1, rx));
        }
        for (last, rx) in waiting {
            rx.await.unwrap().unwrap();
            say(format!("a {last}\n"));
        }
        if term % 7 == 0 {
            let upto = next - 20;
            let purged = log.try_get_log_entries(upto..=upto).await.unwrap()[0].log_id;
            log.purge(purged).await.unwrap();
            say(format!("p {upto}\n"));
        }
        term += 1;
    }
}

/// The test kills the writer with `kill -9` in the middle of writing, many times: every acknowledged entry is
/// there, in order, without a gap.
#[tokio::test]
async fn kill_9_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.db");
    let said_path = path.with_extension("said");
    fs::write(&said_path, "").unwrap();
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let mut child = process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "log_store::tests::killed_child", "--nocapture"])
            .env(CHILD, &path)
            .stdout(process::Stdio::null())
            .stderr(process::Stdio::null())
            .spawn()
            .unwrap();
        // The first rounds kill it while it creates the file; later rounds wait for some progress.
        if round >= 3 {
            let deadline = std::time::Instant::now() + Duration::from_secs(20);
            let before = fs::metadata(&said_path).unwrap().len();
            while fs::metadata(&said_path).unwrap().len() < before + 40 * round {
                assert!(std::time::Instant::now() < deadline, "round {round}: the child writes nothing");
                assert!(child.try_wait().unwrap().is_none(), "round {round}: the child ended");
                thread::sleep(Duration::from_millis(1));
            }
        } else {
            // Every moment is valid for the kill, and an early one is better.
            thread::sleep(Duration::from_millis(3 * round));
        }
        child.kill().unwrap(); // SIGKILL, to this process only
        child.wait().unwrap();
        let said = fs::read_to_string(&said_path).unwrap();
        let largest = |kind: &str| {
            said.lines()
                .filter_map(|l| l.strip_prefix(kind))
                .filter_map(|n| n.trim().parse::<u64>().ok())
                .max()
        };
        with(&path, async |log| {
            let state = log.get_log_state().await.unwrap();
            let last = state.last_log_id.map(|id| id.index);
            let vote = log.read_vote().await.unwrap().map(|vote| vote.leader_id.term);
            assert!(vote >= largest("v"), "round {round}: vote {vote:?} regressed, said {:?}", largest("v"));
            assert!(last >= largest("a"), "round {round}: last {last:?}, said {:?}", largest("a"));
            let first = state.last_purged_log_id.map_or(0, |id| id.index + 1);
            assert!(Some(first) >= largest("p").map(|p| p + 1), "round {round}: a purge was undone");
            let entries = log.try_get_log_entries(..).await.unwrap();
            let expected: Vec<u64> = (first..last.map_or(first, |last| last + 1)).collect();
            let found: Vec<u64> = entries.iter().map(|e| e.log_id.index).collect();
            assert_eq!(found, expected, "round {round}");
            assert!(entries.is_sorted_by_key(|e| e.log_id), "round {round}");
        })
        .await;
        acknowledged = largest("a").unwrap_or(0);
    }
    assert!(acknowledged > 0, "nothing was tested");
}
