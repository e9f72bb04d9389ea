//! What the product would ask of a card: every launch of a pass, with its
//! cost, on a device that carries nothing out.
//!
//! Invariant: a pass is recorded as the product makes it, launch by
//! launch, so nothing is counted that is not done.

pub use crate::device::cost::{Cost, Workload};
pub use crate::device::kernel::LaunchGrid;

use crate::device::array::Array;
use crate::device::forward::{DeviceSpace, DeviceWeights};
use crate::device::games::playouts::results_of;
use crate::device::games::wave::Wave;
use crate::device::games::wave_games::WaveSettings;
use crate::device::kernel::KernelName;
use crate::device::ops::Ops;
use crate::device::train::DeviceTrainer;
use crate::device::trial::samples;
use crate::device::{Argument, Device, Launch, ReplayDevice};
use crate::encoding::game::pack_game;
use crate::error::DeviceError;
use crate::network::architecture::Architecture;
use crate::training::checkpoint::Checkpoint;
use crate::training::optimizer::Optimizer;
use crate::training::train::{Train as _, TrainError};
use parking_lot::Mutex;
use rules::{Board, Config, Options, State, Topology, with_board};
use std::sync::Arc;

/// Seats of the games that positions are taken from.
const SEATS: u8 = 2;

/// One game, searched as little as possible.
const SINGLE: WaveSettings = WaveSettings {
    slots: 1,
    seed: 1,
    swap: true,
    full: 1,
    quick: 1,
    full_share: 1.0,
    sampled: 0,
    sampled_spread: 1,
    opening_share: 0.0,
    opening_max: 1,
    exploration: 1.0,
    considered: 1,
    visit_offset: 50.0,
    value_scale: 1.0,
};

/// A launch that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedLaunch {
    /// The kernel's name in `cuda/`.
    pub kernel: KernelName,
    /// The size of the launch.
    pub grid: LaunchGrid,
    /// What the launch has to do.
    pub cost: Cost,
}

/// What a pass asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordedPass {
    /// Its launches, in order.
    pub launches: Vec<RecordedLaunch>,
    /// Bytes that are copied from the host to the card.
    pub bytes_up: usize,
}

/// A network's forward pass over `batch` packed positions that are on the card already.
///
/// # Errors
/// [`DeviceError::Architecture`] if there are no kernels for the network.
pub fn forward(board: Board, architecture: Architecture, batch: usize) -> Result<RecordedPass, DeviceError> {
    let recorder = Recorder::default();
    let packed = samples::packed(Config { board, seats: SEATS }, batch);
    let positions = packed.packed.as_ref().expect("a batch for a device");
    let network = samples::network(architecture);
    let weights = DeviceWeights::new(&recorder, architecture, network.weights())?;
    let mut space = DeviceSpace::new(&recorder, architecture, board, batch, false)?;
    space.load(&recorder, positions)?;
    recorder.take();
    space.expand(&recorder, batch)?;
    space.forward(&recorder, &weights, positions, true)?;
    Ok(recorder.take().pass)
}

/// A training step on `batch` samples, with the copies of the samples from the host.
///
/// # Errors
/// [`TrainError`] if there are no kernels for the network.
pub fn training(board: Board, architecture: Architecture, batch: usize) -> Result<RecordedPass, TrainError> {
    training_step(board, architecture, batch).map(|recorded| recorded.pass)
}

fn training_step(board: Board, architecture: Architecture, batch: usize) -> Result<Recorded, TrainError> {
    let recorder = Recorder::default();
    let config = Config { board, seats: SEATS };
    let packed = samples::filled(config, batch);
    let parent = Checkpoint::seeded(config, architecture, 1);
    let mut trainer = DeviceTrainer::new(recorder.clone(), &parent, board, Optimizer::default(), batch)?;
    recorder.take();
    trainer.step(&packed, 0, 1)?;
    Ok(recorder.take())
}

/// Random games from the empty board to their ends, so many at once.
///
/// # Errors
/// None on this device.
pub fn random_games(config: Config, at_once: u32) -> Result<RecordedPass, DeviceError> {
    let recorder = Recorder::default();
    with_board!(config.board, T => results_of::<_, T>(&recorder, config, at_once, 1))?;
    Ok(recorder.take().pass)
}

/// What lists, makes and searches moves on a board, one game each.
///
/// # Errors
/// None on this device.
pub fn single_games(board: Board) -> Result<RecordedPass, DeviceError> {
    with_board!(board, T => single_games_on::<T>())
}

fn single_games_on<T: Topology>() -> Result<RecordedPass, DeviceError> {
    let recorder = Recorder::default();
    let (mut game, config) = (Vec::new(), Config { board: T::BOARD, seats: SEATS });
    pack_game(&State::<T>::new(SEATS, Options::default()), &mut game);
    let (games, code) = (Array::from_slice(&recorder, &game)?, Array::new(&recorder, 1)?);
    Ops(&recorder).legal::<T>(&games, &code, &code, (1, 1))?;
    Ops(&recorder).apply::<T>(&games, &code, 1)?;
    let network = samples::network(Architecture::small(T::BOARD));
    let wave = Wave::<_, T>::new(recorder.clone(), config, &network, SINGLE)?;
    wave.search()?;
    wave.collect()?;
    Ok(recorder.take().pass)
}

/// A device that remembers what it was asked, and does nothing. Memory of it is an address.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Recorded>>);

/// What a recorder was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) pass: RecordedPass,
    /// The numbers among the arguments of all launches; negative ones are larger than any other.
    pub(crate) ints: Vec<usize>,
    /// How many launches there were before each read.
    pub(crate) reads_after: Vec<usize>,
    /// The first address that was never given out.
    pub(crate) next: u64,
}

impl Recorder {
    /// What was recorded since the last call.
    pub(crate) fn take(&self) -> Recorded {
        let mut recorded = self.0.lock();
        let next = recorded.next;
        std::mem::replace(&mut *recorded, Recorded { next, ..Recorded::default() })
    }
}

impl Device for Recorder {
    /// An address.
    type Memory = u64;

    fn allocate(&self, bytes: usize) -> Result<u64, DeviceError> {
        let mut recorded = self.0.lock();
        let at = recorded.next + 256;
        recorded.next = (at + bytes as u64).next_multiple_of(256);
        Ok(at)
    }

    fn address(&self, memory: &u64) -> u64 {
        *memory
    }

    fn upload(&self, _memory: &u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.0.lock().pass.bytes_up += bytes.len();
        Ok(())
    }

    /// Ones, as f32: every number is finite.
    fn download(&self, _memory: &u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        let mut recorded = self.0.lock();
        let launches = recorded.pass.launches.len();
        recorded.reads_after.push(launches);
        bytes.chunks_exact_mut(4).for_each(|word| word.copy_from_slice(&1.0f32.to_le_bytes()));
        Ok(())
    }

    #[allow(unsafe_code, reason = "part of the trait; nothing is run")]
    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), DeviceError> {
        let Launch { kernel, grid, arguments, cost } = *launch;
        let ints = arguments.iter().filter_map(|argument| match *argument {
            Argument::Int(value) => Some(value as usize),
            Argument::Address(_) | Argument::Float(_) => None,
        });
        let mut recorded = self.0.lock();
        recorded.ints.extend(ints);
        recorded.pass.launches.push(RecordedLaunch { kernel, grid, cost: cost() });
        Ok(())
    }
}

/// What is recorded is not replayed: the launches are there once.
impl ReplayDevice for Recorder {
    type Recording = ();

    fn record(&self, _launches: impl FnOnce() -> Result<(), DeviceError>) -> Result<(), DeviceError> {
        Ok(())
    }

    #[allow(unsafe_code, reason = "part of the trait; nothing is run")]
    unsafe fn replay(&self, _recording: &()) -> Result<(), DeviceError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::kernel::WIDTHS;
    use crate::device::ops;
    use std::collections::BTreeSet;

    #[test]
    fn nothing_is_read_before_a_training_step_is_launched() {
        let recorded = training_step(Board::Hex8, Architecture::small(Board::Hex8), 3).unwrap();
        let launches = recorded.pass.launches.len();
        assert!(launches > 10);
        assert_eq!(recorded.reads_after, [launches; 2], "the losses, and whether the gradient is finite");
    }

    /// The launches of networks, every one of which is counted, and those of games, none of which is.
    #[test]
    fn every_kernel_but_the_probes_is_recorded_with_its_cost() {
        let mut recorded = BTreeSet::new();
        for channels in WIDTHS.map(|width| width as u32) {
            for board in [Board::Hex8, Board::Square19] {
                let architecture = Architecture { channels, ..Architecture::small(board) };
                let passes =
                    [forward(board, architecture, 3).unwrap(), training(board, architecture, 3).unwrap()];
                for launch in passes.into_iter().flat_map(|pass| pass.launches) {
                    let Cost::Counted(work) = launch.cost else { panic!("{launch:?}") };
                    assert!(work.chain > 0.0 && work.cache_bytes.is_finite(), "{launch:?}");
                    recorded.insert(launch.kernel);
                }
            }
        }
        for board in Board::ALL {
            let random = random_games(Config { board, seats: SEATS }, 1).unwrap();
            let launches = random.launches.into_iter().chain(single_games(board).unwrap().launches);
            for launch in launches {
                assert!(matches!(launch.cost, Cost::Uncounted(_)), "{launch:?}");
                recorded.insert(launch.kernel);
            }
        }
        let kernels = ops::all().into_iter().filter(|kernel| !kernel.starts_with("probe_"));
        assert_eq!(recorded, kernels.collect());
    }
}
