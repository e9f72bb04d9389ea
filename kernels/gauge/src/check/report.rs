//! What is said about a card: one document, and a table of it.

use super::{
    figure::{self, Figure},
    sanitizer::SanitizerRun,
    scope::{CheckPart, CheckScope},
    torch::TorchReport,
};
use crate::peaks::Peaks;
use kernels::proof::{CardProperties, Comparison};
use rules::Board;
use serde::Serialize;
use std::io::{self, Write};

/// The version of the document. It changes whenever the document is made up in another way.
const REPORT_VERSION: u32 = 2;

/// Everything that was found out.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    version: u32,
    /// Whether nothing is wrong, so far.
    pub ok: bool,
    /// Whether it came to its end; if not, what is missing was not done.
    pub complete: bool,
    date: String,
    /// What was asked for: parts, boards, and whether as little as possible of each.
    parts: Vec<CheckPart>,
    boards: Vec<&'static str>,
    quick: bool,
    /// The end of the report's name, which follows from them.
    #[serde(skip)]
    suffix: String,
    /// The version of this program.
    program: &'static str,
    /// BLAKE3 of the kernels' sources.
    kernels: String,
    /// The card; none if there is none.
    pub card: Option<CardDescription>,
    /// Why there is no card.
    pub unavailable: Option<String>,
    /// The most that the card can do.
    pub peaks: Option<Peaks>,
    /// What was held against the CPU, golden vectors or itself.
    pub correctness: Vec<Comparison>,
    /// A run for each tool.
    pub sanitizer: Vec<SanitizerRun>,
    /// What was measured.
    pub benchmarks: Vec<Figure>,
    /// The same networks in PyTorch.
    pub torch: Option<TorchReport>,
}

/// A card.
#[derive(Debug, Serialize)]
pub struct CardDescription {
    number: usize,
    name: String,
    capability: String,
    multiprocessors: u32,
    clock_hz: f64,
    memory_bytes: u64,
    /// The driver's version, where the system tells.
    driver: Option<String>,
    /// The version of CUDA that the driver is for.
    cuda: String,
    /// The image of our kernels that it runs, as in `sm_90a`.
    image: String,
}

impl CardDescription {
    /// The card of a number, with the version of its driver where the system tells it.
    #[must_use]
    pub fn of(number: usize, card: &CardProperties, driver: Option<String>) -> Self {
        Self {
            number,
            name: card.name.clone(),
            capability: format!("{}.{}", card.capability.0, card.capability.1),
            multiprocessors: card.multiprocessors,
            clock_hz: card.clock_hz,
            memory_bytes: card.memory_bytes,
            driver,
            cuda: card.driver.clone(),
            image: card.image.clone(),
        }
    }
}

impl CheckReport {
    /// A report of which nothing is found out yet.
    #[must_use]
    pub fn new(date: String, scope: &CheckScope) -> Self {
        Self {
            version: REPORT_VERSION,
            ok: true,
            complete: false,
            date,
            parts: scope.parts.clone(),
            boards: scope.boards.iter().copied().map(Board::as_str).collect(),
            quick: scope.quick,
            suffix: scope.suffix(),
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

    /// Whether all is well: everything agrees, nothing that was measured
    /// failed. What is not installed is no fault.
    pub(crate) fn judge(&mut self) {
        self.ok = self.correctness.iter().all(Comparison::agrees)
            && self.sanitizer.iter().all(|run| !run.is_fault())
            && self.benchmarks.iter().all(|figure| figure.error.is_none());
    }

    /// The name that it is kept under, by card, day and what of the check was asked for; none without a card.
    pub(crate) fn name(&self) -> Option<String> {
        let name = &self.card.as_ref()?.name;
        let clean = name.trim_start_matches("NVIDIA ").chars();
        let clean: String =
            clean.map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        let day = self.date.split('T').next().unwrap_or_default();
        Some(format!("{clean}-{day}{}", self.suffix))
    }

    /// Prints tables.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(card) = &self.card else {
            let reason = self.unavailable.as_deref().unwrap_or("not asked for");
            return writeln!(out, "no usable card: {reason}");
        };
        writeln!(
            out,
            "{} (capability {}, {} multiprocessors), driver {} for {}, kernels {} of {}",
            card.name,
            card.capability,
            card.multiprocessors,
            card.driver.as_deref().unwrap_or("unknown"),
            card.cuda,
            card.image,
            self.kernels.get(..12).unwrap_or_default()
        )?;
        if let Some(peaks) = &self.peaks {
            let (tera, giga) = (peaks.tensor_flops / 1e12, peaks.memory_bytes_per_s / 1e9);
            writeln!(out, "peaks: {tera:.0} TFLOP/s, {giga:.0} GB/s ({})", peaks.source)?;
        }
        self.print_correctness(out)?;
        figure::print(out, &self.benchmarks)?;
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
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::peaks::h200;
    use kernels::proof::Speed;

    /// Of a card about which nothing is known.
    pub(crate) fn report() -> CheckReport {
        of(&CheckScope::of(&[], &[], false))
    }

    fn of(scope: &CheckScope) -> CheckReport {
        let mut report = CheckReport::new("2026-01-31T12:00:00Z".into(), scope);
        report.card = Some(CardDescription::of(0, &h200(), Some("580.95.05".into())));
        report.peaks = Some(Peaks::of(&h200()));
        report
    }

    fn text(report: &CheckReport) -> String {
        let mut out = Vec::new();
        report.print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_report_is_kept_by_card_and_day() {
        assert_eq!(report().name().as_deref(), Some("h200-2026-01-31"));
        let part = CheckScope::of(&[CheckPart::Benchmarks], &[Board::Hex8], true);
        assert_eq!(of(&part).name().as_deref(), Some("h200-2026-01-31-benchmarks-hex8-quick"));
        assert_eq!(CheckReport::new("x".into(), &part).name(), None);
    }

    #[test]
    fn what_is_wrong_decides() {
        let mut found = report();
        found.judge();
        assert!(found.ok && text(&found).contains("all is well"));
        assert!(text(&found).contains("driver 580.95.05 for none, "), "{}", text(&found));
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
        failed.benchmarks.push(figure.measured(Err("no memory"), &Peaks::of(&h200())));
        failed.judge();
        assert!(!failed.ok && text(&failed).contains("FAILED: no memory"));
    }

    #[test]
    fn measured_and_predicted_stand_side_by_side() {
        let mut found = report();
        let mut figure = Figure::new("forward", "positions/s", "hex8_2p".into(), Some("b6c96".into()), 4096);
        figure.predicted_per_s = Some(4e6);
        figure.roofline_per_s = Some(8e6);
        let peaks = Peaks::of(&h200());
        figure.flops = Some(peaks.tensor_flops / 12e6);
        found.benchmarks.push(figure.measured(Ok::<_, &str>(Speed::of(vec![3e6]).unwrap()), &peaks));
        found.judge();
        let line = text(&found);
        for part in ["3.00 M", "8.00 M", "37.5 %", "25.0 %", "4.00 M", "0.75"] {
            assert!(line.contains(part), "{part} in {line}");
        }
        let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
        assert_eq!(json["version"], 2);
        assert_eq!(json["card"]["driver"], "580.95.05");
        assert_eq!((&json["parts"][3], &json["boards"][0]), (&"torch".into(), &"hex8".into()));
        assert_eq!(json["benchmarks"][0]["measured"]["median"], 3e6);
    }
}
