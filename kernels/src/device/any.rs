//! Any processor there is, as a value: what self-play, training and evaluation are given.
//!
//! Invariant: there is always an evaluator. A card that cannot evaluate a network, or no longer,
//! leaves it to the CPU, and that is counted.

use crate::device::backend::{Backend, CpuBackend, CudaBackend};
use crate::device::failures::Failures;
use crate::device::games::wave_games::{PlayWaves, WaveSettings};
use crate::encoding::batch::Batch;
use crate::error::DeviceError;
use crate::network::cpu::CpuEvaluator;
use crate::network::evaluator::AnyEvaluator;
use crate::network::weights::Network;
use crate::training::checkpoint::Checkpoint;
use crate::training::optimizer::Optimizer;
use crate::training::train::Train;
use rules::{Board, Config};
use std::sync::Arc;

/// The CPU or a card; cheap to clone. Clones of a card count its failures together.
#[derive(Clone, Debug, Default)]
pub enum AnyBackend {
    /// The calling thread.
    #[default]
    Cpu,
    /// A card.
    Cuda(CudaBackend),
}

impl AnyBackend {
    /// Whether the backend is a card.
    #[must_use]
    pub fn is_card(&self) -> bool {
        match self {
            Self::Cpu => false,
            Self::Cuda(_) => true,
        }
    }

    /// [`Backend::evaluator`], which goes on on the CPU if the card fails, now or later.
    #[must_use]
    pub fn any_evaluator(&self, network: Arc<Network>) -> Box<dyn AnyEvaluator> {
        self.evaluator(Arc::clone(&network)).unwrap_or_else(|error| {
            tracing::error!(%error, card = self.describe(), "the CPU evaluates in place of the card");
            self.failed(&error);
            Box::new(CpuEvaluator::new(network))
        })
    }

    /// [`CudaBackend::waves`].
    ///
    /// # Errors
    /// [`DeviceError::Absent`] on the CPU, which has no search of its own; otherwise as the card.
    ///
    /// # Panics
    /// As the card.
    pub fn waves(
        &self,
        config: Config,
        network: &Network,
        settings: WaveSettings,
    ) -> Result<Box<dyn PlayWaves>, DeviceError> {
        match self {
            Self::Cpu => Err(DeviceError::Absent("games are searched by the host".to_owned())),
            Self::Cuda(card) => card.waves(config, network, settings),
        }
    }

    /// Counts a failure that the caller makes good on the CPU.
    pub fn failed(&self, error: &DeviceError) {
        match self {
            Self::Cpu => {}
            Self::Cuda(card) => card.failures().add(error),
        }
    }

    /// The failures of the card; none on the CPU.
    #[must_use]
    pub fn failures(&self) -> Failures {
        match self {
            Self::Cpu => Failures::default(),
            Self::Cuda(card) => card.failures().get(),
        }
    }
}

impl Backend for AnyBackend {
    fn describe(&self) -> String {
        match self {
            Self::Cpu => CpuBackend.describe(),
            Self::Cuda(card) => card.describe(),
        }
    }

    fn evaluator(&self, network: Arc<Network>) -> Result<Box<dyn AnyEvaluator>, DeviceError> {
        match self {
            Self::Cpu => CpuBackend.evaluator(network),
            Self::Cuda(card) => card.evaluator(network),
        }
    }

    fn batch(&self, board: Board) -> Batch {
        match self {
            Self::Cpu => CpuBackend.batch(board),
            Self::Cuda(card) => card.batch(board),
        }
    }

    fn trainer(
        &self,
        parent: &Checkpoint,
        board: Board,
        optimizer: Optimizer,
        positions_max: usize,
    ) -> Result<Box<dyn Train>, DeviceError> {
        match self {
            Self::Cpu => CpuBackend.trainer(parent, board, optimizer, positions_max),
            Self::Cuda(card) => card.trainer(parent, board, optimizer, positions_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::architecture::Architecture;
    use crate::network::evaluator::{Evaluator, Query};
    use rules::{Hex8, Options, State};

    #[test]
    fn the_cpu_is_a_backend_like_any_other() {
        let backend = AnyBackend::default();
        assert_eq!((backend.describe().as_str(), backend.is_card()), ("CPU", false));
        backend.failed(&DeviceError::Memory { bytes: 1 });
        assert_eq!(backend.failures(), Failures::default());
        // Of a width that no card has kernels for.
        let odd = Architecture { channels: 36, ..Architecture::small(Board::Hex8) };
        let network = Arc::new(Network::seeded(odd, 1));
        let (state, mut legal) = (State::<Hex8>::new(2, Options::default()), Vec::new());
        state.legal(&mut legal);
        let query = [Query { state: &state, legal: &legal }];
        let mut any = backend.any_evaluator(Arc::clone(&network));
        let any: &mut dyn Evaluator<Hex8> = &mut *any;
        assert_eq!(any.evaluate(&query), CpuEvaluator::new(network).evaluate(&query));
    }
}
