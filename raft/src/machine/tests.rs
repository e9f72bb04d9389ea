use super::*;
use crate::{
    hook::HookError,
    samples::{AnybodyMay, log_id, membership, proposal},
};
use cluster_state::{
    Command, Model, ModelStatus, RegisteredSegment, Source,
    samples::{self, commands, hash, register},
};
use openraft::storage::RaftStateMachine;
use proptest::prelude::*;
use std::fs;

fn open(path: &Path) -> Machine {
    Machine::open(path, NodeId(1), "peer", Box::new(AnybodyMay)).unwrap()
}

fn entry(index: u64, command: Command) -> Entry {
    Entry { log_id: log_id(1, index), payload: EntryPayload::Normal(proposal(command)) }
}

async fn apply(machine: &mut Machine, entries: Vec<Entry>) -> io::Result<()> {
    machine.apply(futures::stream::iter(entries.into_iter().map(|entry| Ok((entry, None))))).await
}

fn state(machine: &Machine) -> Arc<ClusterState> {
    Arc::clone(&machine.subscribe().borrow())
}

/// Applies the batches, reopens the file, sends a snapshot to another machine, and compares all of them.
async fn survives(batches: Vec<Vec<Command>>) {
    let dir = tempfile::tempdir().unwrap();
    let (path, other_path) = (dir.path().join("node.db"), dir.path().join("other.db"));
    let mut machine = open(&path);
    let mut index = 0;
    let mut other = open(&other_path);
    // The snapshot must replace this.
    apply(&mut other, vec![entry(1, register(77, 1))]).await.unwrap();
    for batch in batches {
        let entries = batch
            .into_iter()
            .map(|command| {
                index += 1;
                entry(index, command)
            })
            .collect();
        apply(&mut machine, entries).await.unwrap();
    }
    index += 1;
    let change = membership().membership().clone();
    let change = Entry { log_id: log_id(1, index), payload: EntryPayload::Membership(change) };
    apply(&mut machine, vec![change]).await.unwrap();
    let before = state(&machine);
    assert_eq!(before.applied, index);
    let snapshot = machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    check_snapshot(&snapshot.snapshot).unwrap();
    other.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    assert_eq!(state(&other), before);
    drop((machine, other));
    for path in [&path, &other_path] {
        let mut machine = open(path);
        assert_eq!(state(&machine), before);
        let (last, stored) = machine.applied_state().await.unwrap();
        assert_eq!(last, Some(log_id(1, index)));
        assert_eq!(stored.membership(), membership().membership());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn state_survives_restarts_and_snapshots(
        picks in prop::collection::vec(prop::collection::vec((0..17usize, 1..5u64), 0..12), 0..8)
    ) {
        let pick = |(i, n): (usize, u64)| if i == 0 { register(n, n) } else { commands().swap_remove(i) };
        let batches = picks.into_iter().map(|batch| batch.into_iter().map(pick).collect()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(survives(batches));
    }
}

/// A hook that fails at one index.
struct Failing(u64);

impl ApplyHook for Failing {
    fn door(&self) -> crate::hook::Door {
        |_, _, _| Ok(())
    }

    fn on_apply(
        &mut self,
        tx: &Transaction<'_>,
        index: u64,
        _: &Command,
        _: &Response,
        state: &ClusterState,
    ) -> Result<(), HookError> {
        assert_eq!(state.applied, index);
        tx.execute_batch("CREATE TABLE IF NOT EXISTS seen (i INTEGER)")?;
        tx.execute("INSERT INTO seen VALUES (?1)", [i64::try_from(index)?])?;
        if index == self.0 { Err("no".into()) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_batch_and_what_the_hook_writes_commit_together_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    let mut machine = Machine::open(&path, NodeId(1), "peer", Box::new(Failing(4))).unwrap();
    apply(&mut machine, vec![entry(1, register(1, 1)), entry(2, register(2, 1))]).await.unwrap();
    let before = state(&machine);
    let failed = apply(&mut machine, vec![entry(3, register(3, 1)), entry(4, register(4, 1))]).await;
    assert!(failed.is_err());
    assert_eq!(state(&machine), before, "memory does not run ahead");
    drop(machine);
    let machine = open(&path);
    assert_eq!((state(&machine).nodes.len(), machine.last_applied()), (2, Some(log_id(1, 2))));
    let db = Connection::open(&path).unwrap();
    let seen: i64 = db.query_row("SELECT count(*) FROM seen", [], |row| row.get(0)).unwrap();
    assert_eq!(seen, 2);
}

/// `node.db` has other writers: while one of them is writing, applying waits and loses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_writers_are_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    let mut machine = open(&path);
    let mut other = sqlite::open(&path).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    let tx = other.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    tx.execute("INSERT INTO theirs VALUES (1)", []).unwrap();
    let applying = tokio::spawn(async move {
        apply(&mut machine, vec![entry(1, register(1, 1))]).await.unwrap();
        state(&machine).applied
    });
    // The wait does not block the runtime: this timer fires.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(!applying.is_finished());
    tx.commit().unwrap();
    assert_eq!(applying.await.unwrap(), 1);
    // A reader in the middle of a transaction does not block the writer either.
    let reading = other.transaction_with_behavior(TransactionBehavior::Deferred).unwrap();
    let read: i64 = reading.query_row("SELECT count(*) FROM theirs", [], |row| row.get(0)).unwrap();
    let mut machine = open(&path);
    apply(&mut machine, vec![entry(2, register(2, 1))]).await.unwrap();
    assert_eq!((read, state(&machine).nodes.len()), (1, 2));
}

#[tokio::test]
async fn what_cannot_be_trusted_is_a_typed_error() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good.db");
    let mut machine = open(&good);
    let all = (1..).zip(commands()).map(|(i, command)| entry(i, command)).collect();
    apply(&mut machine, all).await.unwrap();
    drop(machine);
    let case = |name: &str, change: &dyn Fn(&Path)| {
        let path = dir.path().join(name);
        fs::copy(&good, &path).unwrap();
        change(&path);
        Machine::open(&path, NodeId(1), "peer", Box::new(AnybodyMay)).map(|_| ()).unwrap_err()
    };
    let sql =
        |text: &'static str| move |path: &Path| Connection::open(path).unwrap().execute_batch(text).unwrap();
    for (name, text) in [
        ("row", "UPDATE raft_state SET value = x'00' WHERE kind = 0x25"),
        ("kind", "INSERT INTO raft_state VALUES (0x77, x'00', x'00')"),
        ("big kind", "INSERT INTO raft_state VALUES (1000, x'00', x'00')"),
        (
            "key",
            "UPDATE raft_state SET value = (SELECT value FROM raft_state WHERE kind = 0x24) WHERE kind = 0x26",
        ),
        ("applied", "UPDATE raft_applied SET value = x'0102'"),
        ("table", "DROP TABLE raft_state; CREATE TABLE raft_state (x)"),
    ] {
        let error = case(name, &sql(text));
        assert!(matches!(error, StoreError::Corrupt { .. }), "{name}: {error:?}");
    }
    let error = case("not sqlite", &|path| fs::write(path, vec![7u8; 9000]).unwrap());
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    let error = case("older", &sql("UPDATE raft_applied SET format = 1"));
    assert!(matches!(error, StoreError::Older { found: 1, supported: 5, .. }), "{error:?}");
    assert!(error.to_string().contains("start anew with an empty data folder"), "{error}");
    let error = case("newer", &sql("UPDATE raft_applied SET format = format + 1"));
    assert!(matches!(error, StoreError::Newer { found: 6, supported: 5, .. }), "{error:?}");
    for (node, peer) in [(2, "peer"), (1, "another")] {
        let error = Machine::open(&good, NodeId(node), peer, Box::new(AnybodyMay)).map(|_| ()).unwrap_err();
        assert!(matches!(error, StoreError::OtherNode { node: NodeId(1), .. }), "{error:?}");
    }
    assert_eq!(state(&open(&good)).applied, commands().len() as u64);
    assert_eq!(stored_state(&good).unwrap().map(Arc::new), Some(state(&open(&good))));
    assert_eq!(stored_state(&dir.path().join("nowhere")).unwrap(), None);
}

/// Of two snapshots the newer one stays, whichever of them is ready first.
#[tokio::test]
async fn an_older_snapshot_does_not_replace_a_newer() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = open(&dir.path().join("node.db"));
    apply(&mut machine, vec![entry(1, register(1, 1))]).await.unwrap();
    let mut slow = machine.get_snapshot_builder().await;
    apply(&mut machine, vec![entry(2, register(2, 1))]).await.unwrap();
    machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    slow.build_snapshot().await.unwrap();
    let current = machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(current.meta.last_log_id, Some(log_id(1, 2)));
    // A corrupt snapshot is refused before it replaces anything.
    let broken = Arc::new(samples::frame(kind::SNAPSHOT, &[9; 30]));
    assert!(machine.install_snapshot(&current.meta, broken).await.is_err());
    assert_eq!(state(&machine).nodes.len(), 2);
}

#[test]
fn a_state_at_its_bounds_fits_a_snapshot() {
    use cluster_state::{
        CHECKS_MAX, CONFIG_KEY_BYTES_MAX, Check, EVIDENCE_SEGMENTS_MAX, HOLDERS_MAX, Review, TEXT_BYTES_MAX,
        Tallies,
        state_machine::{MODELS_MAX, NODES_MAX, SEGMENTS_MAX},
    };
    let text = "x".repeat(TEXT_BYTES_MAX);
    let mut state = ClusterState::default();
    let segment = RegisteredSegment {
        config_key: "x".repeat(CONFIG_KEY_BYTES_MAX).as_str().into(),
        games: 1,
        samples: 1,
        bytes: 1,
        source: Source::of(&text),
        model: hash(1),
        origin: NodeId(1),
        holders: (0..HOLDERS_MAX as u64).map(NodeId).collect(),
        at_ms: 1,
        log_index: 1,
    };
    state.segments.insert(hash(1), segment);
    let mut evidence = samples::evidence(hash(1), hash(2));
    evidence.segments = vec![hash(3); EVIDENCE_SEGMENTS_MAX];
    let denied = Check::Denied { counted: Some(Tallies::new(4)) };
    let model = Model {
        info: samples::model(hash(1), hash(2)),
        config_key: "x".repeat(CONFIG_KEY_BYTES_MAX).as_str().into(),
        status: ModelStatus::Rejected { reason: text },
        holders: (0..NODES_MAX as u64).map(NodeId).collect(),
        trained_by: Some(NodeId(1)),
        epoch: 1,
        report: Some(samples::report()),
        review: Some(Review {
            evaluated_by: NodeId(1),
            epoch: 1,
            lease: 1,
            rounds: 1,
            checks: (0..CHECKS_MAX as u64).map(|node| (NodeId(node), denied.clone())).collect(),
        }),
        evidence: Some(evidence),
        at_ms: 1,
        log_index: 1,
    };
    state.models.insert(hash(1), model);
    let size = |kind| {
        let rows = rows::rows(&state).unwrap();
        let row = rows.iter().find(|row| row.kind == kind).unwrap();
        wire::encode(0, row, ROW_BYTES_MAX).unwrap().len()
    };
    let (segment, model) = (size(rows::kind::SEGMENT), size(rows::kind::MODEL));
    let total = SEGMENTS_MAX * segment + MODELS_MAX * (model + 1000) + (16 << 20);
    assert!(total < SNAPSHOT_BYTES_MAX, "{segment} {model} {total}");
    // The membership of the largest cluster fits one entry and one row.
    let members = (1..=NODES_MAX as u64)
        .map(|id| (NodeId(id), crate::types::Member { peer_id: "x".repeat(TEXT_BYTES_MAX) }));
    let members: std::collections::BTreeMap<_, _> = members.collect();
    let membership =
        openraft::Membership::new(vec![[1, 2, 3].map(NodeId).into(), [1, 2, 4].map(NodeId).into()], members)
            .unwrap();
    let entry = Entry { log_id: log_id(1, 1), payload: EntryPayload::Membership(membership.clone()) };
    assert!(wire::encode(kind::ENTRY, &entry, crate::types::ENTRY_BYTES_MAX).is_ok());
    let applied = Applied { last_log_id: Some(log_id(1, 1)), membership: Membership::new(None, membership) };
    assert!(wire::encode(kind::APPLIED, &applied, ROW_BYTES_MAX).is_ok());
}
