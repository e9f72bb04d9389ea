//! How fast a card is, beside what it could be at most and what was predicted.

use super::{
    figure::{Figure, ON_CARD, ON_HOST, SelfplayFigures},
    live::LiveReport,
    scope::CheckScope,
};
use crate::{
    games::games_rate,
    peaks::Peaks,
    prediction::{batches, games_at_once},
    rates::{NetworkRate, forward_rate, sizes, training_rate},
};
use kernels::{
    Architecture,
    proof::{Card, Effort, Speed, Waves},
};
use rules::{Board, Config};
use std::{fmt::Display, time::Duration};

/// Where a network plays against itself: where the host's search, too, ends games in seconds.
const PLAYED: [Board; 2] = [Board::Hex8, Board::Square8];

/// Adds what networks and random games come to, one after the other; what failed says so.
pub fn measure_speed(card: Card, peaks: &Peaks, scope: &CheckScope, live: &mut LiveReport) {
    for &board in &scope.boards {
        for architecture in sizes(board) {
            for &batch in if scope.quick { &batches(board)[..2] } else { batches(board) } {
                networks(card, (board, architecture, batch), peaks, scope, live);
            }
        }
    }
    for config in scope.boards.iter().map(|&board| Config { board, seats: 2 }) {
        let figure = random_games(card, config, peaks, scope, live);
        add(live, figure);
    }
}

fn add(live: &mut LiveReport, figure: Figure) {
    live.change(|report| report.benchmarks.push(figure));
}

/// A network's pass forward and its training steps.
fn networks(
    card: Card,
    (board, architecture, batch): (Board, Architecture, usize),
    peaks: &Peaks,
    scope: &CheckScope,
    live: &mut LiveReport,
) {
    let (repeats, millis) = if scope.quick { (3, 50) } else { (7, 300) };
    let effort = Effort { repeats, at_least: Duration::from_millis(millis) };
    let config = Config { board, seats: 2 };
    live.tell(&format!("forward, {architecture} on {board}, {batch} at once"));
    let predicted = forward_rate(board, architecture, batch, peaks);
    let measured = card.forward_speed(config, architecture, batch, effort);
    add(live, network("forward", "positions/s", config, &predicted, measured, peaks));
    live.tell(&format!("training, {architecture} on {board}, {batch} at once"));
    let predicted = training_rate(board, architecture, batch, peaks);
    let measured = card.training_speed(config, architecture, batch, effort);
    add(live, network("training", "samples/s", config, &predicted, measured, peaks));
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

fn random_games(card: Card, config: Config, peaks: &Peaks, scope: &CheckScope, live: &LiveReport) -> Figure {
    let (at_once, repeats) =
        if scope.quick { (games_at_once(config.board) / 8, 3) } else { (games_at_once(config.board), 7) };
    live.tell(&format!("{at_once} random games of {config}"));
    let measured = card.games_speed(config, at_once, repeats);
    let mut figure = Figure::new("random games", "games/s", config.key(), None, at_once as usize);
    if let Ok(rate) = games_rate(config, at_once, peaks) {
        figure.roofline_per_s = Some(rate.roofline_per_s);
        figure.predicted_per_s = Some(rate.predicted_per_s);
    }
    figure.measured(measured, peaks)
}

/// What plays against itself, one after the other.
#[must_use]
pub fn selfplay_cases(scope: &CheckScope) -> Vec<(Config, Architecture)> {
    let boards = PLAYED.into_iter().filter(|board| scope.boards.contains(board));
    let of_board = |board: Board| [0, 2].map(|size| (Config { board, seats: 2 }, sizes(board)[size]));
    boards.flat_map(of_board).collect()
}

/// Self-play as a node with a card has it play: the card searches `slots` games at once.
#[must_use]
pub fn selfplay_on_card(
    card: Card,
    (config, architecture): (Config, Architecture),
    (slots, simulations): (usize, u32),
    peaks: &Peaks,
    quick: bool,
) -> Figure {
    let waves = Waves { slots, games: slots as u64, simulations };
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

/// Self-play as a node plays it in place of its card: what the caller measured of it.
#[must_use]
pub fn selfplay_on_host(
    (config, architecture): (Config, Architecture),
    found: Result<SelfplayFigures, String>,
    peaks: &Peaks,
) -> Figure {
    let mut figure = Figure::new(ON_HOST, "games/s", config.key(), Some(architecture.size()), 0);
    let found = found.and_then(|found| {
        let speed = Speed::of(vec![found.games_per_s]).filter(|speed| speed.median > 0.0);
        Ok((speed.ok_or("no game ended")?, found))
    });
    match found {
        Err(error) => figure.measured(Err(error), peaks),
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
    use crate::peaks::h200;

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
