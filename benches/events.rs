//! The event log's hot path: sign and check, keep an event of one's own, keep others' events, answer a peer.
//!
//! The files are real and every commit is synced: run it on the disk that the nodes use (`TMPDIR`).

use cluster_state::ModelId;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use p2p::Signer;
use ringrift::events::{
    Emission, Event, ModelDistributionStarted, Subscriptions, envelope::Signed, log::EventLog,
    repair::RepairQuestion,
};
use std::{hint::black_box, path::Path, time::Duration};
use wire::Hash;

fn open(folder: &Path, name: &str) -> EventLog {
    let signer = Signer::load(&folder.join(format!("{name}.key"))).expect("a key");
    EventLog::open(&folder.join(format!("{name}.db")), signer, Subscriptions::default()).expect("a log")
}

fn event(number: usize) -> Emission {
    Emission::from(Event::ModelDistributionStarted(ModelDistributionStarted {
        config_key: "hex8_2p".into(),
        node_id: "node-1".into(),
        model_id: ModelId(Hash([7; 32])),
        model_path: format!("bench/{number:09}"),
        target_hosts: Vec::new(),
        timestamp: 1.5,
    }))
}

fn events(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), "a");
    let mut group = c.benchmark_group("events");
    group.sample_size(20).measurement_time(Duration::from_secs(5));

    let signed = log.emit_all(vec![event(0)]).expect("an event").remove(0);
    let message = signed.encode().expect("a message");
    let now_ms = ringrift::clock::now_ms().cast_signed();
    group.bench_function("decode and verify", |b| {
        b.iter(|| {
            Signed::decode(black_box(&message)).and_then(|signed| signed.open(now_ms)).expect("an event")
        });
    });
    group.bench_function("emit one, synced", |b| b.iter(|| log.emit(event(1)).expect("an event")));

    for count in [1, 16, 500] {
        group.throughput(Throughput::Elements(count as u64));
        // Every sample goes on in the same emitter's log and in the same receiver's.
        let (from, to) =
            (open(folder.path(), &format!("from{count}")), open(folder.path(), &format!("to{count}")));
        group.bench_function(format!("receive {count}, synced"), |b| {
            b.iter_batched(
                || from.emit_all((0..count).map(event).collect()).expect("events"),
                |batch| {
                    let received = to.receive(&batch, false, |_| true).expect("kept");
                    assert_eq!((received.new, received.gap), (count, false));
                },
                BatchSize::PerIteration,
            );
        });
    }
    log.emit_all((0..1000).map(event).collect()).expect("events");
    group.bench_function("answer with 500", |b| {
        b.iter(|| assert_eq!(log.answer(&RepairQuestion::default()).expect("an answer").events.len(), 500));
    });
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);
