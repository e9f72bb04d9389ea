//! The match of the last champion against uniformly random play.

use super::{
    super::{players::load_model, win_rate::WinRate},
    Args,
    summary::ExamResult,
};
use crate::{
    config::Settings,
    learner::arena::{Arena, ArenaSettings, Contestant},
    local::Interrupt,
    store::GameKind,
};
use cluster_state::NodeId;
use std::{path::Path, thread};

pub(super) const RANDOM_GAMES: u32 = 400;

/// Plays the last champion against uniformly random play, in each seat in turn, on every core.
pub(super) fn against_random(args: &Args, model: &Path, interrupt: &Interrupt) -> anyhow::Result<ExamResult> {
    let config = args.config;
    let threads = thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let share = |thread: u32| RANDOM_GAMES * (thread + 1) / threads - RANDOM_GAMES * thread / threads;
    let parts = thread::scope(|scope| {
        let started: Vec<_> = (0..threads)
            .map(|thread| {
                let settings = ArenaSettings {
                    games: share(thread),
                    parallel: 32,
                    simulations: Settings::default().evaluation.simulations,
                    seed: args.seed ^ u64::from(thread) << 32,
                    kind: GameKind::Baseline,
                    node: NodeId(0),
                    backend: String::new(),
                };
                scope.spawn(move || games(model, Arena::new(config, settings), config, interrupt))
            })
            .collect();
        let parts = started.into_iter().map(|part| part.join().expect("a panic would be a bug"));
        parts.collect::<anyhow::Result<Vec<_>>>()
    })?;
    let (wins, games) = parts.iter().fold((0, 0), |(wins, games), part| (wins + part.0, games + part.1));
    Ok(ExamResult { won: WinRate::of(wins, games), games })
}

/// Number of games that the model at `path` won against random play, and number of games played.
fn games(
    path: &Path,
    mut arena: Arena,
    rules::Config { board, seats }: rules::Config,
    interrupt: &Interrupt,
) -> anyhow::Result<(u32, u32)> {
    let mut champion = Contestant::Model(load_model(path, board)?);
    let (mut wins, mut games) = (0, 0);
    while !arena.finished() {
        interrupt.check()?;
        for set in arena.step(&mut champion, &mut Contestant::Random) {
            wins += set.wins;
            games += u32::from(seats);
        }
    }
    Ok((wins, games))
}
