//! What every replica pays for signatures: it applies the registration of a segment, with the receipt of the
//! only node and with those of two.

use cluster_state::{
    ClusterState, Command, Response, Source,
    command::RegisterSegment,
    samples::{CONFIG, commands, hash, register, signed_by},
    state_machine::apply,
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

/// A cluster of so many nodes with one configuration.
fn cluster(nodes: u64) -> ClusterState {
    let mut state = ClusterState::default();
    let init = commands().into_iter().find(|command| matches!(command, Command::InitConfig(_)));
    let commands = (1..=nodes).map(|n| register(n, n)).chain(init);
    for (index, command) in (1..).zip(commands) {
        let response = apply(&mut state, index, &command);
        assert!(!matches!(response, Response::Refused(_)), "{response:?}");
    }
    state
}

fn receipts(c: &mut Criterion) {
    let mut group = c.benchmark_group("receipts");
    for nodes in [1, 2] {
        let state = cluster(nodes);
        let segment = RegisterSegment {
            hash: hash(9),
            config_key: CONFIG.into(),
            games: 256,
            samples: 9_000,
            bytes: 400_000,
            source: Source::Selfplay,
            model: hash(1),
            receipts: Vec::new(),
            at_ms: 1,
        };
        let command = Command::RegisterSegment(signed_by(segment, 1..=nodes));
        group.bench_function(format!("apply a segment with {nodes}"), |b| {
            b.iter_batched(
                || state.clone(),
                |mut state| {
                    let response = apply(&mut state, 99, &command);
                    assert!(matches!(response, Response::Segment { .. }), "{response:?}");
                    state
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, receipts);
criterion_main!(benches);
