//! From work to time: what a launch takes at the card's peaks, and what it is predicted to take.

use crate::occupancy::Resources;
use crate::peaks::{Peaks, tensor_flops_per_cycle};
use kernels::dry_run::{LaunchGrid, Workload};
use serde::Serialize;

/// Bytes that shared memory moves in a cycle.
const SHARED_BYTES_PER_CYCLE: f64 = 128.0;
/// What is left of bandwidths when not everything is streamed.
const MEMORY_SHARE: f64 = 0.8;
const CACHE_SHARE: f64 = 0.7;
/// The shortest time from one launch to the next, in seconds: the driver's, from one host thread.
const LAUNCH: f64 = 3e-6;

/// What `mma.sync` reaches of the tensor cores' peak. On 9.0 only `wgmma` feeds them fully: 0.62 was measured
/// (*Luo et al. 2025*); 10.0 has another instruction again, for which the same is taken.
const fn mma_sync_share(capability: (u32, u32)) -> f64 {
    match capability {
        (9..=11, _) => 0.62,
        _ => 0.95,
    }
}

/// What so many warps of a scheduler hide of each other's waiting: with one, a step's loads and products
/// follow each other; with four, hardly anything is left to hide.
fn hidden(warps: f64) -> f64 {
    const TABLE: [(f64, f64); 5] = [(0.25, 0.25), (1.0, 0.5), (2.0, 0.7), (3.0, 0.8), (4.0, 0.85)];
    let (mut before, mut share) = (TABLE[0], TABLE[0].1);
    for point in TABLE {
        if warps >= point.0 {
            share = point.1;
        } else if warps > before.0 {
            share = before.1 + (point.1 - before.1) * (warps - before.0) / (point.0 - before.0);
        }
        before = point;
    }
    share
}

/// What decides how long a launch takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Tensor cores, or shared memory that feeds them.
    Tensor,
    /// The second-level cache.
    Cache,
    /// The memory of the card.
    Memory,
    /// Accesses to the first-level cache.
    Lines,
    /// A block's own products and waits, one after the other.
    Chain,
    /// The launch itself: the driver's work from one launch to the next.
    Launch,
}

/// How long a launch is predicted to take, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Predicted {
    pub(crate) seconds: f64,
    pub(crate) bound: Bound,
}

/// The time that the card's peaks allow, in seconds.
pub(crate) fn roofline(work: &Workload, peaks: &Peaks) -> f64 {
    (work.useful_flops / peaks.tensor_flops).max(work.memory_bytes / peaks.memory_bytes_per_s)
}

/// Everything overlaps with everything else but launches with each other: the slowest part decides.
/// `registers` of a thread and static shared memory of a block are the compiler's.
pub(crate) fn predict(
    grid: LaunchGrid,
    (registers, shared_bytes): (u32, u32),
    work: &Workload,
    peaks: &Peaks,
) -> Predicted {
    let shared_bytes = shared_bytes + grid.shared_bytes;
    let resources = Resources { threads: grid.threads, registers, shared_bytes };
    let occupancy = peaks.multiprocessor().occupancy(resources);
    let blocks = f64::from(grid.blocks.0) * f64::from(grid.blocks.1);
    let multiprocessors = f64::from(peaks.multiprocessors);
    let slots = multiprocessors * f64::from(occupancy.blocks.max(1));
    let waves = (blocks / slots).ceil();
    // With few blocks a multiprocessor has fewer than fit, and the last wave leaves some without.
    let at_once = (blocks / multiprocessors).ceil().min(f64::from(occupancy.blocks.max(1)));
    let warps = f64::from(grid.threads.div_ceil(32)) / 4.0;
    let filled = blocks / (waves * multiprocessors * at_once);
    let of_architecture = f64::from(tensor_flops_per_cycle(peaks.capability)) * peaks.cycles_per_s();
    let tensor_peak = (of_architecture * mma_sync_share(peaks.capability)).min(peaks.tensor_flops);
    let tensor = work.tensor_flops / tensor_peak;
    let shared = work.shared_bytes / (SHARED_BYTES_PER_CYCLE * peaks.cycles_per_s());
    let products = tensor.max(shared);
    // A block alone on its multiprocessor, which is the least that it takes beside others.
    let block = products * multiprocessors / blocks / hidden(warps) + work.chain / peaks.clock_hz;
    let parts = [
        (block * waves, Bound::Chain),
        (products / filled / hidden(at_once * warps), Bound::Tensor),
        (work.cache_bytes / (peaks.cache_bytes_per_s * CACHE_SHARE), Bound::Cache),
        (work.memory_bytes / (peaks.memory_bytes_per_s * MEMORY_SHARE), Bound::Memory),
        (work.lines / peaks.cycles_per_s() / filled, Bound::Lines),
        (LAUNCH, Bound::Launch),
    ];
    let (seconds, bound) = parts.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).expect("six parts");
    Predicted { seconds, bound }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peaks::h200;

    #[test]
    fn warps_hide_waiting() {
        for (warps, share) in
            [(0.1, 0.25), (0.25, 0.25), (1.0, 0.5), (1.5, 0.6), (2.0, 0.7), (4.0, 0.85), (16.0, 0.85)]
        {
            assert!((hidden(warps) - share).abs() < 1e-9, "{warps}: {}", hidden(warps));
        }
    }

    #[test]
    fn the_slowest_part_decides() {
        let peaks = Peaks::of(&h200());
        let grid = |blocks: u32| LaunchGrid { blocks: (blocks, 1), threads: 128, shared_bytes: 0 };
        let check = |blocks: u32, work: Workload, seconds: f64, bound: Bound| {
            let found = predict(grid(blocks), (32, 0), &work, &peaks);
            assert!((found.seconds / seconds - 1.0).abs() < 1e-6, "{found:?}");
            assert_eq!(found.bound, bound);
        };
        check(1, Workload::default(), LAUNCH, Bound::Launch);
        let memory = Workload { memory_bytes: 4.3e9, ..Workload::default() };
        check(132 * 16, memory, 1e-3 / MEMORY_SHARE, Bound::Memory);
        assert!((roofline(&memory, &peaks) - 1e-3).abs() < 1e-9);
        let chain = Workload { chain: peaks.clock_hz * 1e-3, ..Workload::default() };
        check(132 * 16, chain, 1e-3, Bound::Chain);
        check(132 * 16 + 1, chain, 2e-3, Bound::Chain);
        // 0.62 of 4096 a cycle, four warps a scheduler.
        let flops = 4096.0 * 0.62 * peaks.cycles_per_s();
        let tensor = Workload { tensor_flops: flops, useful_flops: flops, ..Workload::default() };
        check(132 * 4, tensor, 1.0 / 0.85, Bound::Tensor);
        // One block on one multiprocessor.
        check(1, tensor, 132.0 / 0.5, Bound::Tensor);
    }
}
