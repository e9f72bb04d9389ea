//! A prediction as tables in Markdown.

use crate::check::figure::short;
use crate::prediction::Prediction;
use crate::rates::NetworkRate;
use crate::time::Bound;
use std::io::{self, Write};

fn name(bound: Bound) -> &'static str {
    match bound {
        Bound::Tensor => "tensor cores",
        Bound::Cache => "L2",
        Bound::Memory => "memory",
        Bound::Lines => "L1",
        Bound::Chain => "latency",
        Bound::Launch => "launches",
    }
}

/// Prints a prediction as tables in Markdown.
///
/// # Errors
/// If they cannot be written.
pub fn print_prediction(out: &mut dyn Write, prediction: &Prediction) -> io::Result<()> {
    let peaks = &prediction.peaks;
    writeln!(
        out,
        "{}: {:.0} TFLOP/s, {:.1} TB/s, L2 {:.1} TB/s, {} multiprocessors at {:.2} GHz; kernels {}\n",
        peaks.card,
        peaks.tensor_flops / 1e12,
        peaks.memory_bytes_per_s / 1e12,
        peaks.cache_bytes_per_s / 1e12,
        peaks.multiprocessors,
        peaks.clock_hz / 1e9,
        prediction.kernels.get(..12).unwrap_or_default()
    )?;
    writeln!(out, "Taken for granted:\n")?;
    for assumption in &prediction.assumptions {
        writeln!(out, "- {assumption}")?;
    }
    print_rates(out, "forward, positions", &prediction.forward)?;
    print_rates(out, "training, samples", &prediction.training)?;
    writeln!(
        out,
        "\n| random games | at once | warps | steps a game | at most/s | predicted/s |\n|---|---|---|---|---|---|"
    )?;
    for rate in &prediction.random_games {
        let (most, per_s) = (short(rate.roofline_per_s), short(rate.predicted_per_s));
        writeln!(
            out,
            "| {} | {} | {} | {:.0} | {most} | {per_s} |",
            rate.config, rate.at_once, rate.warps, rate.steps
        )?;
    }
    writeln!(
        out,
        "\n| kernel | target | threads | registers | shared bytes | blocks | warps | occupancy | limit |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|")?;
    for of in &prediction.occupancy {
        let limit = serde_json::to_string(&of.occupancy.limit).map_err(io::Error::other)?;
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {:.0} % | {} |",
            of.kernel,
            of.target,
            of.threads,
            of.registers,
            of.shared_bytes,
            of.occupancy.blocks,
            of.occupancy.warps,
            of.occupancy.share * 100.0,
            limit.trim_matches('"').replace('_', " ")
        )?;
    }
    Ok(())
}

fn print_rates(out: &mut dyn Write, what: &str, rates: &[NetworkRate]) -> io::Result<()> {
    writeln!(
        out,
        "\n| {what} | network | batch | MFLOP each | kB memory | kB L2 | at most/s | predicted/s | of tensor peak | slowest |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|")?;
    for rate in rates {
        let slowest = rate
            .slowest
            .first()
            .map(|part| format!("{} {:.0} % ({})", part.kernel, part.share * 100.0, name(part.bound)));
        writeln!(
            out,
            "| {} | {} | {} | {:.1} | {:.0} | {:.0} | {} | {} | {:.1} % | {} |",
            rate.board,
            rate.network,
            rate.batch,
            rate.flops / 1e6,
            rate.memory_bytes / 1e3,
            rate.cache_bytes / 1e3,
            short(rate.roofline_per_s),
            short(rate.predicted_per_s),
            rate.share_of_peak * 100.0,
            slowest.unwrap_or_default()
        )?;
    }
    Ok(())
}
