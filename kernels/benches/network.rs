//! b4c32 on one thread: evaluation and training, hex8 and square8.
#![allow(missing_docs, reason = "criterion's macros make a public function")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kernels::{
    Architecture, Batch, Checkpoint, CpuEvaluator, Evaluator, Network, Optimizer, Query, Target, Trainer,
};
use rules::{Board, Config, Move, Options, State, Topology, playout, with_board};
use std::sync::Arc;

fn positions<T: Topology>(count: usize) -> Vec<(State<T>, Vec<Move>)> {
    let mut positions = Vec::new();
    let mut choices = playout::Choices::new(1);
    while positions.len() < count {
        let start = State::<T>::new(2, Options::default());
        playout::play(start, &mut choices, &mut Vec::new(), |s, legal| positions.push((*s, legal.to_vec())));
    }
    positions.truncate(count);
    positions
}

fn network(c: &mut Criterion) {
    for board in [Board::Hex8, Board::Square8] {
        let architecture = Architecture::small(board);
        with_board!(board, T => {
            let mut group = c.benchmark_group(format!("{architecture} on {board}"));
            for batch in [1, 16, 64, 256] {
                let positions = positions::<T>(batch);
                let queries: Vec<_> = positions.iter().map(|(state, legal)| Query { state, legal }).collect();
                let mut evaluator = CpuEvaluator::new(Arc::new(Network::seeded(architecture, 1)));
                group.throughput(Throughput::Elements(batch as u64));
                group.bench_function(format!("evaluate {batch}"), |b| b.iter(|| evaluator.evaluate(&queries)));
            }
            let parent = Checkpoint::seeded(Config { board, seats: 2 }, architecture, 1);
            let mut trainer = Trainer::new(&parent, board, Optimizer::default());
            let mut batch = Batch::new(board);
            for (state, legal) in &positions::<T>(256) {
                batch.push_sample(state, legal, Target { policy: &[(0, 1.0)], winner: 0 });
            }
            group.throughput(Throughput::Elements(256));
            group.bench_function("train 256", |b| b.iter(|| trainer.step(&batch, 0, 1)));
        });
    }
}

criterion_group!(benches, network);
criterion_main!(benches);
