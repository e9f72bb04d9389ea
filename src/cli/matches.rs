//! `ringrift match`: plays two players against each other.

use super::{players::player, win_rate::WinRate};
use crate::{
    learner::arena::{Arena, ArenaSettings},
    store::GameKind,
};
use ::rules::Config;
use cluster_state::{NodeId, Tally};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::{
    io::{Write, stdout},
    process::ExitCode,
    time::Duration,
};

/// Let two players play a match.
///
/// Games come in sets: the same random opening, with A in each seat in turn and copies of B in the others.
/// A win counts for the player who made it, also after the pie rule has exchanged the seats.
///
/// Example: ringrift match heuristic random --games 100
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A player: the path of a model, `random` or `heuristic`.
    a: String,
    /// The other player, given in the same way.
    b: String,
    /// Board and number of seats.
    #[arg(long, default_value = "hex8_2p")]
    config: Config,
    /// Number of games, rounded up to whole sets.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    games: u32,
    /// Number of simulations for each decision of a model.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(2..=4096))]
    simulations: u32,
    /// Number of games that are played at the same time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: u16,
    /// Seed of openings and of random play: the same seed, the same match.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct MatchReport {
    config: String,
    a: String,
    b: String,
    games: u32,
    wins: u32,
    losses: u32,
    win_rate: WinRate,
    elo_delta: f64,
    elo_error: f64,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (mut a, mut b) = (player(&args.a, args.config.board)?, player(&args.b, args.config.board)?);
    let mut arena = Arena::new(
        args.config,
        ArenaSettings {
            games: args.games,
            parallel: usize::from(args.parallel),
            simulations: args.simulations,
            seed: args.seed,
            kind: GameKind::Match,
            node: NodeId(0),
            backend: String::new(),
        },
    );
    // The bar hides itself where standard error is not a terminal.
    let bar = ProgressBar::new(u64::from(args.games));
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} games {msg} {eta}")?;
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut sets = Tally::new(args.config.seats);
    while !arena.finished() {
        for set in arena.step(&mut a, &mut b) {
            sets.add(set.wins);
            bar.set_position(u64::from(sets.games()));
            bar.set_message(format!("{:.1} %", sets.score() * 100.0));
        }
    }
    bar.finish_and_clear();
    anyhow::ensure!(arena.aborted() == 0, "{} sets of games ended in an error", arena.aborted());
    let elo = sets.elo();
    let report = MatchReport {
        config: args.config.key(),
        a: args.a.clone(),
        b: args.b.clone(),
        games: sets.games(),
        wins: sets.wins(),
        losses: sets.losses(),
        win_rate: WinRate::of(sets.wins(), sets.games()),
        elo_delta: elo.delta,
        elo_error: elo.error,
    };
    print(&report, args.json)?;
    Ok(ExitCode::SUCCESS)
}

fn print(report: &MatchReport, json: bool) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    if json {
        serde_json::to_writer(&mut out, report)?;
        writeln!(out)?;
    } else {
        let MatchReport { config, a, b, games, wins, losses, win_rate, elo_delta, elo_error } = report;
        writeln!(out, "{config}: {a} against {b}, {games} games: {wins} won, {losses} lost")?;
        let [mean, low, high] = [win_rate.mean, win_rate.low, win_rate.high].map(|share| share * 100.0);
        writeln!(out, "{mean:.1} % won (95 %: {low:.1} to {high:.1}), Elo {elo_delta:+.0} ± {elo_error:.0}")?;
    }
    Ok(())
}
