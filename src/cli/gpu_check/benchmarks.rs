//! How fast a card is, beside what it could be at most and what was predicted.

use super::{
    figure::{Figure, ON_CARD, ON_HOST},
    kept::Kept,
    progress,
    scope::Scope,
    selfplay::{self, SelfplayFigures},
};
use crate::{config::SelfplayConfig, learner::waves};
use gauge::{NetworkRate, Peaks, batches, forward_rate, games_at_once, games_rate, sizes, training_rate};
use kernels::{
    Architecture,
    proof::{Card, Effort, Speed, Waves},
};
use rules::{Board, Config};
use std::{fmt::Display, time::Duration};

/// Where a network plays against itself: where the host's search, too, ends games in seconds.
const PLAYED: [Board; 2] = [Board::Hex8, Board::Square8];

/// Adds what was measured, one after the other; what failed says so.
pub(super) fn run(card: Card, peaks: &Peaks, scope: &Scope, kept: &mut Kept) {
    let mut add = |figure: Figure| kept.change(|report| report.benchmarks.push(figure));
    networks(card, peaks, scope, &mut add);
    let quick = scope.quick;
    for config in scope.boards.iter().map(|&board| Config { board, seats: 2 }) {
        add(random_games(card, config, peaks, quick));
    }
    for board in PLAYED.into_iter().filter(|board| scope.boards.contains(board)) {
        let config = Config { board, seats: 2 };
        for architecture in [sizes(board)[0], sizes(board)[2]] {
            progress(&format!("self-play, the card searches, {architecture}, {config}"));
            add(on_card(card, config, architecture, peaks, quick));
            progress(&format!("self-play, the host searches, {architecture}, {config}"));
            add(on_host(card, config, architecture, peaks, quick));
        }
    }
}

fn networks(card: Card, peaks: &Peaks, scope: &Scope, add: &mut impl FnMut(Figure)) {
    let (repeats, millis) = if scope.quick { (3, 50) } else { (7, 300) };
    let effort = Effort { repeats, at_least: Duration::from_millis(millis) };
    for &board in &scope.boards {
        let config = Config { board, seats: 2 };
        for architecture in sizes(board) {
            for &batch in if scope.quick { &batches(board)[..2] } else { batches(board) } {
                progress(&format!("forward, {architecture} on {board}, {batch} at once"));
                let predicted = forward_rate(board, architecture, batch, peaks);
                let measured = card.forward_speed(config, architecture, batch, effort);
                add(network("forward", "positions/s", config, &predicted, measured, peaks));
                progress(&format!("training, {architecture} on {board}, {batch} at once"));
                let predicted = training_rate(board, architecture, batch, peaks);
                let measured = card.training_speed(config, architecture, batch, effort);
                add(network("training", "samples/s", config, &predicted, measured, peaks));
            }
        }
    }
}

fn network<P: Display, M: Display>(
    what: &'static str,
    unit: &'static str,
    config: Config,
    predicted: &Result<NetworkRate, P>,
    measured: Result<Speed, M>,
    peaks: &Peaks,
) -> Figure {
    let rate = match predicted {
        Ok(rate) => rate,
        Err(error) => {
            return Figure {
                error: Some(error.to_string()),
                ..Figure::new(what, unit, config.key(), None, 0)
            };
        }
    };
    let mut figure = Figure::new(what, unit, config.key(), Some(rate.network.clone()), rate.batch);
    figure.roofline_per_s = Some(rate.roofline_per_s);
    figure.predicted_per_s = Some(rate.predicted_per_s);
    figure.flops = Some(rate.flops);
    figure.memory_bytes = Some(rate.memory_bytes);
    figure.measured(measured, peaks)
}

fn random_games(card: Card, config: Config, peaks: &Peaks, quick: bool) -> Figure {
    let at_once = if quick { games_at_once(config.board) / 8 } else { games_at_once(config.board) };
    progress(&format!("{at_once} random games of {config}"));
    let measured = card.games_speed(config, at_once, if quick { 3 } else { 7 });
    let mut figure = Figure::new("random games", "games/s", config.key(), None, at_once as usize);
    if let Ok(rate) = games_rate(config, at_once, peaks) {
        figure.roofline_per_s = Some(rate.roofline_per_s);
        figure.predicted_per_s = Some(rate.predicted_per_s);
    }
    figure.measured(measured, peaks)
}

/// Self-play as a node with a card has it play.
fn on_card(card: Card, config: Config, architecture: Architecture, peaks: &Peaks, quick: bool) -> Figure {
    let slots = if quick { waves::slots(config) / 4 } else { waves::slots(config) };
    let waves = Waves { slots, games: slots as u64, simulations: SelfplayConfig::default().simulations };
    let effort = Effort { repeats: 3, at_least: Duration::from_secs(if quick { 2 } else { 10 }) };
    let figure = Figure::new(ON_CARD, "games/s", config.key(), Some(architecture.size()), slots);
    match card.waves_speed(config, architecture, waves, effort) {
        Err(error) => figure.measured(Err(error), peaks),
        Ok(found) => {
            let took = SelfplayFigures {
                threads: 1,
                parallel_games: slots,
                seconds: found.seconds,
                games_per_s: found.speed.median,
                evaluations_per_s: found.evaluations_per_s,
                decisions_per_game: found.decisions_per_game,
                evaluations_per_decision: found.evaluations_per_decision,
                batch: slots as f64,
            };
            played(figure, took, found.speed, (config, architecture), peaks)
        }
    }
}

/// Self-play as a node plays it in place of its card.
fn on_host(card: Card, config: Config, architecture: Architecture, peaks: &Peaks, quick: bool) -> Figure {
    let length = Duration::from_secs(if quick { 5 } else { 30 });
    let mut figure = Figure::new(ON_HOST, "games/s", config.key(), Some(architecture.size()), 0);
    let found = selfplay::run(card, config, architecture, length).and_then(|found| {
        let speed = Speed::of(vec![found.games_per_s]).filter(|speed| speed.median > 0.0);
        Ok((speed.ok_or_else(|| anyhow::anyhow!("no game ended"))?, found))
    });
    match found {
        Err(error) => figure.measured(Err(format!("{error:#}")), peaks),
        Ok((speed, found)) => {
            figure.batch = found.batch.round() as usize;
            played(figure, found, speed, (config, architecture), peaks)
        }
    }
}

/// With the card's share: all that it could evaluate at most, spread over the evaluations of a game.
fn played(
    mut figure: Figure,
    took: SelfplayFigures,
    speed: Speed,
    (config, architecture): (Config, Architecture),
    peaks: &Peaks,
) -> Figure {
    let of_game = took.decisions_per_game * took.evaluations_per_decision;
    let rate = forward_rate(config.board, architecture, figure.batch.max(1), peaks).ok();
    figure.roofline_per_s = rate.map(|rate| rate.roofline_per_s / of_game.max(1.0));
    figure.selfplay = Some(took);
    figure.measured(Ok::<_, String>(speed), peaks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gauge::h200;

    #[test]
    fn self_play_has_its_share_of_what_the_card_evaluates_at_most() {
        let (peaks, config) = (Peaks::of(&h200()), Config { board: Board::Hex8, seats: 2 });
        let architecture = sizes(Board::Hex8)[2];
        let most = forward_rate(Board::Hex8, architecture, 4096, &peaks).unwrap().roofline_per_s;
        let took = SelfplayFigures {
            threads: 1,
            parallel_games: 4096,
            seconds: 30.0,
            games_per_s: 10.0,
            evaluations_per_s: 10.0 * 72.0 * 7.0,
            decisions_per_game: 72.0,
            evaluations_per_decision: 7.0,
            batch: 4096.0,
        };
        let figure = Figure::new(ON_CARD, "games/s", config.key(), Some(architecture.size()), 4096);
        let speed = Speed::of(vec![10.0]).unwrap();
        let figure = played(figure, took, speed, (config, architecture), &peaks);
        let share = figure.share_of_roofline.unwrap();
        assert!((share / (10.0 * 72.0 * 7.0 / most) - 1.0).abs() < 1e-9, "{share}");
        assert!(figure.predicted_per_s.is_none() && figure.selfplay.is_some());
    }
}
