//! Evaluations and training samples per second of one thread:
//! `cargo run --release -p ringrift-kernels --example throughput [BOARD [BATCH]]`.

use kernels::{
    Architecture, Batch, Checkpoint, CpuEvaluator, Evaluator, Network, Optimizer, Query, Target, Trainer,
};
use rules::{Board, Config, Options, State, playout, with_board};
use std::{sync::Arc, time::Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let board: Board = arguments.next().as_deref().unwrap_or("hex8").parse()?;
    let only: Option<usize> = arguments.next().map(|text| text.parse()).transpose()?;
    with_board!(board, T => {
        let mut positions = Vec::new();
        let mut choices = playout::Choices::new(1);
        while positions.len() < 1024 {
            let start = State::<T>::new(2, Options::default());
            playout::play(start, &mut choices, &mut Vec::new(), |s, legal| positions.push((*s, legal.to_vec())));
        }
        let queries: Vec<_> = positions.iter().map(|(state, legal)| Query { state, legal }).collect();
        let architecture = Architecture::small(board);
        let mut evaluator = CpuEvaluator::new(Arc::new(Network::seeded(architecture, 1)));
        for batch in [1, 4, 16, 32, 64, 256] {
            if only.is_some_and(|only| only != batch) {
                continue;
            }
            let (mut done, began) = (0usize, Instant::now());
            while began.elapsed().as_secs_f64() < 1.0 {
                for queries in queries[..1024].chunks_exact(batch) {
                    done += evaluator.evaluate(queries).len();
                }
            }
            let rate = done as f64 / began.elapsed().as_secs_f64();
            println!("{architecture} {board} batch {batch}: {rate:.0} evaluations/s");
        }
        let parent = Checkpoint::seeded(Config { board, seats: 2 }, architecture, 1);
        let mut trainer = Trainer::new(&parent, board, Optimizer::default());
        let mut batch = Batch::new(board);
        let (mut steps, began) = (0, Instant::now());
        while began.elapsed().as_secs_f64() < 1.0 || steps < 4 {
            batch.clear();
            for (i, (state, legal)) in positions.iter().cycle().skip(steps % 4 * 256).take(256).enumerate() {
                let policy = [(choices.below(legal.len()) as u16, 1.0)];
                batch.push_sample(state, legal, Target { policy: &policy, winner: (i % 2) as u8 });
            }
            trainer.step(&batch, 0, 1)?;
            steps += 1;
        }
        let rate = (steps * 256) as f64 / began.elapsed().as_secs_f64();
        println!("{architecture} {board} batch 256: {rate:.0} training samples/s");
    });
    Ok(())
}
