//! The kernels in emulation against the CPU, under several schedules.

mod arguments;
mod backend;
mod conv;
pub(crate) mod emulated;
mod expand;
mod forward;
mod largest;
mod losses;
mod plain;
mod planted;
pub(crate) mod product;
mod rounded;
mod search;
mod small;
mod steps;
mod tower;
mod training;
mod update;
mod wave;
mod weights;

use crate::device::array::Plain;
use crate::device::array::{Array, Bf16};
use crate::device::ops::call::ArrayPart;
use crate::device::trial::comparison::apart;
use crate::device::trial::samples::{network_of as network, policy};
use crate::encoding::batch::Batch;
use crate::encoding::target::Target;
use emulated::Emulated;
use rules::playout::{self, Choices};
use rules::{Move, MoveKind, Options, State, Topology};

/// Every kernel is run under so many schedules.
pub(crate) const SCHEDULES: u64 = 8;

/// Runs a test under every schedule; a failure names its seed.
pub(crate) fn under_schedules(test: impl Fn(&Emulated)) {
    for seed in 1..=SCHEDULES {
        let device = Emulated::new(seed);
        test(&device);
    }
}

/// `|got - want| <= absolute + relative * |want|` everywhere.
fn assert_close(what: &str, got: &[f32], want: &[f32], absolute: f32, relative: f32) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= absolute + relative * w.abs(), "{what} [{i}]: {g} but {w}");
    }
}

/// The difference is no longer than `share` of what is wanted, or next to nothing.
fn assert_similar(what: &str, got: &[f32], want: &[f32], share: f64) {
    let (difference, whole) = apart(got, want);
    assert!(difference <= share * whole + 2e-3, "{what}: {difference} of {whole}");
}

/// Numbers between -1 and 1 that are exact in bf16, some of them zero.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut choices = Choices::new(seed);
    let mut number = || match choices.below(9) {
        0 => 0.0,
        _ => (choices.below(257) as f32 - 128.0) / 128.0,
    };
    (0..len).map(|_| number()).collect()
}

/// An array as long as a kernel needs, so that its red zones guard it, with its length.
struct Exact<T>(Array<Emulated, T>);

impl<T: Plain> Exact<T> {
    fn new(device: &Emulated, len: usize) -> Self {
        Self(Array::new(device, len).unwrap())
    }

    fn of(device: &Emulated, values: &[T]) -> Self {
        Self(Array::from_slice(device, values).unwrap())
    }

    fn read(&self, device: &Emulated) -> Vec<T> {
        self.0.read(device, self.0.len()).unwrap()
    }
}

/// A part of an array: what is before and behind it stays unwritten.
struct Inside(Array<Emulated, f32>);

impl Inside {
    const MARGIN: usize = 5;

    fn new(device: &Emulated, len: usize) -> Self {
        Self(Array::new(device, len + 2 * Self::MARGIN).unwrap())
    }

    fn part(&self) -> ArrayPart<'_, Emulated, f32> {
        (&self.0, Self::MARGIN)
    }

    fn read(&self, device: &Emulated) -> Vec<f32> {
        let mut all = self.0.read(device, self.0.len()).unwrap();
        let len = all.len() - 2 * Self::MARGIN;
        let behind = all.split_off(Self::MARGIN + len);
        let values = all.split_off(Self::MARGIN);
        assert!(all.iter().chain(&behind).all(|v| v.is_nan()), "wrote beside its part");
        values
    }
}

fn bf16(values: &[f32]) -> Vec<Bf16> {
    values.iter().map(|&value| Bf16::of(value)).collect()
}

fn f32s(values: &[Bf16]) -> Vec<f32> {
    values.iter().map(|value| value.to_f32()).collect()
}

/// Positions of random games: one with moves along rays, one for every kind of move that occurs, then any.
/// The last of several has no policy target. For the CPU and packed.
fn samples<T: Topology>(seats: u8, count: usize) -> (Batch, Batch) {
    let mut all: Vec<(State<T>, Vec<Move>)> = Vec::new();
    let mut choices = Choices::new(u64::from(seats));
    for _ in 0..if T::CELLS < 100 { 12 } else { 1 } {
        let start = State::<T>::new(seats, Options { swap: seats == 2, ..Options::default() });
        playout::play(start, &mut choices, &mut Vec::new(), |state, legal| {
            all.push((*state, legal.to_vec()))
        });
    }
    let has = |kind: MoveKind| {
        all.iter().position(|(_, legal)| legal.len() > 1 && legal.iter().any(|mv| mv.kind() == kind))
    };
    let kinds = std::iter::once(MoveKind::Move).chain(MoveKind::ALL.into_iter().rev());
    let mut chosen: Vec<usize> = kinds.filter_map(has).collect();
    chosen.extend((0..count).map(|_| choices.below(all.len())));
    chosen.truncate(count);
    let (mut batch, mut packed) = (Batch::new(T::BOARD), Batch::packed(T::BOARD));
    for (i, &at) in chosen.iter().enumerate() {
        let (state, legal) = &all[at];
        let teaches = i == 0 || i + 1 < chosen.len();
        let policy = if teaches { policy(legal.len()) } else { Vec::new() };
        let target = Target { policy: &policy, winner: choices.below(usize::from(seats)) as u8 };
        batch.push_sample(state, legal, target);
        packed.push_sample(state, legal, target);
    }
    assert_eq!((batch.len(), batch.policies()), (packed.len(), packed.policies()));
    (batch, packed)
}
