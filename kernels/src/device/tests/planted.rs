//! The harness finds the mistakes it is there for.

use super::{SCHEDULES, bf16, f32s, numbers, sources};
use crate::device::tests::emulated::Emulated;
use crate::device::{Argument, Array, Bf16, Device, DeviceError, Grid, KernelName};
use crate::taps::Taps;
use rules::Board;

/// What a planted kernel of 64 threads leaves in 64 numbers, or its error.
fn run(kernel: KernelName, seed: u64, extra: Option<i32>) -> Result<Vec<f32>, DeviceError> {
    let device = Emulated::new(seed);
    let out = Array::<_, f32>::new(&device, 64)?;
    let mut arguments = vec![Argument::Address(out.address())];
    arguments.extend(extra.map(Argument::Int));
    // SAFETY: the kernel's arguments, and room for the 64 numbers it should write; the red zone takes one more.
    #[allow(unsafe_code, reason = "launches a kernel with a planted mistake")]
    unsafe {
        device.launch(kernel, Grid { blocks: (1, 1), threads: 64, shared_bytes: 256 }, &arguments)?;
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

/// Under how many schedules the convolution gives another result than the right one.
fn wrong_results(kernel: KernelName) -> u64 {
    let taps = Taps::of(Board::Hex8);
    let (rows, k, n) = (taps.cells, 32, 32);
    let (x, w) = (bf16(&numbers(rows * k, 1)), bf16(&numbers(taps.taps * k * n, 2)));
    let result = |kernel: KernelName, seed: u64| {
        let device = Emulated::new(seed);
        let (x, w) = (Array::from_slice(&device, &x).unwrap(), Array::from_slice(&device, &w).unwrap());
        let (sources, y) = (sources(&device, Board::Hex8), Array::<_, Bf16>::new(&device, rows * n).unwrap());
        let mut arguments = vec![x.address(), w.address(), sources.address(), y.address()];
        arguments.resize(11, 0);
        let mut arguments: Vec<_> = arguments.into_iter().map(Argument::Address).collect();
        arguments.extend([rows, rows, taps.taps, k, 0].map(|value| Argument::Int(value as i32)));
        let grid = Grid { blocks: (1, 1), threads: 128, shared_bytes: 6 * (128 * 40 + 32 * 40) };
        // SAFETY: the arguments of `conv_32` for one board.
        #[allow(unsafe_code, reason = "launches a kernel with a planted mistake")]
        unsafe {
            device.launch(kernel, grid, &arguments).unwrap();
        }
        f32s(&y.read(&device, rows * n).unwrap())
    };
    let right = result("conv_32", 0);
    assert!(right.iter().all(|v| v.is_finite()));
    let wrong = |got: &[f32]| got.iter().zip(&right).any(|(a, b)| a.to_bits() != b.to_bits());
    (1..=SCHEDULES).filter(|&seed| wrong(&result(kernel, seed))).count() as u64
}

#[test]
fn a_convolution_without_its_barriers_or_waits_goes_wrong() {
    assert_eq!(wrong_results("conv_32"), 0);
    assert_eq!(wrong_results("planted_conv_without_barrier"), SCHEDULES);
    assert_eq!(wrong_results("planted_conv_without_wait"), SCHEDULES);
}
