//! How long a device takes: medians of several repeats, each long enough for the clock, after a warm-up.

use crate::device::Device;
use crate::device::forward::{DeviceSpace, DeviceWeights};
use crate::device::train::DeviceTrainer;
use crate::device::trial::samples;
use crate::error::DeviceError;
use crate::network::architecture::Architecture;
use crate::training::checkpoint::Checkpoint;
use crate::training::optimizer::Optimizer;
use crate::training::train::{Train as _, TrainError};
use rules::Config;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How long and how often to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// How many repeats.
    pub repeats: usize,
    /// The shortest time of a repeat.
    pub at_least: Duration,
}

/// Units of work per second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// The median of the repeats.
    pub median: f64,
    /// The slowest.
    pub least: f64,
    /// The fastest.
    pub most: f64,
    /// How many repeats.
    pub repeats: usize,
}

impl Speed {
    /// The speed of several measurements; none if there are none.
    #[must_use]
    pub fn of(mut rates: Vec<f64>) -> Option<Self> {
        rates.sort_by(f64::total_cmp);
        let (&least, &most) = (rates.first()?, rates.last()?);
        let (low, high) = (rates[(rates.len() - 1) / 2], rates[rates.len() / 2]);
        Some(Self { median: (low + high) / 2.0, least, most, repeats: rates.len() })
    }
}

/// Measures `pass`, which does `units` of work and may return before the device is done; `wait` waits for it.
fn measure<E>(
    effort: Effort,
    units: usize,
    mut pass: impl FnMut() -> Result<(), E>,
    wait: impl Fn() -> Result<(), E>,
) -> Result<Speed, E> {
    let mut passes = 1u32;
    loop {
        let began = Instant::now();
        for _ in 0..passes {
            pass()?;
        }
        wait()?;
        let took = began.elapsed();
        if took >= effort.at_least || passes >= 1 << 20 {
            break;
        }
        let factor = effort.at_least.as_secs_f64() / took.as_secs_f64().max(1e-6);
        passes = passes.saturating_mul(factor.ceil().clamp(2.0, 64.0) as u32).min(1 << 20);
    }
    let mut rates = Vec::with_capacity(effort.repeats);
    for _ in 0..effort.repeats.max(1) {
        let began = Instant::now();
        for _ in 0..passes {
            pass()?;
        }
        wait()?;
        rates.push(units as f64 * f64::from(passes) / began.elapsed().as_secs_f64());
    }
    Ok(Speed::of(rates).expect("at least one repeat"))
}

/// Positions per second from packed positions on the device to logits and values on the device.
pub(crate) fn forward<D: Device>(
    device: &D,
    config: Config,
    architecture: Architecture,
    batch: usize,
    effort: Effort,
) -> Result<Speed, DeviceError> {
    let board = config.board;
    let packed = samples::packed(config, batch);
    let positions = packed.packed.as_ref().expect("a batch for a device");
    let weights = DeviceWeights::new(device, architecture, samples::network(architecture).weights())?;
    let mut space = DeviceSpace::new(device, architecture, board, batch, false)?;
    space.load(device, positions)?;
    let pass = || {
        space.expand(device, batch)?;
        space.forward(device, &weights, positions, true)
    };
    measure(effort, batch, pass, || space.value.read(device, 1).map(|_| ()))
}

/// Samples per second of training steps on packed samples in the host's memory.
pub(crate) fn training<D: Device + Send>(
    device: D,
    config: Config,
    architecture: Architecture,
    batch: usize,
    effort: Effort,
) -> Result<Speed, TrainError>
where
    D::Memory: Send,
{
    let board = config.board;
    let packed = samples::filled(config, batch);
    let parent = Checkpoint::seeded(config, architecture, 1);
    let mut trainer = DeviceTrainer::new(device, &parent, board, Optimizer::default(), batch)?;
    // A step returns when its loss is on the host.
    measure(effort, batch, || trainer.step(&packed, 0, 1).map(|_| ()), || Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn the_median_is_in_the_middle() {
        for (rates, median) in [(vec![3.0], 3.0), (vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 3.0], 2.5)]
        {
            let speed = Speed::of(rates.clone()).unwrap();
            assert!((speed.median - median).abs() < 1e-12, "{speed:?}");
            assert_eq!(speed.repeats, rates.len());
            assert!(speed.least <= speed.median && speed.median <= speed.most);
        }
        assert_eq!(Speed::of(Vec::new()), None);
    }

    #[test]
    fn every_repeat_is_long_enough_and_waited_for() {
        let (passes, waits) = (Cell::new(0u32), Cell::new(0u32));
        let effort = Effort { repeats: 3, at_least: Duration::from_millis(1) };
        let pass = || {
            passes.set(passes.get() + 1);
            Ok::<_, ()>(())
        };
        let wait = || {
            waits.set(waits.get() + 1);
            Ok(())
        };
        let speed = measure(effort, 7, pass, wait).unwrap();
        assert!(speed.median > 0.0 && passes.get() >= 6, "{speed:?} {}", passes.get());
        assert!(waits.get() >= 4);
        assert!(measure(effort, 7, || Err("no"), || Ok(())).is_err());
    }
}
