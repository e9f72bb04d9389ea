//! What a card can do at most with our kernels, and what it is predicted to do: without one.
//!
//! A pass is recorded launch by launch as the product makes it, so nothing is counted that is not done; what a launch has
//! to do is counted from its own numbers, how many of its blocks a multiprocessor holds from the compiler's report, and
//! both become a time. A measurement is held against it.

pub(crate) mod card;
pub(crate) mod games;
pub(crate) mod occupancy;
pub(crate) mod prediction;
pub(crate) mod recorder;
pub(crate) mod time;
pub(crate) mod work;

pub use card::{Peaks, Properties};
pub use games::{GamesRate, games_rate};
pub use occupancy::{Limit, Occupancy};
pub use prediction::{PREDICTION_VERSION, Prediction, batches, games_at_once};
pub use time::Bound;

use crate::device::card::image;
use crate::device::card::image::Image;
use crate::device::games::playouts::results_of;
use crate::device::games::wave;
use crate::device::games::{APPLY, LEGAL, PLAYOUT, WAVE, of_board, table_bytes};
use crate::device::trial::samples;
use crate::device::{Grid, forward, train};
use crate::error::DeviceError;
use crate::network::architecture::Architecture;
use crate::training::checkpoint::Checkpoint;
use crate::training::optimizer::Optimizer;
use crate::training::trainer::{Train as _, TrainError};
use recorder::{Launch, Recorded, Recorder};
use rules::{Board, Config, with_board};
use serde::Serialize;
use std::collections::BTreeMap;
use time::{predict, roofline};
use work::{Moves, Work, work};

/// What a prediction takes for granted, for a person.
pub const ASSUMPTIONS: [&str; 8] = [
    "a launch takes as long as the slowest of its parts; launches follow each other, at least 3 us apart",
    "mma.sync reaches 62 % of the tensor cores of 9.0 and 10.0 (only wgmma feeds them fully), 95 % of others",
    "with 1, 2, 3, 4 warps a scheduler, 50, 70, 80, 85 % of a multiprocessor's time goes to products",
    "shared memory moves 128 bytes a cycle; ldmatrix and cp.async share it with nothing else",
    "80 % of the memory's and 70 % of the cache's bandwidth; every weight streams through the cache for each block",
    "a plain loop has four loads under way; 550 cycles to memory, 270 to the cache, 33 to the first level",
    "copies from the host's pageable memory go at 10 GB/s and wait for nothing",
    "in random games 400 cycles pass from one operation of a warp to the next, of which emulation counted 57 to 87 a step",
];

/// Bytes per second from the host's memory to the card.
const COPY: f64 = 10e9;
/// The kernels that take the most time are named, so many.
const SLOWEST: usize = 3;

/// Positions or samples per second of a network on a board.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// The board's name.
    pub board: String,
    /// The network, as `b6c96`.
    pub network: String,
    /// Positions of a pass.
    pub batch: usize,
    /// Launches of a pass.
    pub launches: usize,
    /// Multiplications and additions of a position on tensor cores.
    pub flops: f64,
    /// Bytes of a position to and from memory.
    pub memory_bytes: f64,
    /// Bytes of a position out of the second-level cache.
    pub cache_bytes: f64,
    /// What the card's peaks allow.
    pub roofline_per_s: f64,
    /// What is predicted.
    pub predicted_per_s: f64,
    /// Of the tensor cores' peak, when the prediction holds.
    pub share_of_peak: f64,
    /// Where the time goes.
    pub slowest: Vec<Part>,
}

/// A kernel's part of a pass.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// Its name.
    pub kernel: String,
    /// Of the time.
    pub share: f64,
    /// What decides how long its longest launch takes.
    pub bound: Bound,
}

/// How full multiprocessors are with a kernel, as the network launches it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelOccupancy {
    /// What it was compiled for.
    pub target: String,
    /// Its name.
    pub kernel: String,
    /// Threads of a block.
    pub threads: u32,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes moved for lack of registers.
    pub spill_bytes: u32,
    /// Shared memory of a block, static and dynamic.
    pub shared_bytes: u32,
    /// How many fit.
    pub occupancy: Occupancy,
}

/// A network of a board, of the sizes that kernels are compiled for.
#[must_use]
pub fn sizes(board: Board) -> [Architecture; 4] {
    [(4, 32), (4, 64), (6, 96), (10, 128)].map(|(blocks, channels)| Architecture {
        blocks,
        channels,
        ..Architecture::small(board)
    })
}

/// Launches and moves of a pass.
struct Pass {
    recorded: Recorded,
    moves: Moves,
    batch: usize,
}

/// Of the games that positions are taken from.
const SEATS: u8 = 2;

fn record_forward(board: Board, architecture: Architecture, batch: usize) -> Result<Pass, DeviceError> {
    let recorder = Recorder::default();
    let packed = samples::packed(Config { board, seats: SEATS }, batch);
    let positions = packed.packed.as_ref().expect("a batch for a device");
    let network = samples::network(architecture);
    let weights = forward::Weights::new(&recorder, architecture, network.weights())?;
    let mut space = forward::Space::new(&recorder, architecture, board, batch, false)?;
    space.load(&recorder, positions)?;
    recorder.take();
    space.expand(&recorder, batch)?;
    space.forward(&recorder, &weights, positions, true)?;
    let count = positions.moves() as f64;
    Ok(Pass { recorded: recorder.take(), moves: Moves { count, each: count / batch as f64 }, batch })
}

fn record_training(board: Board, architecture: Architecture, batch: usize) -> Result<Pass, TrainError> {
    let recorder = Recorder::default();
    let config = Config { board, seats: SEATS };
    let packed = samples::filled(config, batch);
    let parent = Checkpoint::seeded(config, architecture, 1);
    let mut trainer =
        train::DeviceTrainer::new(recorder.clone(), &parent, board, Optimizer::default(), batch)?;
    recorder.take();
    trainer.step(&packed, 0, 1)?;
    let count = packed.packed.as_ref().map_or(0, |positions| positions.moves()) as f64;
    Ok(Pass { recorded: recorder.take(), moves: Moves { count, each: count / batch as f64 }, batch })
}

/// The image that a card of a compute capability runs, as the compiler reported it. What the driver would make of the PTX
/// nobody knows; the last cubin of the manifest stands for it.
fn image_of(capability: (u32, u32)) -> Result<Image, DeviceError> {
    let mut images = image::manifest()?.images;
    images.retain(|image| !image.kernels.is_empty());
    if images.is_empty() {
        return Err(DeviceError::Unsupported("the manifest of the kernels is empty".into()));
    }
    let of = |target: &&str| images.iter().position(|image| image.target == *target);
    let at = image::candidates(capability).iter().find_map(of).unwrap_or(images.len() - 1);
    Ok(images.swap_remove(at))
}

/// Registers of a thread and static shared memory of a block.
fn usage_of(image: &Image, kernel: &str) -> (u32, u32) {
    let usage = image.kernels.iter().find(|usage| usage.kernel == kernel);
    usage.map_or((255, 0), |usage| (usage.registers, usage.shared_bytes))
}

impl Pass {
    fn rate(&self, board: Board, architecture: Architecture, peaks: &Peaks, image: &Image) -> Rate {
        let mut sum = Work::default();
        let (mut seconds, mut ideal) = (self.recorded.bytes_up as f64 / COPY, 0.0);
        let mut parts: BTreeMap<&str, (f64, f64, Bound)> = BTreeMap::new();
        for launch in &self.recorded.launches {
            let work = work(launch, self.moves);
            let found = predict(launch, usage_of(image, launch.kernel), &work, peaks);
            ideal += roofline(&work, peaks);
            seconds += found.seconds;
            sum.useful_flops += work.useful_flops;
            sum.memory_bytes += work.memory_bytes;
            sum.cache_bytes += work.cache_bytes;
            let (all, longest, bound) = parts.entry(launch.kernel).or_insert((0.0, 0.0, found.bound));
            *all += found.seconds;
            if found.seconds > *longest {
                (*longest, *bound) = (found.seconds, found.bound);
            }
        }
        let mut slowest: Vec<Part> = parts
            .into_iter()
            .map(|(kernel, (all, _, bound))| Part { kernel: kernel.to_owned(), share: all / seconds, bound })
            .collect();
        slowest.sort_by(|a, b| b.share.total_cmp(&a.share));
        slowest.truncate(SLOWEST);
        let n = self.batch as f64;
        Rate {
            board: board.to_string(),
            network: architecture.size(),
            batch: self.batch,
            launches: self.recorded.launches.len(),
            flops: sum.useful_flops / n,
            memory_bytes: sum.memory_bytes / n,
            cache_bytes: sum.cache_bytes / n,
            roofline_per_s: n / ideal,
            predicted_per_s: n / seconds,
            share_of_peak: sum.useful_flops / seconds / peaks.tensor_flops,
            slowest,
        }
    }
}

/// Positions per second of a network's forward pass over positions that are on the card.
///
/// # Errors
/// [`DeviceError`] if there are no kernels for the network.
pub fn forward_rate(
    board: Board,
    architecture: Architecture,
    batch: usize,
    peaks: &Peaks,
) -> Result<Rate, DeviceError> {
    let image = image_of(peaks.capability)?;
    Ok(record_forward(board, architecture, batch)?.rate(board, architecture, peaks, &image))
}

/// Samples per second of training steps, with the copies of the samples from the host.
///
/// # Errors
/// [`TrainError`] if there are no kernels for the network.
pub fn training_rate(
    board: Board,
    architecture: Architecture,
    batch: usize,
    peaks: &Peaks,
) -> Result<Rate, TrainError> {
    let image = image_of(peaks.capability)?;
    Ok(record_training(board, architecture, batch)?.rate(board, architecture, peaks, &image))
}

/// A block of the search, which is a warp.
fn of_warp(kernel: &'static str, shared_bytes: usize) -> (&'static str, Launch) {
    let grid = Grid { blocks: (1, 1), threads: wave::THREADS, shared_bytes: shared_bytes as u32 };
    (kernel, Launch { kernel, grid, ints: Vec::new(), arrays: Vec::new() })
}

/// How full multiprocessors are with each kernel that the product launches, for every target.
///
/// # Errors
/// [`TrainError`] if a network cannot be recorded.
pub fn occupancies() -> Result<Vec<KernelOccupancy>, TrainError> {
    let mut launches: BTreeMap<&str, Launch> = BTreeMap::new();
    let mut add = |recorded: Recorded| {
        for launch in recorded.launches {
            let kept = launches.entry(launch.kernel).or_insert_with(|| launch.clone());
            let size = |launch: &Launch| (launch.grid.threads, launch.grid.shared_bytes);
            if size(&launch) > size(kept) {
                *kept = launch;
            }
        }
    };
    for board in [Board::Hex8, Board::Square19] {
        for architecture in sizes(board) {
            // So many that convolutions have their largest blocks.
            add(record_forward(board, architecture, 1024)?.recorded);
            add(record_training(board, architecture, 1024)?.recorded);
        }
    }
    for board in Board::ALL {
        let recorder = Recorder::default();
        let config = Config { board, seats: SEATS };
        let table = with_board!(board, T => {
            results_of::<_, T>(&recorder, config, 1, 1)?;
            table_bytes::<T>()
        });
        launches.extend([of_warp(of_board(board, WAVE), table)]);
        // What lists and plays moves is launched as what plays games.
        if let Some(launch) = recorder.take().launches.pop() {
            let kernels = [LEGAL, APPLY, PLAYOUT].map(|names| of_board(board, names));
            launches.extend(kernels.map(|kernel| (kernel, Launch { kernel, ..launch.clone() })));
        }
    }
    launches.extend([of_warp("wave_collect", 0)]);
    let mut found = Vec::new();
    for image in image::manifest()?.images {
        let Some(capability) = image::capability_of(&image.target) else { continue };
        for usage in &image.kernels {
            let Some(launch) = launches.get(usage.kernel.as_str()) else { continue };
            let shared_bytes = usage.shared_bytes + launch.grid.shared_bytes;
            let (threads, registers) = (launch.grid.threads, usage.registers);
            let resources = occupancy::Resources { threads, registers, shared_bytes };
            found.push(KernelOccupancy {
                target: image.target.clone(),
                kernel: usage.kernel.clone(),
                threads,
                registers,
                spill_bytes: usage.spill_stores + usage.spill_loads,
                shared_bytes,
                occupancy: occupancy::Multiprocessor::of(capability).occupancy(resources),
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::architecture::Layout;

    /// The convolutions of a position and the policy head's product, by hand.
    fn flops(board: Board, architecture: Architecture) -> f64 {
        let (cells, taps) = (board.cells(), Layout::new(architecture).stem_w.len / 48 / architecture.width());
        let (c, blocks) = (architecture.width(), architecture.blocks as usize);
        (2 * cells * (taps * 48 * c + 2 * blocks * taps * c * c + c * 96)) as f64
    }

    #[test]
    fn a_card_is_predicted_with_the_image_that_it_runs() {
        for (capability, expected) in [
            ((8, 0), "sm_80"),
            ((8, 6), "sm_86"),
            ((8, 7), "sm_86"),
            ((8, 9), "sm_89"),
            ((9, 0), "sm_90a"),
            ((10, 3), "sm_100"),
            // PTX, which has no figures of its own.
            ((11, 0), "sm_120"),
        ] {
            assert_eq!(image_of(capability).unwrap().target, expected, "{capability:?}");
        }
    }

    #[test]
    fn a_forward_pass_is_counted_as_it_is() {
        let peaks = Properties::h200().peaks();
        for board in Board::ALL {
            for architecture in sizes(board) {
                let rate = forward_rate(board, architecture, 5, &peaks).unwrap();
                let what = format!("{architecture} on {board}");
                assert!((rate.flops / flops(board, architecture) - 1.0).abs() < 1e-9, "{what}: {rate:?}");
                assert!(rate.predicted_per_s < rate.roofline_per_s, "{what}");
                assert!(rate.launches >= 7 && !rate.slowest.is_empty(), "{what}");
                assert!(rate.memory_bytes > (board.cells() * 96) as f64, "{what}");
            }
        }
    }

    #[test]
    fn a_training_step_is_three_times_the_arithmetic() {
        let peaks = Properties::h200().peaks();
        let [small, .., large] = sizes(Board::Hex8);
        for architecture in [small, large] {
            let rate = training_rate(Board::Hex8, architecture, 5, &peaks).unwrap();
            let c = architecture.width();
            // Nobody needs the derivative by the input of the stem.
            let stem = (2 * 61 * 7 * 48 * c) as f64;
            let expected = 3.0 * flops(Board::Hex8, architecture) - stem;
            assert!((rate.flops / expected - 1.0).abs() < 1e-9, "{} of {expected}", rate.flops);
            assert!(rate.predicted_per_s < rate.roofline_per_s);
        }
    }

    #[test]
    fn nothing_is_read_before_a_training_step_is_launched() {
        let [small, ..] = sizes(Board::Hex8);
        let recorded = record_training(Board::Hex8, small, 3).unwrap().recorded;
        let launches = recorded.launches.len();
        assert!(launches > 10);
        assert_eq!(recorded.reads_after, [launches; 2], "the losses, and whether the gradient is finite");
    }

    #[test]
    fn every_kernel_but_the_probes_fits_on_every_target() {
        let found = occupancies().unwrap();
        let kernels: std::collections::BTreeSet<_> = found.iter().map(|of| of.kernel.as_str()).collect();
        let mut known: std::collections::BTreeSet<_> = crate::device::KERNELS.into_iter().collect();
        known.retain(|kernel| !kernel.starts_with("probe_"));
        assert_eq!(kernels, known);
        for of in &found {
            assert!(of.occupancy.blocks >= 1, "{of:?}");
            assert_eq!(of.spill_bytes, 0, "{of:?}");
        }
        assert_eq!(found.len(), 6 * kernels.len());
    }
}
