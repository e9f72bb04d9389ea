//! Games of a network against itself, as the product plays them, with a card that evaluates.

use crate::learner::selfplay::Selfplay;
use anyhow::Context as _;
use kernels::{Architecture, Network, proof::Card};
use rules::Config;
use serde::Serialize;
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use wire::Hash;

/// Simulations of a fully searched decision; with the quarter of it for the others, seven evaluations a decision.
pub(super) const SIMULATIONS: u32 = 16;
/// Games side by side in a thread.
const PARALLEL: usize = 256;
const THREADS_MAX: usize = 64;
/// A thread that is not warm by then is measured as it is.
const WARM_UP_MAX: Duration = Duration::from_secs(120);

/// What self-play came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct SelfplayFigures {
    pub(super) config: String,
    pub(super) network: String,
    pub(super) threads: usize,
    pub(super) parallel_games: usize,
    pub(super) seconds: f64,
    pub(super) games_per_s: f64,
    pub(super) evaluations_per_s: f64,
    /// Searched decisions of a game, on average.
    pub(super) decisions_per_game: f64,
    pub(super) evaluations_per_decision: f64,
    /// Positions of a call, on average.
    pub(super) batch: f64,
}

/// What a thread counted.
struct Counted {
    games: usize,
    decisions: usize,
    positions: u64,
    calls: u64,
    seconds: f64,
}

/// Plays on as many threads as there are cores, for so long after each has ended as many games as it has side by side.
pub(super) fn run(
    card: Card,
    config: Config,
    architecture: Architecture,
    length: Duration,
) -> anyhow::Result<SelfplayFigures> {
    let network = Arc::new(Network::seeded(architecture, 0));
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let counted = thread::scope(|scope| {
        let play = |i: usize| {
            let network = Arc::clone(&network);
            scope.spawn(move || play(card, config, network, i as u64, length))
        };
        let playing: Vec<_> = (0..threads).map(play).collect();
        playing.into_iter().map(thread::ScopedJoinHandle::join).collect::<Result<Vec<_>, _>>()
    });
    let counted = counted.map_err(|_| anyhow::anyhow!("a thread of self-play has failed"))?;
    let counted = counted.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let sum = |of: fn(&Counted) -> f64| counted.iter().map(of).sum::<f64>();
    let (games, decisions) = (sum(|one| one.games as f64), sum(|one| one.decisions as f64));
    let positions = sum(|one| one.positions as f64);
    Ok(SelfplayFigures {
        config: config.key(),
        network: format!("b{}c{}", architecture.blocks, architecture.channels),
        threads,
        parallel_games: PARALLEL,
        seconds: sum(|one| one.seconds) / threads as f64,
        games_per_s: sum(|one| one.games as f64 / one.seconds),
        evaluations_per_s: sum(|one| one.positions as f64 / one.seconds),
        decisions_per_game: decisions / games.max(1.0),
        evaluations_per_decision: positions / decisions.max(1.0),
        batch: positions / sum(|one| one.calls as f64).max(1.0),
    })
}

fn play(
    card: Card,
    config: Config,
    network: Arc<Network>,
    seed: u64,
    length: Duration,
) -> anyhow::Result<Counted> {
    let mut games = Selfplay::new(config, PARALLEL, seed, 0);
    let evaluator = card.evaluator(network)?;
    let report = evaluator.report();
    games.set_model(Hash::of(b"gpu-check"), Box::new(evaluator), SIMULATIONS);
    let mut step = || {
        let done = games.step();
        match report().failure {
            Some(failure) => Err(anyhow::anyhow!(failure)).context("the card has failed"),
            None if games.aborted() > 0 => Err(anyhow::anyhow!("a game ended in an error")),
            None => Ok(done),
        }
    };
    let (began, mut warm) = (Instant::now(), 0);
    while warm < PARALLEL && began.elapsed() < WARM_UP_MAX {
        warm += step()?.len();
    }
    let (before, began) = (report(), Instant::now());
    let mut counted = Counted { games: 0, decisions: 0, positions: 0, calls: 0, seconds: 0.0 };
    while began.elapsed() < length {
        for game in step()? {
            counted.games += 1;
            counted.decisions += game.decisions.len();
        }
    }
    let after = report();
    counted.seconds = began.elapsed().as_secs_f64();
    counted.positions = after.positions - before.positions;
    counted.calls = after.calls - before.calls;
    Ok(counted)
}
