//! What is said about a card: one document, and a table of it.

use super::{
    outside::{SanitizerRun, TorchReport},
    selfplay::SelfplayFigures,
};
use kernels::{
    proof::{Comparison, Speed},
    roofline::{Peaks, Properties},
};
use serde::Serialize;
use std::{
    fmt::Display,
    io::{self, Write},
};

/// Changes whenever the document is made up in another way.
const REPORT_VERSION: u32 = 1;

/// Everything that was found out.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: u32,
    /// Whether nothing is wrong.
    pub(super) ok: bool,
    date: String,
    /// Version of this program.
    program: &'static str,
    /// BLAKE3 of the kernels' sources.
    kernels: String,
    pub(super) card: Option<CardReport>,
    /// Why there is no card.
    pub(super) unavailable: Option<String>,
    pub(super) peaks: Option<Peaks>,
    pub(super) correctness: Vec<Comparison>,
    pub(super) sanitizer: Vec<SanitizerRun>,
    pub(super) benchmarks: Vec<Figure>,
    pub(super) torch: Option<TorchReport>,
}

/// A card.
#[derive(Debug, Serialize)]
pub(super) struct CardReport {
    number: usize,
    name: String,
    capability: String,
    multiprocessors: u32,
    clock_hz: f64,
    memory_bytes: u64,
    /// Which CUDA the driver is for.
    driver: String,
    /// Which image of our kernels it runs.
    image: String,
}

/// What was measured, or why it was not.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) what: &'static str,
    pub(super) unit: &'static str,
    pub(super) config: String,
    pub(super) network: Option<String>,
    /// Positions or games at once.
    pub(super) batch: usize,
    pub(super) measured: Option<Speed>,
    /// What the card's peaks allow.
    pub(super) roofline_per_s: Option<f64>,
    pub(super) share_of_roofline: Option<f64>,
    pub(super) share_of_tensor_peak: Option<f64>,
    pub(super) predicted_per_s: Option<f64>,
    /// Of a position, on tensor cores.
    pub(super) flops: Option<f64>,
    /// Of a position, to and from memory.
    pub(super) memory_bytes: Option<f64>,
    pub(super) selfplay: Option<SelfplayFigures>,
    pub(super) error: Option<String>,
}

impl Figure {
    pub(super) fn new(
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

    /// With what was measured, and its shares of what `roofline_per_s` and `flops` allow on a card with these peaks.
    pub(super) fn measured<E: Display>(mut self, measured: Result<Speed, E>, peaks: &Peaks) -> Self {
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

impl CardReport {
    pub(super) fn of(number: usize, card: &Properties) -> Self {
        Self {
            number,
            name: card.name.clone(),
            capability: format!("{}.{}", card.capability.0, card.capability.1),
            multiprocessors: card.multiprocessors,
            clock_hz: card.clock_hz,
            memory_bytes: card.memory_bytes,
            driver: card.driver.clone(),
            image: card.image.clone(),
        }
    }
}

/// A number of things per second, short.
pub(super) fn short(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{:.2} M", rate / 1e6),
        rate if rate >= 1e3 => format!("{:.1} k", rate / 1e3),
        rate => format!("{rate:.1}"),
    }
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

impl Report {
    /// Nothing found out yet.
    pub(super) fn new(date: String) -> Self {
        Self {
            version: REPORT_VERSION,
            ok: true,
            date,
            program: env!("CARGO_PKG_VERSION"),
            kernels: kernels::cuda::source_hash(),
            card: None,
            unavailable: None,
            peaks: None,
            correctness: Vec::new(),
            sanitizer: Vec::new(),
            benchmarks: Vec::new(),
            torch: None,
        }
    }

    /// Whether all is well: everything agrees, nothing that was measured failed. What is not installed is no fault.
    pub(super) fn judge(&mut self) {
        self.ok = self.correctness.iter().all(Comparison::agrees)
            && self.sanitizer.iter().all(|run| !run.is_fault())
            && self.benchmarks.iter().all(|figure| figure.error.is_none());
    }

    /// The name that it is kept under; none without a card.
    pub(super) fn file_name(&self) -> Option<String> {
        let name = &self.card.as_ref()?.name;
        let clean = name.trim_start_matches("NVIDIA ").chars();
        let clean: String =
            clean.map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        let day = self.date.split('T').next().unwrap_or_default();
        Some(format!("{clean}-{day}.json"))
    }

    /// Prints tables.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(super) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(card) = &self.card else {
            let reason = self.unavailable.as_deref().unwrap_or("not asked for");
            return writeln!(out, "no usable card: {reason}");
        };
        writeln!(
            out,
            "{} (capability {}, {} multiprocessors), driver for {}, kernels {} of {}",
            card.name,
            card.capability,
            card.multiprocessors,
            card.driver,
            card.image,
            self.kernels.get(..12).unwrap_or_default()
        )?;
        if let Some(peaks) = &self.peaks {
            let (tera, giga) = (peaks.tensor_flops / 1e12, peaks.memory_bytes_per_s / 1e9);
            writeln!(out, "peaks: {tera:.0} TFLOP/s, {giga:.0} GB/s ({})", peaks.source)?;
        }
        self.print_correctness(out)?;
        self.print_benchmarks(out)?;
        if let Some(torch) = &self.torch {
            torch.print(out, &self.benchmarks)?;
        }
        writeln!(out, "{}", if self.ok { "all is well" } else { "something is wrong" })
    }

    fn print_correctness(&self, out: &mut dyn Write) -> io::Result<()> {
        let wrong: Vec<_> = self.correctness.iter().filter(|one| !one.agrees()).collect();
        let worst = self.correctness.iter().filter_map(|one| one.worst).fold(0.0, f64::max);
        writeln!(
            out,
            "correctness: {} comparisons, {} wrong; the largest difference is {worst:.2} of what is allowed",
            self.correctness.len(),
            wrong.len()
        )?;
        for one in wrong {
            writeln!(out, "  WRONG {}: {}", one.what, one.wrong.as_deref().unwrap_or_default())?;
        }
        for run in &self.sanitizer {
            writeln!(out, "compute-sanitizer {}: {}", run.tool, run.describe())?;
        }
        Ok(())
    }

    fn print_benchmarks(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.benchmarks.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "{:<13}{:<13}{:<9}{:>7}{:>13}{:>9}{:>13}{:>7}{:>7}{:>13}{:>7}",
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
        for figure in &self.benchmarks {
            let median = figure.measured.as_ref().map(|speed| speed.median);
            let percent = |share: Option<f64>| or_dash(share.map(|share| format!("{:.1} %", share * 100.0)));
            let spread = figure.measured.as_ref().filter(|speed| speed.repeats > 1);
            let spread = spread.map(|speed| (speed.most - speed.least) / speed.median);
            let ratio = median.zip(figure.predicted_per_s).map(|(measured, predicted)| measured / predicted);
            writeln!(
                out,
                "{:<13}{:<13}{:<9}{:>7}{:>13}{:>9}{:>13}{:>7}{:>7}{:>13}{:>7}",
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
                    "    {} threads of {} games: {} evaluations/s, {:.2} a decision, {:.1} decisions a game",
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("2026-01-31T12:00:00Z".into());
        report.card = Some(CardReport::of(0, &Properties::h200()));
        report.peaks = Some(Properties::h200().peaks());
        report
    }

    fn text(report: &Report) -> String {
        let mut out = Vec::new();
        report.print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_report_is_kept_by_card_and_day() {
        assert_eq!(report().file_name().as_deref(), Some("h200-2026-01-31.json"));
        assert_eq!(Report::new("x".into()).file_name(), None);
    }

    #[test]
    fn what_is_wrong_decides() {
        let mut found = report();
        found.judge();
        assert!(found.ok && text(&found).contains("all is well"));
        let right =
            Comparison { what: "a".into(), compared: 1, tolerance: None, worst: Some(0.5), wrong: None };
        found.correctness.push(right.clone());
        found.judge();
        assert!(found.ok);
        found.correctness.push(Comparison { wrong: Some("b is c".into()), ..right });
        found.judge();
        assert!(!found.ok && text(&found).contains("WRONG a: b is c"), "{}", text(&found));
        let mut failed = report();
        let figure = Figure::new("forward", "positions/s", "hex8_2p".into(), Some("b6c96".into()), 256);
        failed.benchmarks.push(figure.measured(Err("no memory"), &Properties::h200().peaks()));
        failed.judge();
        assert!(!failed.ok && text(&failed).contains("FAILED: no memory"));
    }

    #[test]
    fn measured_and_predicted_stand_side_by_side() {
        let mut found = report();
        let mut figure = Figure::new("forward", "positions/s", "hex8_2p".into(), Some("b6c96".into()), 4096);
        figure.predicted_per_s = Some(4e6);
        figure.roofline_per_s = Some(8e6);
        let peaks = Properties::h200().peaks();
        figure.flops = Some(peaks.tensor_flops / 12e6);
        found.benchmarks.push(figure.measured(Ok::<_, &str>(Speed::of(vec![3e6]).unwrap()), &peaks));
        found.judge();
        let line = text(&found);
        for part in ["3.00 M", "8.00 M", "37.5 %", "25.0 %", "4.00 M", "0.75"] {
            assert!(line.contains(part), "{part} in {line}");
        }
        let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
        assert_eq!(json["version"], 1);
        assert_eq!(json["benchmarks"][0]["measured"]["median"], 3e6);
    }
}
