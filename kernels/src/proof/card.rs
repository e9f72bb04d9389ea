//! A card that is to be proven.

use crate::device::card::Cuda;
use crate::device::card::properties::CardProperties;
use crate::device::evaluator::DeviceEvaluator;
use crate::device::games::playouts::playouts;
use crate::device::trial::comparison::Comparison;
use crate::device::trial::evaluations;
use crate::error::DeviceError;
use crate::network::architecture::Architecture;
use crate::network::evaluator::{Evaluation, Evaluator, Query};
use crate::network::weights::Network;
use crate::proof::golden::{PROBES, Vector};
use crate::proof::referee::Referee;
use crate::proof::timing::{Effort, Speed};
use crate::proof::waves::{self, Waves};
use crate::proof::waves_speed::{self, WavesSpeed};
use crate::proof::{again, passes, recorded, timing, training};
use crate::training::train::TrainError;
use parking_lot::Mutex;
use rules::{Config, Topology, with_board};
use std::io::BufRead;
use std::sync::Arc;

/// A CUDA card.
#[derive(Clone, Copy, Debug)]
pub struct Card {
    ordinal: usize,
}

impl Card {
    /// The card of a number, once its kernels were loaded on trial.
    ///
    /// # Errors
    /// [`DeviceError`] says why it cannot be used.
    pub fn open(ordinal: usize) -> Result<Self, DeviceError> {
        Cuda::open(ordinal).map(|_| Self { ordinal })
    }

    fn cuda(self) -> Result<Cuda, DeviceError> {
        Cuda::open(self.ordinal)
    }

    /// The card as the driver describes it.
    ///
    /// # Errors
    /// [`DeviceError`] if it does not answer.
    pub fn properties(self) -> Result<CardProperties, DeviceError> {
        self.cuda()?.properties()
    }

    /// Compares every primitive with its golden vector.
    ///
    /// # Errors
    /// [`DeviceError`] if the card cannot be opened; what fails later is in the comparison.
    pub fn golden(self) -> Result<Vec<Comparison>, DeviceError> {
        let cuda = self.cuda()?;
        Ok(PROBES.iter().map(|probe| probe.check(&cuda)).collect())
    }

    /// The card's own golden vectors.
    ///
    /// # Errors
    /// [`DeviceError`] if a probe fails.
    pub fn vectors(self) -> Result<Vec<Vector>, DeviceError> {
        let cuda = self.cuda()?;
        let source = cuda.properties()?.name;
        PROBES.iter().map(|probe| probe.vector(&cuda, &source)).collect()
    }

    /// Compares evaluations of batches of so many positions each with the CPU's, for
    /// a network of so many blocks and channels.
    ///
    /// # Errors
    /// [`DeviceError`] if the card fails.
    pub fn evaluations(
        self,
        config: Config,
        size: (u32, u32),
        counts: &[usize],
    ) -> Result<Vec<Comparison>, DeviceError> {
        evaluations::evaluations(|| self.cuda(), config, size, counts)
    }

    /// Compares one pass over `count` positions with the CPU's evaluations,
    /// `distinct` of which come again and again.
    ///
    /// # Errors
    /// [`DeviceError`] if the card fails.
    pub fn one_pass(
        self,
        config: Config,
        size: (u32, u32),
        (count, distinct): (usize, usize),
    ) -> Result<Vec<Comparison>, DeviceError> {
        passes::one_pass(|| self.cuda(), config, size, (count, distinct))
    }

    /// Compares evaluations of so many positions with those of another time, bit by bit.
    ///
    /// # Errors
    /// [`DeviceError`] if the card fails.
    pub fn evaluations_again(
        self,
        config: Config,
        size: (u32, u32),
        count: usize,
    ) -> Result<Comparison, DeviceError> {
        again::evaluations(|| self.cuda(), config, size, count)
    }

    /// Compares `steps` training steps in a row on a batch of `count` positions with the CPU's.
    ///
    /// # Errors
    /// [`TrainError`] if the card fails.
    pub fn training(
        self,
        config: Config,
        size: (u32, u32),
        (count, steps): (usize, u64),
    ) -> Result<Vec<Comparison>, TrainError> {
        training::training(|| self.cuda(), config, size, (count, steps))
    }

    /// Compares `steps` training steps on a batch of `count` positions
    /// with the same of another time, bit by bit.
    ///
    /// # Errors
    /// [`TrainError`] if the card fails.
    pub fn training_again(
        self,
        config: Config,
        size: (u32, u32),
        (count, steps): (usize, u64),
    ) -> Result<Comparison, TrainError> {
        again::training(|| self.cuda(), config, size, (count, steps))
    }

    /// Compares the rules on the card with those of the crate `rules` over the first `games_max`
    /// recorded games of a file, which has one a line.
    ///
    /// # Errors
    /// [`DeviceError`] if the card cannot be opened; what is wrong later,
    /// with the file too, is in the comparison.
    pub fn recorded(
        self,
        name: &str,
        input: impl BufRead,
        games_max: usize,
    ) -> Result<Comparison, DeviceError> {
        Ok(recorded::compare(&self.cuda()?, name, input, games_max))
    }

    /// Compares the rules on the card with those of the crate `rules` over random
    /// games: every legal move, position and outcome.
    ///
    /// # Errors
    /// [`DeviceError`] if the card cannot be opened; what fails later is in the comparison.
    pub fn rules(self, config: Config, games: u32, seed: u64) -> Result<Comparison, DeviceError> {
        let cuda = self.cuda()?;
        let what = format!("{games} random games of {config}");
        let checked =
            with_board!(config.board, T => Referee::<_, T>::new(&cuda, seed).random_games(config, games));
        Ok(match checked {
            Ok(checked) => {
                let compared = usize::try_from(checked.steps).unwrap_or(usize::MAX);
                Comparison { what, compared, tolerance: None, worst: None, wrong: None }
            }
            Err(error) => Comparison::failed(what, &error),
        })
    }

    /// Plays games of a network of so many blocks and channels with the search on the card, twice: the crate
    /// `rules` replays every one, and both times they are the same.
    ///
    /// # Errors
    /// [`DeviceError`] if the card fails.
    ///
    /// # Panics
    /// If there are to be no slots or no simulations.
    pub fn waves(
        self,
        config: Config,
        size: (u32, u32),
        waves: Waves,
    ) -> Result<Vec<Comparison>, DeviceError> {
        waves::games(|| self.cuda(), config, size, waves)
    }

    /// Games per second of a network against itself with the search on the card, and what they take.
    ///
    /// # Errors
    /// [`DeviceError`] if the card fails, or drops games.
    ///
    /// # Panics
    /// As [`Self::waves`].
    pub fn waves_speed(
        self,
        config: Config,
        architecture: Architecture,
        waves: Waves,
        effort: Effort,
    ) -> Result<WavesSpeed, DeviceError> {
        waves_speed::speed(self.cuda()?, config, architecture, waves, effort)
    }

    /// Positions per second from packed positions on the card to logits and values on the card.
    ///
    /// # Errors
    /// [`DeviceError`] if the card fails.
    pub fn forward_speed(
        self,
        config: Config,
        architecture: Architecture,
        batch: usize,
        effort: Effort,
    ) -> Result<Speed, DeviceError> {
        timing::forward(&self.cuda()?, config, architecture, batch, effort)
    }

    /// Samples per second of training steps, from packed samples in the host's memory.
    ///
    /// # Errors
    /// [`TrainError`] if the card fails.
    pub fn training_speed(
        self,
        config: Config,
        architecture: Architecture,
        batch: usize,
        effort: Effort,
    ) -> Result<Speed, TrainError> {
        timing::training(self.cuda()?, config, architecture, batch, effort)
    }

    /// Random games per second, so many at once, from the empty board to their ends.
    ///
    /// # Errors
    /// [`DeviceError`] if the card fails.
    pub fn games_speed(self, config: Config, games: u32, repeats: usize) -> Result<Speed, DeviceError> {
        let cuda = self.cuda()?;
        let mut rates = Vec::with_capacity(repeats);
        for seed in 0..=repeats as u64 {
            let report = with_board!(config.board, T => playouts::<_, T>(&cuda, config, games, seed))?;
            // The first is to warm up.
            if seed > 0 {
                rates.push(report.games as f64 / report.elapsed.as_secs_f64());
            }
        }
        Speed::of(rates).ok_or_else(|| DeviceError::Unsupported("no repeat was asked for".into()))
    }

    /// An evaluator for every board, that tells of what it did.
    ///
    /// # Errors
    /// [`DeviceError`] if there are no kernels for the network.
    pub fn evaluator(self, network: Arc<Network>) -> Result<CardEvaluator, DeviceError> {
        Ok(CardEvaluator { inner: DeviceEvaluator::new(self.cuda()?, network)?, evaluated: Arc::default() })
    }
}

/// What an evaluator did so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvaluatorReport {
    /// Positions.
    pub positions: u64,
    /// Calls.
    pub calls: u64,
    /// Why the card failed, once it has.
    pub failure: Option<String>,
}

/// Evaluates on a card, and answers nothing once the card has failed: the CPU never does its work.
pub struct CardEvaluator {
    inner: DeviceEvaluator<Cuda>,
    evaluated: Arc<Mutex<EvaluatorReport>>,
}

impl CardEvaluator {
    /// What it did so far, wherever it is.
    pub fn report(&self) -> impl Fn() -> EvaluatorReport + Send + Sync + 'static + use<> {
        let evaluated = Arc::clone(&self.evaluated);
        move || evaluated.lock().clone()
    }
}

impl<T: Topology> Evaluator<T> for CardEvaluator {
    fn evaluate(&mut self, queries: &[Query<'_, T>]) -> Vec<Evaluation> {
        let result = self.inner.try_evaluate(queries);
        let mut evaluated = self.evaluated.lock();
        match result {
            Ok(evaluations) => {
                evaluated.positions += evaluations.len() as u64;
                evaluated.calls += 1;
                evaluations
            }
            Err(error) => {
                evaluated.failure.get_or_insert_with(|| error.to_string());
                Vec::new()
            }
        }
    }
}
