//! How fast a card is, beside what it could be at most and what was predicted.

use super::{progress, report::Figure, selfplay};
use crate::config::SelfplayConfig;
use kernels::proof::{Card, Effort, Speed, Waves};
use kernels::roofline::{
    Peaks, Rate, batches, forward_rate, games_at_once, games_rate, sizes, training_rate,
};
use rules::{Board, Config};
use std::{fmt::Display, time::Duration};

/// Adds what was measured; what failed says so.
pub(super) fn run(card: Card, peaks: &Peaks, quick: bool, figures: &mut Vec<Figure>) {
    let (repeats, millis) = if quick { (3, 50) } else { (7, 300) };
    let effort = Effort { repeats, at_least: Duration::from_millis(millis) };
    for board in Board::ALL {
        let config = Config { board, seats: 2 };
        for architecture in sizes(board) {
            for &batch in if quick { &batches(board)[..2] } else { batches(board) } {
                progress(&format!("forward, {architecture} on {board}, {batch} at once"));
                let predicted = forward_rate(board, architecture, batch, peaks);
                let measured = card.forward_speed(config, architecture, batch, effort);
                figures.push(network("forward", "positions/s", config, &predicted, measured, peaks));
                progress(&format!("training, {architecture} on {board}, {batch} at once"));
                let predicted = training_rate(board, architecture, batch, peaks);
                let measured = card.training_speed(config, architecture, batch, effort);
                figures.push(network("training", "samples/s", config, &predicted, measured, peaks));
            }
        }
    }
    for config in Config::all().into_iter().filter(|config| config.seats == 2) {
        let at_once = if quick { games_at_once(config.board) / 8 } else { games_at_once(config.board) };
        progress(&format!("{at_once} random games of {config}"));
        let measured = card.games_speed(config, at_once, repeats);
        let mut figure = Figure::new("random games", "games/s", config.key(), None, at_once as usize);
        figure.predicted_per_s = games_rate(config, at_once, peaks).ok().map(|rate| rate.predicted_per_s);
        figures.push(figure.measured(measured, peaks));
    }
    for board in [Board::Hex8, Board::Square8] {
        let config = Config { board, seats: 2 };
        for architecture in [sizes(board)[0], sizes(board)[2]] {
            progress(&format!("self-play, {architecture}, {config}"));
            figures.push(self_play(card, config, architecture, peaks, quick));
            progress(&format!("self-play with the search on the card, {architecture}, {config}"));
            figures.push(self_play_on_the_card(card, config, architecture, peaks, quick));
        }
    }
}

fn network<P: Display, M: Display>(
    what: &'static str,
    unit: &'static str,
    config: Config,
    predicted: &Result<Rate, P>,
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

fn self_play(
    card: Card,
    config: Config,
    architecture: kernels::Architecture,
    peaks: &Peaks,
    quick: bool,
) -> Figure {
    let length = Duration::from_secs(if quick { 5 } else { 30 });
    let network = architecture.size();
    let mut figure = Figure::new("self-play", "games/s", config.key(), Some(network), 0);
    match selfplay::run(card, config, architecture, length) {
        Err(error) => figure.error = Some(format!("{error:#}")),
        Ok(found) => {
            figure.batch = found.batch.round() as usize;
            // The card's share: all that it could evaluate at most, spread over the evaluations of a game.
            let of_game = found.decisions_per_game * found.evaluations_per_decision;
            let rate = forward_rate(config.board, architecture, figure.batch.max(1), peaks).ok();
            figure.roofline_per_s = rate.map(|rate| rate.roofline_per_s / of_game.max(1.0));
            let speed = Speed::of(vec![found.games_per_s]).ok_or("no game ended");
            figure = figure.measured(speed, peaks);
            figure.selfplay = Some(found);
        }
    }
    figure
}

/// Self-play with the search on the card; the host only reads them when they are over.
fn self_play_on_the_card(
    card: Card,
    config: Config,
    architecture: kernels::Architecture,
    peaks: &Peaks,
    quick: bool,
) -> Figure {
    let slots = if quick { 1024 } else { 4096 };
    let waves = Waves { slots, games: slots as u64, simulations: SelfplayConfig::default().simulations };
    let effort = Effort { repeats: 3, at_least: Duration::from_secs(if quick { 2 } else { 10 }) };
    let network = format!("b{}c{}", architecture.blocks, architecture.channels);
    let measured = card.waves_speed(config, architecture, waves, effort);
    Figure::new("waves", "games/s", config.key(), Some(network), slots).measured(measured, peaks)
}
