//! What the product rests on: full checkpoints from a device, and devices that fail or lie.

use crate::device::evaluator::DeviceEvaluator;
use crate::device::failures::FailureCount;
use crate::device::kernel::KernelName;
use crate::device::tests::emulated::{Emulated, EmulatedMemory};
use crate::device::tests::steps::assert_moved;
use crate::device::tests::{assert_close, network, samples};
use crate::device::train::DeviceTrainer;
use crate::device::trial::evaluations::evaluations;
use crate::device::trial::trial;
use crate::device::{Device, Launch, ReplayDevice};
use crate::error::DeviceError;
use crate::network::architecture::Architecture;
use crate::network::cpu::CpuEvaluator;
use crate::network::evaluator::{Evaluator, Query};
use crate::training::checkpoint::Checkpoint;
use crate::training::optimizer::Optimizer;
use crate::training::train::Train;
use crate::training::trainer::Trainer;
use rules::{Board, Config, Hex8, Options, State};
use std::cell::Cell;
use std::sync::Arc;
use wire::Hash;

/// What goes wrong with a device.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// This many launches are done, and no more.
    After(u32),
    /// One kernel is not run, and nobody is told.
    Skips(KernelName),
    /// All that comes back is zeros.
    Zeros,
}

/// Emulation with a fault.
pub(crate) struct Faulty {
    device: Emulated,
    fault: Fault,
    launches: Cell<u32>,
}

impl Faulty {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { device: Emulated::new(1), fault, launches: Cell::new(0) }
    }
}

impl Device for Faulty {
    type Memory = EmulatedMemory;

    fn allocate(&self, bytes: usize) -> Result<EmulatedMemory, DeviceError> {
        self.device.allocate(bytes)
    }

    fn address(&self, memory: &EmulatedMemory) -> u64 {
        self.device.address(memory)
    }

    fn upload(&self, memory: &EmulatedMemory, bytes: &[u8]) -> Result<(), DeviceError> {
        self.device.upload(memory, bytes)
    }

    fn download(&self, memory: &EmulatedMemory, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.device.download(memory, bytes)?;
        if let Fault::Zeros = self.fault {
            bytes.fill(0);
        }
        Ok(())
    }

    #[allow(unsafe_code, reason = "passes a launch on")]
    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), DeviceError> {
        let kernel = launch.kernel;
        match self.fault {
            Fault::After(count) if self.launches.get() >= count => {
                return Err(DeviceError::Kernel { kernel, reason: "as the test wants it".into() });
            }
            Fault::Skips(skipped) if skipped == kernel => return Ok(()),
            Fault::After(_) | Fault::Skips(_) | Fault::Zeros => {}
        }
        self.launches.set(self.launches.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { self.device.launch(launch) }
    }
}

/// Nothing can be recorded on it.
impl ReplayDevice for Faulty {
    type Recording = ();

    fn record(&self, _launches: impl FnOnce() -> Result<(), DeviceError>) -> Result<(), DeviceError> {
        Err(DeviceError::Unsupported("as the test wants it".into()))
    }

    #[allow(unsafe_code, reason = "part of the trait")]
    unsafe fn replay(&self, _recording: &()) -> Result<(), DeviceError> {
        Err(DeviceError::Unsupported("there is no recording".into()))
    }
}

fn small() -> Architecture {
    Architecture { blocks: 1, channels: 32, ..Architecture::small(Board::Hex8) }
}

fn parent() -> Checkpoint {
    Checkpoint::seeded(Config { board: Board::Hex8, seats: 2 }, small(), 1)
}

#[test]
fn a_device_is_tried_out() {
    assert_eq!(trial(Emulated::new(2)), Ok(()));
    let failed = trial(Faulty::new(Fault::After(3)));
    assert!(matches!(failed, Err(DeviceError::Kernel { .. })), "{failed:?}");
    for kernel in ["tower_32", "policy_logits"] {
        let wrong = trial(Faulty::new(Fault::Skips(kernel)));
        assert!(matches!(wrong, Err(DeviceError::Unsupported(_))), "without {kernel}: {wrong:?}");
    }
    let wrong = trial(Faulty::new(Fault::Zeros)).unwrap_err().to_string();
    assert!(
        wrong.starts_with("unsupported CUDA device: logits of 32 positions, b4c32-hex on hex8: "),
        "{wrong}"
    );
}

/// To say of every position that it is even, and of every move that it is as good as any, is wrong twice.
#[test]
fn a_device_that_says_nothing_is_found_out_by_logits_and_by_values() {
    let config = Config { board: Board::Hex8, seats: 2 };
    let found = evaluations(|| Ok(Faulty::new(Fault::Zeros)), config, (4, 32), &[32]).unwrap();
    assert_eq!(found.len(), 2);
    for one in found {
        assert!(!one.agrees(), "{one:?}");
    }
}

#[test]
fn an_evaluator_that_fails_goes_on_on_the_cpu_and_is_counted_once() {
    let network = Arc::new(network(small(), 1));
    let (state, mut legal) = (State::<Hex8>::new(2, Options::default()), Vec::new());
    state.legal(&mut legal);
    let query = [Query { state: &state, legal: &legal }];
    let want = CpuEvaluator::new(Arc::clone(&network)).evaluate(&query);
    let failures = FailureCount::default();
    let device = Faulty::new(Fault::After(0));
    let mut evaluator = DeviceEvaluator::new(device, network).unwrap().counting(failures.clone());
    for _ in 0..3 {
        assert_eq!(evaluator.evaluate(&query), want);
        let failures = failures.get();
        assert_eq!(failures.count, 1);
        assert!(matches!(failures.last, Some(DeviceError::Kernel { .. })), "{failures:?}");
    }
}

#[test]
fn a_run_on_a_device_leaves_a_checkpoint_that_any_backend_goes_on_from() {
    let (batch, packed) = samples::<Hex8>(2, 4);
    let parent = parent();
    let optimizer = Optimizer { warmup: 1, ..Optimizer::default() };
    let hash = Hash::of(&parent.to_bytes());
    let on_device = |from: &Checkpoint| {
        let mut trainer = DeviceTrainer::new(Emulated::new(1), from, Board::Hex8, optimizer, 4).unwrap();
        trainer.step(&packed, 0, 2).unwrap();
        trainer.step(&packed, 1, 2).unwrap();
        Checkpoint::trained(&trainer, from, hash, 9).unwrap().unwrap()
    };
    let on_cpu = |from: &Checkpoint| {
        let mut trainer = Trainer::new(from, Board::Hex8, optimizer);
        trainer.step(&batch, 0, 2).unwrap();
        trainer.step(&batch, 1, 2).unwrap();
        Checkpoint::trained(&trainer, from, hash, 9).unwrap().unwrap()
    };
    let (child, reference) = (on_device(&parent), on_cpu(&parent));
    assert_eq!(child.header, reference.header);
    assert_eq!((child.header.step, child.header.generation, child.header.parent), (2, 1, Some(hash)));
    assert_eq!(child.moments.as_ref().unwrap().steps, 2);
    assert_moved("raw", &child.raw, &reference.raw, &parent.raw, 0.3);
    let [average, wanted, start] = [&child, &reference, &parent].map(|of| of.network.weights());
    assert_moved("average", average, wanted, start, 0.3);
    assert_ne!(child.raw, parent.raw);
    assert_ne!(child.raw, child.network.weights(), "the average is not the raw weights");
    assert_eq!(Checkpoint::from_bytes(&child.to_bytes()).unwrap(), child);
    for (grandchild, what) in [(on_device(&child), "device"), (on_cpu(&child), "CPU")] {
        let moments = grandchild.moments.as_ref().unwrap();
        assert_eq!((grandchild.header.step, moments.steps), (4, 4), "{what}");
    }
}

#[test]
fn the_average_is_evaluated_as_on_the_cpu() {
    let (batch, packed) = samples::<Hex8>(2, 5);
    let optimizer = Optimizer { learning_rate: 0.01, warmup: 1, average: 0.5, ..Optimizer::default() };
    let mut trainer = DeviceTrainer::new(Emulated::new(1), &parent(), Board::Hex8, optimizer, 5).unwrap();
    let mut losses = Vec::new();
    for step in 0..3 {
        let got = [trainer.evaluate(&packed).unwrap(), trainer.evaluate(&packed).unwrap()];
        assert_eq!(got[0], got[1], "evaluation changes nothing");
        let child = Checkpoint::trained(&trainer, &parent(), Hash([0; 32]), 0).unwrap().unwrap();
        let want = Trainer::new(&child, Board::Hex8, optimizer).evaluate([&batch]);
        let parts = |loss: crate::training::train::Loss| [loss.policy as f32, loss.value as f32];
        assert_close(&format!("after {step} steps"), &parts(got[0]), &parts(want), 0.02, 0.02);
        losses.push(got[0].total());
        trainer.step(&packed, step, 3).unwrap();
    }
    assert!(losses[2] < losses[0] && losses[1] != losses[0], "{losses:?}");
}

#[test]
fn a_run_that_fails_is_an_error() {
    let (_, packed) = samples::<Hex8>(2, 2);
    let device = Faulty::new(Fault::After(40));
    let mut trainer = DeviceTrainer::new(device, &parent(), Board::Hex8, Optimizer::default(), 2).unwrap();
    let failed = (0..9).find_map(|step| trainer.step(&packed, step, 9).err());
    assert!(
        matches!(failed, Some(crate::training::train::TrainError::Device(DeviceError::Kernel { .. }))),
        "{failed:?}"
    );
    assert!(trainer.evaluate(&packed).is_err());
}
