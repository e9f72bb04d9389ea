//! The harness finds the mistakes it is there for.

use crate::device::array::Array;
use crate::device::forward::{DeviceSpace, DeviceWeights};
use crate::device::kernel::KernelName;
use crate::device::kernel::LaunchGrid;
use crate::device::ops::conv::Epilogue;
use crate::device::ops::games::{Playouts, RESULT};
use crate::device::ops::weights_back::partial_len;
use crate::device::ops::{ConvShape, Ops};
use crate::device::tests::conv::graph;
use crate::device::tests::emulated::{Emulated, UNASKED};
use crate::device::tests::training::parent;
use crate::device::tests::wave::questions;
use crate::device::tests::{SCHEDULES, bf16, numbers, samples};
use crate::device::train::DeviceTrainer;
use crate::device::{Argument, Device, Launch};
use crate::encoding::game::pack_game;
use crate::encoding::taps::Taps;
use crate::error::DeviceError;
use crate::training::optimizer::Optimizer;
use crate::training::train::{Train as _, TrainError};
use rules::{Board, Hex8, NONE_CELL, Options, State};

/// What a planted kernel of 64 threads leaves in 64 numbers, or its error.
fn run(kernel: KernelName, seed: u64, extra: Option<i32>) -> Result<Vec<f32>, DeviceError> {
    let device = Emulated::new(seed);
    let out = Array::<_, f32>::new(&device, 64)?;
    let mut arguments = vec![Argument::Address(out.address())];
    arguments.extend(extra.map(Argument::Int));
    let grid = LaunchGrid { blocks: (1, 1), threads: 64, shared_bytes: 256 };
    // SAFETY: the kernel's arguments, and room for the 64 numbers it
    // should write; the red zone takes one more.
    #[allow(unsafe_code, reason = "launches a kernel with a planted mistake")]
    unsafe {
        device.launch(&Launch { kernel, grid, arguments: &arguments, cost: &|| UNASKED })?;
    }
    out.read(&device, 64)
}

fn assert_fails(kernel: KernelName, extra: Option<i32>, reason: &str) {
    for seed in 0..=SCHEDULES {
        let error = run(kernel, seed, extra).unwrap_err().to_string();
        assert!(error.contains(reason), "seed {seed}: {error}");
    }
}

#[test]
fn divergence_is_an_error() {
    assert_fails("planted_divergent_shuffle", None, "deadlock");
    assert_fails("planted_divergent_barrier", None, "divergent barrier");
}

#[test]
fn a_store_behind_the_end_is_an_error() {
    assert_fails("planted_store_behind_the_end", Some(64), "wrote outside");
    for seed in 0..=SCHEDULES {
        assert_eq!(run("planted_store_behind_the_end", seed, Some(63)).unwrap(), [1.0; 64]);
    }
}

#[test]
fn a_wrong_call_is_an_error() {
    assert_fails("planted_reverse", None, "do not fit");
    assert_fails("planted_nothing", None, "no such kernel");
}

#[test]
fn a_missing_barrier_shows() {
    let reversed: Vec<f32> = (0..64u8).rev().map(f32::from).collect();
    for seed in 0..=SCHEDULES {
        assert_eq!(run("planted_reverse", seed, Some(1)).unwrap(), reversed, "seed {seed}");
        assert_ne!(run("planted_reverse", seed, Some(0)).unwrap(), reversed, "seed {seed}");
    }
}

/// Under how many schedules a kernel's copy with a mistake is found out: it fails, or leaves something else.
fn found(
    kernel: KernelName,
    mutant: KernelName,
    run: impl Fn(&Emulated) -> Result<Vec<f32>, DeviceError>,
) -> u64 {
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let right = bits(run(&Emulated::new(0)).unwrap());
    let mut found = 0;
    for seed in 1..=SCHEDULES {
        assert!(bits(run(&Emulated::new(seed)).unwrap()) == right, "{kernel}, seed {seed}");
        let result = run(&Emulated::with_mutant(seed, kernel, mutant));
        found += u64::from(result.map_or(true, |values| bits(values) != right));
    }
    found
}

/// A convolution of 32 channels on a graph of fewer cells than a block has rows.
fn convolve(device: &Emulated) -> Result<Vec<f32>, DeviceError> {
    let taps = graph(61, 7);
    let shape = ConvShape::new(&taps, 1);
    let (x, w) = (bf16(&numbers(61 * 32, 1)), bf16(&numbers(7 * 32 * 32, 2)));
    let (x, w) = (Array::from_slice(device, &x)?, Array::from_slice(device, &w)?);
    let sources = Array::from_slice(device, &taps.sources)?;
    let y = Array::<_, f32>::new(device, 61 * 32)?;
    let after = Epilogue { y32: Some(&y), ..Epilogue::default() };
    Ops(device).conv(&x, (&w, 0), &sources, shape, (32, 32), &after)?;
    y.read(device, 61 * 32)
}

/// Each cell reads itself and the ones seven before and behind: as far as any may, from every cell.
fn chain(cells: usize) -> Taps {
    let of = |cell: Option<usize>| cell.filter(|&cell| cell < cells).map_or(NONE_CELL, |cell| cell as u16);
    let taps = |cell: usize| [Some(cell), cell.checked_sub(7), Some(cell + 7)].map(of);
    Taps { cells, taps: 3, sources: (0..cells).flat_map(taps).collect() }
}

/// Of boards that blocks of rows begin and end in the middle of.
fn convolve_boards(device: &Emulated) -> Result<Vec<f32>, DeviceError> {
    let taps = chain(100);
    let shape = ConvShape::new(&taps, 3);
    let rows = shape.rows();
    let (x, w) = (bf16(&numbers(rows * 16, 1)), bf16(&numbers(3 * 16 * 32, 2)));
    let (x, w) = (Array::from_slice(device, &x)?, Array::from_slice(device, &w)?);
    let sources = Array::from_slice(device, &taps.sources)?;
    let y = Array::<_, f32>::new(device, rows * 32)?;
    let after = Epilogue { y32: Some(&y), ..Epilogue::default() };
    Ops(device).conv(&x, (&w, 0), &sources, shape, (16, 32), &after)?;
    y.read(device, rows * 32)
}

/// Of 96 inputs, so that a block has several warps.
fn derive_by_weights(device: &Emulated) -> Result<Vec<f32>, DeviceError> {
    let (taps, count) = (graph(200, 3), 3 * 96 * 32);
    let shape = ConvShape::new(&taps, 1);
    assert_eq!(partial_len(shape, (96, 32)), count);
    let (x, dy) = (bf16(&numbers(200 * 96, 1)), bf16(&numbers(200 * 32, 2)));
    let (x, dy) = (Array::from_slice(device, &x)?, Array::from_slice(device, &dy)?);
    let sources = Array::from_slice(device, &taps.sources)?;
    let (partial, dw) = (Array::new(device, count)?, Array::<_, f32>::new(device, count)?);
    Ops(device).weights_back(&x, &dy, &sources, &partial, (&dw, 0), shape, (96, 32, 32))?;
    dw.read(device, count)
}

/// Of boards that splits begin and end in the middle of.
fn derive_of_boards(device: &Emulated) -> Result<Vec<f32>, DeviceError> {
    let (taps, count) = (chain(100), 3 * 16 * 32);
    let shape = ConvShape::new(&taps, 11);
    let (rows, room) = (shape.rows(), partial_len(shape, (16, 32)));
    assert_eq!(room, 3 * count);
    let (x, dy) = (bf16(&numbers(rows * 16, 1)), bf16(&numbers(rows * 32, 2)));
    let (x, dy) = (Array::from_slice(device, &x)?, Array::from_slice(device, &dy)?);
    let sources = Array::from_slice(device, &taps.sources)?;
    let (partial, dw) = (Array::new(device, room)?, Array::<_, f32>::new(device, count)?);
    Ops(device).weights_back(&x, &dy, &sources, &partial, (&dw, 0), shape, (16, 32, 32))?;
    dw.read(device, count)
}

fn scale(device: &Emulated) -> Result<Vec<f32>, DeviceError> {
    let gradient = Array::from_slice(device, &numbers(1000, 1))?;
    let (squares, scale) = (Array::new(device, 1)?, Array::<_, f32>::new(device, 2)?);
    Ops(device).scale(&gradient, &squares, &scale, 1e-3)?;
    scale.read(device, 2)
}

fn layer(device: &Emulated) -> Result<Vec<f32>, DeviceError> {
    let (x, w) =
        (Array::from_slice(device, &numbers(31 * 70, 1))?, Array::from_slice(device, &numbers(70 * 5, 2))?);
    let y = Array::<_, f32>::new(device, 31 * 5)?;
    Ops(device).dense(&x, (&w, 0), None, &y, (31, 70, 5), false)?;
    y.read(device, 31 * 5)
}

/// A step of training of a small network on a few positions; what it leaves of everything.
fn step(device: &Emulated) -> Result<Vec<f32>, DeviceError> {
    let parent = parent(Board::Hex8, (1, 32), 2);
    let (_, positions) = samples::<Hex8>(2, 3);
    let mut trainer = DeviceTrainer::new(device.again(), &parent, Board::Hex8, Optimizer::default(), 3)?;
    match trainer.step(&positions, 0, 1) {
        Ok(_) | Err(TrainError::NotFinite(_)) => Ok(trainer.state()?.concat()),
        Err(TrainError::Device(error)) => Err(error),
    }
}

/// An evaluation of positions by a network whose third block pools.
fn evaluate(device: &Emulated) -> Result<Vec<f32>, DeviceError> {
    let parent = parent(Board::Hex8, (3, 32), 2);
    let (_, packed) = samples::<Hex8>(2, 3);
    let positions = packed.packed.unwrap();
    let weights = DeviceWeights::new(device, parent.header.architecture, &parent.raw)?;
    let mut space = DeviceSpace::new(device, parent.header.architecture, Board::Hex8, 3, false)?;
    space.load(device, &positions)?;
    space.forward(device, &weights, &positions, true)?;
    space.logits.read(device, positions.moves())
}

/// Random games from the empty board: how they end, and where.
fn play(device: &Emulated) -> Result<Vec<f32>, DeviceError> {
    const GAMES: usize = 5;
    let mut start = Vec::new();
    pack_game(&State::<Hex8>::new(2, Options::default()), &mut start);
    let starts = Array::from_slice(device, &start)?;
    let results = Array::new(device, GAMES * RESULT)?;
    let playouts =
        Playouts { starts: &starts, start_count: 1, games: GAMES, seed: 1, first: 0, steps_max: 40 };
    Ops(device).playouts::<Hex8>(&playouts, &results, None)?;
    Ok(results.read(device, GAMES * RESULT)?.into_iter().map(f32::from_bits).collect())
}

/// Searches from the empty board on.
fn search(device: &Emulated) -> Result<Vec<f32>, DeviceError> {
    questions(device, 150)
}

type Run = fn(&Emulated) -> Result<Vec<f32>, DeviceError>;

/// Every barrier of the network's kernels whose absence can change a result. Not here: those that keep apart
/// what the same lanes write and read, or that stand behind a shuffle, at which emulated lanes meet anyway.
#[test]
fn a_missing_barrier_in_a_kernel_shows() {
    let cases: [(KernelName, KernelName, Run); 15] = [
        ("conv_32", "mutant_conv_without_barrier", convolve),
        ("weights_back_32", "mutant_weights_back_without_barrier", derive_by_weights),
        ("tower_32", "mutant_tower_without_barrier_before_the_pool", evaluate),
        ("policy_losses", "mutant_losses_without_barrier_of_the_warp", step),
        ("tower_32", "mutant_tower_without_barrier_of_the_weights", evaluate),
        ("tower_32", "mutant_tower_without_barrier_before_the_stem", evaluate),
        ("tower_32", "mutant_tower_without_barrier_behind_the_pool", evaluate),
        ("tower_32", "mutant_tower_without_barrier_behind_the_bias", evaluate),
        ("tower_32", "mutant_tower_without_barrier_at_the_end", evaluate),
        ("tower_32", "mutant_tower_without_barrier_of_what_is_pooled", evaluate),
        ("conv_32", "mutant_conv_without_barrier_of_a_warp", convolve),
        ("conv_32", "mutant_conv_without_second_barrier_of_a_warp", convolve),
        ("policy_back", "mutant_policy_back_without_barrier_of_the_warp", step),
        ("dense", "mutant_dense_without_barrier", layer),
        ("dense", "mutant_dense_without_second_barrier", layer),
    ];
    for (kernel, mutant, run) in cases {
        assert_eq!(found(kernel, mutant, run), SCHEDULES, "{mutant}");
    }
    // At a place that is passed once, not every schedule has a thread ahead of the others.
    assert!(found("conv_32", "mutant_conv_without_last_barrier", convolve) >= 3);
    assert!(found("gradient_norm", "mutant_norm_without_barrier", scale) >= 3);
}

/// Of the rules and the search, one barrier of each kind: behind a load, behind what one lane notes for all,
/// between the passes of a sort, before memory that was read is written anew. Not here: that of `gather`,
/// without which a lane reads what is no place, and then outside of all memory; and that behind each piece of
/// `cut_down`, where what is read next lies behind all that is being written.
#[test]
fn a_missing_barrier_in_a_game_shows() {
    let cases: [(KernelName, KernelName, Run); 4] = [
        ("playout_hex8", "mutant_load_without_last_barrier", play),
        ("playout_hex8", "mutant_look_without_last_barrier", play),
        ("wave_hex8", "mutant_sort_without_barrier", search),
        ("wave_hex8", "mutant_cut_down_without_barrier_before_the_store", search),
    ];
    for (kernel, mutant, run) in cases {
        assert_eq!(found(kernel, mutant, run), SCHEDULES, "{mutant}");
    }
}

#[test]
fn a_copy_that_is_not_awaited_shows_under_every_schedule() {
    let found = [
        found("conv_32", "mutant_conv_with_unawaited_copy", convolve),
        found("conv_32", "mutant_conv_with_unawaited_slab", convolve),
        found("weights_back_32", "mutant_weights_back_with_unawaited_copy", derive_by_weights),
        found("tower_32", "mutant_tower_with_unawaited_weights", evaluate),
    ];
    assert_eq!(found, [SCHEDULES; 4]);
}

#[test]
fn a_row_too_few_at_the_edge_of_what_is_copied_shows() {
    let cases: [(KernelName, KernelName, Run); 4] = [
        ("conv_32", "mutant_conv_with_a_row_too_few_before", convolve_boards),
        ("conv_32", "mutant_conv_with_a_row_too_few_behind", convolve_boards),
        ("weights_back_32", "mutant_weights_back_with_a_row_too_few_before", derive_of_boards),
        ("weights_back_32", "mutant_weights_back_with_a_row_too_few_behind", derive_of_boards),
    ];
    for (kernel, mutant, run) in cases {
        assert_eq!(found(kernel, mutant, run), SCHEDULES, "{mutant}");
    }
}

#[test]
fn a_store_too_many_and_a_divergent_shuffle_in_a_kernel_are_errors() {
    let cases: [(KernelName, KernelName, Run, &str); 4] = [
        ("conv_32", "mutant_conv_with_a_row_too_many", convolve, "wrote outside"),
        ("dense", "mutant_dense_with_a_store_too_many", layer, "wrote outside"),
        ("adamw", "mutant_adamw_with_a_store_too_many", step, "wrote outside"),
        ("policy_logits", "mutant_logits_with_divergent_shuffle", evaluate, "deadlock"),
    ];
    for (kernel, mutant, run, reason) in cases {
        run(&Emulated::new(0)).unwrap();
        for seed in 0..=SCHEDULES {
            let error = run(&Emulated::with_mutant(seed, kernel, mutant)).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(mutant), "seed {seed}: {error}");
        }
    }
}
