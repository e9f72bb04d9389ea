//! Training runs on small networks, on the CPU and on a device that fails.

use super::*;
use crate::learner::window::tests::random_game;
use kernels::{AnyEvaluator, Architecture, Network};
use rules::{Board, Config};
use std::sync::Arc;

fn config() -> Config {
    "hex8_2p".parse().unwrap()
}

/// The last decisions of random games; earlier ones say little about who wins.
fn window(games: u64) -> ReplayWindow {
    let mut window = ReplayWindow::new(config(), usize::MAX);
    for seed in 0..games {
        let mut game = random_game(config(), seed);
        game.decisions.drain(..game.decisions.len().saturating_sub(24));
        window.add(&game).unwrap();
    }
    window
}

fn parent(blocks: u32, channels: u32) -> Vec<u8> {
    let architecture = Architecture { blocks, channels, ..Architecture::small(config().board) };
    Checkpoint::seeded(config(), architecture, 1).to_bytes()
}

fn job<'a>(parent: &'a [u8], settings: &'a TrainingConfig, new_positions: usize) -> TrainingJob<'a> {
    TrainingJob { parent, settings, new_positions, data_index: 7, seed: 3 }
}

#[test]
fn the_loss_falls_and_unseen_games_are_judged_better_than_by_chance() {
    let mut window = window(700);
    let settings = TrainingConfig { batch: 128, reuse: 3.0, seconds_max: 600, ..TrainingConfig::default() };
    let parent = parent(2, 16);
    let mut seen: Vec<RunProgress> = Vec::new();
    let new = window.training();
    let trained =
        run(&CpuBackend, &mut window, job(&parent, &settings, new), &|| false, &mut |p| seen.push(p))
            .unwrap();
    let (first, last) = (seen[0].loss, trained.final_loss);
    assert!(last.policy < first.policy - 0.5, "{first:?} {last:?}");
    assert!(last.value < first.value - 0.02, "{first:?} {last:?}");
    let validation = trained.validation.unwrap();
    assert!(validation.value < std::f64::consts::LN_2 - 0.02, "{validation:?}");
    assert!(validation.policy < first.policy - 0.5, "{validation:?}");
    assert_eq!((trained.header.generation, trained.header.parent), (1, Some(Hash::of(&parent))));
    assert_eq!(trained.samples, trained.header.step * 128);
    let end = seen[seen.len() - 1];
    assert_eq!((end.epochs_completed, end.total_epochs, trained.epochs), (3, 3, 3));
    let kept = Checkpoint::for_config(&trained.bytes, config()).unwrap();
    assert_eq!((ModelId(Hash::of(&trained.bytes)), kept.header), (trained.hash, trained.header));
}

#[test]
fn a_run_follows_from_its_seed_and_the_next_goes_on_from_it() {
    let settings = TrainingConfig { batch: 32, reuse: 4.0, seconds_max: 600, ..TrainingConfig::default() };
    let parent = parent(1, 8);
    let train = |parent: &[u8], seed| {
        let job = TrainingJob { seed, ..job(parent, &settings, 40) };
        run(&CpuBackend, &mut window(12), job, &|| false, &mut |_| ()).unwrap()
    };
    let (one, again, other) = (train(&parent, 1), train(&parent, 1), train(&parent, 2));
    assert_eq!(one.bytes, again.bytes);
    assert_ne!(one.hash, other.hash);
    assert_eq!(one.header.step, 5);
    let next = train(&one.bytes, 1);
    assert_eq!((next.header.step, next.header.generation), (10, 2));
    assert_eq!(next.header.parent, Some(one.hash.0));
}

#[test]
fn a_time_limit_shortens_the_run() {
    let settings = TrainingConfig { batch: 64, reuse: 1e6, seconds_max: 1, ..TrainingConfig::default() };
    let parent = parent(1, 8);
    let trained =
        run(&CpuBackend, &mut window(4), job(&parent, &settings, 1000), &|| false, &mut |_| ()).unwrap();
    assert!(trained.shortened && trained.samples >= 64, "{} samples", trained.samples);
    assert!(trained.elapsed < Duration::from_secs(20));
}

#[test]
fn refusals() {
    let settings = TrainingConfig::default();
    let parent = parent(1, 8);
    let job = job(&parent, &settings, 100);
    let mut quiet = |_| ();
    let empty = run(&CpuBackend, &mut ReplayWindow::new(config(), 100), job, &|| false, &mut quiet);
    assert!(matches!(empty, Err(TrainingError::Empty)));
    let cancelled = run(&CpuBackend, &mut window(3), job, &|| true, &mut quiet);
    assert!(matches!(cancelled, Err(TrainingError::Cancelled { steps: 0 })));
    let corrupt =
        run(&CpuBackend, &mut window(3), TrainingJob { parent: b"no", ..job }, &|| false, &mut quiet);
    assert!(matches!(corrupt, Err(TrainingError::Parent(_))));
    let mut other = ReplayWindow::new("hex8_3p".parse().unwrap(), 100);
    let foreign = run(&CpuBackend, &mut other, job, &|| false, &mut quiet);
    assert!(matches!(foreign, Err(TrainingError::Parent(CheckpointError::Config { .. }))));
}

/// The CPU, whose steps fail from some step on.
struct Failing {
    from: u64,
}

struct FailingTrainer {
    trainer: Box<dyn Train>,
    left: u64,
}

impl Failing {
    fn error() -> DeviceError {
        DeviceError::Kernel { kernel: "conv_32", reason: "as the test wants it".to_owned() }
    }
}

impl Backend for Failing {
    fn describe(&self) -> String {
        "failing".to_owned()
    }

    fn evaluator(&self, _: Arc<Network>) -> Result<Box<dyn AnyEvaluator>, DeviceError> {
        Err(Self::error())
    }

    fn batch(&self, board: Board) -> Batch {
        CpuBackend.batch(board)
    }

    fn trainer(
        &self,
        parent: &Checkpoint,
        board: Board,
        optimizer: Optimizer,
        positions_max: usize,
    ) -> Result<Box<dyn Train>, DeviceError> {
        let left = self.from.checked_sub(1).ok_or_else(Self::error)?;
        let trainer = CpuBackend.trainer(parent, board, optimizer, positions_max)?;
        Ok(Box::new(FailingTrainer { trainer, left }))
    }
}

impl Train for FailingTrainer {
    fn step(&mut self, batch: &Batch, of_run: u64, run: u64) -> Result<Loss, kernels::TrainError> {
        self.left = self.left.checked_sub(1).ok_or_else(Failing::error)?;
        self.trainer.step(batch, of_run, run)
    }

    fn evaluate(&mut self, _: &Batch) -> Result<Loss, DeviceError> {
        Err(Failing::error())
    }

    fn step_count(&self) -> u64 {
        self.trainer.step_count()
    }

    fn network(&self) -> Result<Option<Network>, DeviceError> {
        self.trainer.network()
    }

    fn progress(&self) -> Result<kernels::Progress, DeviceError> {
        self.trainer.progress()
    }
}

#[test]
fn a_device_that_fails_leaves_the_run_to_the_cpu() {
    let settings = TrainingConfig { batch: 32, reuse: 4.0, seconds_max: 600, ..TrainingConfig::default() };
    let parent = parent(1, 8);
    let job = job(&parent, &settings, 40);
    let want = run(&CpuBackend, &mut window(40), job, &|| false, &mut |_| ()).unwrap();
    assert!(want.validation.is_some(), "a game is set aside");
    // Cannot begin, fails at the third step, fails in validation.
    for from in [0, 3, 6] {
        let backend = Failing { from };
        let failed = run(&backend, &mut window(40), job, &|| false, &mut |_| ());
        assert!(matches!(failed, Err(TrainingError::Device(_))), "{from}: {failed:?}");
        let mut told = Vec::new();
        let mut tell = |error: &DeviceError| told.push(error.clone());
        let (never, mut quiet) = (|| false, |_| ());
        let got = run_or_on_the_cpu(&backend, &mut window(40), job, &never, &mut quiet, &mut tell).unwrap();
        assert_eq!(got.bytes, want.bytes, "{from}");
        assert_eq!(told, [Failing::error()], "{from}");
    }
}
