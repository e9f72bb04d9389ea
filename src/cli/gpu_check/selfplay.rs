//! What only a node can measure of a card: how it plays when the card searches, and when the host searches in
//! place of the card.
//!
//! In place of the card the host searches, on as many threads and with as many games on each as a node would
//! have.

use crate::{
    devices::{cores, parallel_games, threads},
    learner::settings::SelfplayConfig,
    learner::{selfplay::Selfplay, waves},
};
use anyhow::Context as _;
use cluster_state::{ModelId, NodeId};
use gauge::{
    Peaks,
    check::{self, CheckScope, LiveReport, SelfplayFigures},
};
use kernels::{Architecture, Network, proof::Card};
use rules::Config;
use std::{
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};
use wire::Hash;

/// Longest warm-up; a thread that is not warm by then is measured as it is.
const WARM_UP_MAX: Duration = Duration::from_secs(120);

/// Adds the figures of some networks: first how a node plays with the card, then how it plays in place of the
/// card.
pub(super) fn measure(card: Card, peaks: &Peaks, scope: &CheckScope, live: &mut LiveReport) {
    let (quick, simulations) = (scope.quick, SelfplayConfig::default().simulations);
    for (config, architecture) in check::selfplay_cases(scope) {
        let case = (config, architecture);
        live.tell(&format!("self-play, the card searches, {architecture}, {config}"));
        let slots = if quick { waves::slots(config) / 4 } else { waves::slots(config) };
        let figure = check::selfplay_on_card(card, case, (slots, simulations), peaks, quick);
        live.change(|report| report.benchmarks.push(figure));
        live.tell(&format!("self-play, the host searches, {architecture}, {config}"));
        let length = Duration::from_secs(if quick { 5 } else { 30 });
        let found = on_host(card, config, architecture, length).map_err(|error| format!("{error:#}"));
        let figure = check::selfplay_on_host(case, found, peaks);
        live.change(|report| report.benchmarks.push(figure));
    }
}

/// What a thread counted.
struct ThreadCount {
    games: usize,
    decisions: usize,
    positions: u64,
    calls: u64,
}

/// What every thread plays.
#[derive(Clone)]
struct Play<'a> {
    card: Card,
    config: Config,
    network: Arc<Network>,
    parallel: usize,
    /// The barrier at which every thread waits until it has ended as many games as it has side by side, or
    /// has failed.
    warm: &'a Barrier,
    length: Duration,
}

/// Plays for this long after every thread has ended as many games as it has side by side.
fn on_host(
    card: Card,
    config: Config,
    architecture: Architecture,
    length: Duration,
) -> anyhow::Result<SelfplayFigures> {
    let network = Arc::new(Network::seeded(architecture, 0));
    let (threads, parallel) = (threads(0, cores(), true), parallel_games(0, true));
    let warm = Barrier::new(threads);
    let play = Play { card, config, network, parallel, warm: &warm, length };
    let counted = thread::scope(|scope| {
        let on_a_thread = |i: usize| {
            let play = play.clone();
            scope.spawn(move || play.run(i as u64))
        };
        let playing: Vec<_> = (0..threads).map(on_a_thread).collect();
        playing.into_iter().map(thread::ScopedJoinHandle::join).collect::<Result<Vec<_>, _>>()
    });
    let counted = counted.map_err(|_| anyhow::anyhow!("a thread of self-play has failed"))?;
    let counted = counted.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let sum = |of: fn(&ThreadCount) -> f64| counted.iter().map(of).sum::<f64>();
    let (games, decisions) = (sum(|one| one.games as f64), sum(|one| one.decisions as f64));
    let (positions, seconds) = (sum(|one| one.positions as f64), length.as_secs_f64());
    Ok(SelfplayFigures {
        threads,
        parallel_games: parallel,
        seconds,
        games_per_s: games / seconds,
        evaluations_per_s: positions / seconds,
        decisions_per_game: decisions / games.max(1.0),
        evaluations_per_decision: positions / decisions.max(1.0),
        batch: positions / sum(|one| one.calls as f64).max(1.0),
    })
}

impl Play<'_> {
    fn run(self, seed: u64) -> anyhow::Result<ThreadCount> {
        let simulations = SelfplayConfig::default().simulations;
        let mut games = Selfplay::new(self.config, self.parallel, seed, NodeId(0));
        let prepared = self.card.evaluator(self.network).map(|evaluator| {
            let report = evaluator.report();
            games.set_model(ModelId(Hash::of(b"gpu-check")), Box::new(evaluator), simulations);
            report
        });
        let report = match prepared {
            Ok(report) => report,
            Err(error) => {
                self.warm.wait(); // the others do, too
                return Err(error.into());
            }
        };
        let mut step = || {
            let done = games.step();
            match report().failure {
                Some(failure) => Err(anyhow::anyhow!(failure)).context("the card has failed"),
                None if games.aborted() > 0 => Err(anyhow::anyhow!("a game ended in an error")),
                None => Ok(done),
            }
        };
        let began = Instant::now();
        let mut warm_up = || {
            let mut ended = 0;
            while ended < self.parallel && began.elapsed() < WARM_UP_MAX {
                ended += step()?.len();
            }
            anyhow::Ok(())
        };
        let warmed = warm_up();
        self.warm.wait();
        warmed?;
        let (before, began) = (report(), Instant::now());
        let mut counted = ThreadCount { games: 0, decisions: 0, positions: 0, calls: 0 };
        while began.elapsed() < self.length {
            for game in step()? {
                counted.games += 1;
                counted.decisions += game.decisions.len();
            }
        }
        let after = report();
        counted.positions = after.positions - before.positions;
        counted.calls = after.calls - before.calls;
        Ok(counted)
    }
}
