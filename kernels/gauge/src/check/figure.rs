//! What was measured, beside what it could be at most and what was predicted.

use crate::peaks::Peaks;
use kernels::proof::Speed;
use serde::Serialize;
use std::{
    fmt::Display,
    io::{self, Write},
};

/// What was measured, or why it was not.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// What was measured, as in `forward`.
    pub what: &'static str,
    /// Its unit, as in `positions/s`.
    pub unit: &'static str,
    /// Board and seats, as in `hex8_2p`.
    pub config: String,
    /// Blocks and channels of the network, as in `b6c96`; none for random games.
    pub network: Option<String>,
    /// Positions or games at once.
    pub batch: usize,
    /// What was measured; none if it failed.
    pub measured: Option<Speed>,
    /// What the card's peaks allow.
    pub roofline_per_s: Option<f64>,
    /// The median as a share of what the peaks allow.
    pub share_of_roofline: Option<f64>,
    /// The median's arithmetic as a share of the peak of the tensor cores.
    pub share_of_tensor_peak: Option<f64>,
    /// What was predicted; none for games whose searches run on the host or on the card.
    pub predicted_per_s: Option<f64>,
    /// Multiplications and additions of a position on tensor cores.
    pub flops: Option<f64>,
    /// Bytes of a position to and from memory.
    pub memory_bytes: Option<f64>,
    /// What games of a network against itself took.
    pub selfplay: Option<SelfplayFigures>,
    /// Why nothing was measured.
    pub error: Option<String>,
}

/// What games of a network against itself took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SelfplayFigures {
    /// Threads of the host that play or have the card play.
    pub threads: usize,
    /// Games side by side, of each.
    pub parallel_games: usize,
    /// How long was measured.
    pub seconds: f64,
    /// Games that ended, per second.
    pub games_per_s: f64,
    /// Positions that the network evaluated, per second.
    pub evaluations_per_s: f64,
    /// Searched decisions of a game, on average.
    pub decisions_per_game: f64,
    /// Evaluations of a searched decision, on average.
    pub evaluations_per_decision: f64,
    /// Positions of a call, on average.
    pub batch: f64,
}

/// Games per second of a network against itself, as a node with a card plays them: the card searches.
pub(crate) const ON_CARD: &str = "self-play card";
/// The same where the card cannot search, or no longer: the host searches, and the card evaluates.
pub(crate) const ON_HOST: &str = "self-play host";

impl Figure {
    pub(crate) fn new(
        what: &'static str,
        unit: &'static str,
        config: String,
        network: Option<String>,
        batch: usize,
    ) -> Self {
        Self {
            what,
            unit,
            config,
            network,
            batch,
            measured: None,
            roofline_per_s: None,
            share_of_roofline: None,
            share_of_tensor_peak: None,
            predicted_per_s: None,
            flops: None,
            memory_bytes: None,
            selfplay: None,
            error: None,
        }
    }

    /// With what was measured, and its shares of what `roofline_per_s` and
    /// `flops` allow on a card with these peaks.
    #[must_use]
    pub fn measured<E: Display>(mut self, measured: Result<Speed, E>, peaks: &Peaks) -> Self {
        match measured {
            Ok(speed) => {
                self.share_of_roofline = self.roofline_per_s.map(|most| speed.median / most);
                self.share_of_tensor_peak = self.flops.map(|flops| speed.median * flops / peaks.tensor_flops);
                self.measured = Some(speed);
            }
            Err(error) => self.error = Some(error.to_string()),
        }
        self
    }
}

/// A number of things per second, short.
pub(crate) fn short(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{:.2} M", rate / 1e6),
        rate if rate >= 1e3 => format!("{:.1} k", rate / 1e3),
        rate => format!("{rate:.1}"),
    }
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// Prints a table.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn print(out: &mut dyn Write, figures: &[Figure]) -> io::Result<()> {
    if figures.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "{:<15}{:<13}{:<9}{:>7}{:>13}{:>9}{:>13}{:>7}{:>7}{:>13}{:>7}",
        "",
        "",
        "network",
        "batch",
        "per second",
        "spread",
        "at most",
        "of it",
        "tensor",
        "predicted",
        "ratio"
    )?;
    for figure in figures {
        let median = figure.measured.as_ref().map(|speed| speed.median);
        let percent = |share: Option<f64>| or_dash(share.map(|share| format!("{:.1} %", share * 100.0)));
        let spread = figure.measured.as_ref().filter(|speed| speed.repeats > 1);
        let spread = spread.map(|speed| (speed.most - speed.least) / speed.median);
        let ratio = median.zip(figure.predicted_per_s).map(|(measured, predicted)| measured / predicted);
        writeln!(
            out,
            "{:<15}{:<13}{:<9}{:>7}{:>13}{:>9}{:>13}{:>7}{:>7}{:>13}{:>7}",
            figure.what,
            figure.config,
            figure.network.as_deref().unwrap_or("-"),
            figure.batch,
            or_dash(median.map(short)),
            percent(spread),
            or_dash(figure.roofline_per_s.map(short)),
            percent(figure.share_of_roofline),
            percent(figure.share_of_tensor_peak),
            or_dash(figure.predicted_per_s.map(short)),
            or_dash(ratio.map(|ratio| format!("{ratio:.2}")))
        )?;
        if let Some(found) = &figure.selfplay {
            writeln!(
                out,
                "    threads {}, games on each {}; {} evaluations/s, {:.2} a decision, {:.1} decisions a game",
                found.threads,
                found.parallel_games,
                short(found.evaluations_per_s),
                found.evaluations_per_decision,
                found.decisions_per_game
            )?;
        }
        if let Some(error) = &figure.error {
            writeln!(out, "    FAILED: {error}")?;
        }
    }
    Ok(())
}
