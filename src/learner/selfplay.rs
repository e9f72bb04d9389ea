//! Games of a model against itself. Many are played at the same time, so that the network gets batches.
//!
//! Invariant: one model plays a game from its first move to its last, and a game in which an error occurs is
//! dropped and never recorded. A decision follows from the game's seed, the moves before it, the model and
//! what the record says in [`Played`], and from nothing else: neither from the games beside it nor from what
//! was searched before. [`super::again`] makes decisions again.

use super::game::{GameError, LiveGame};
use crate::{
    search::{AnyEvaluator, Judged, Search, SearchError, SearchSettings, sample_at, unit},
    store::{GameKind, GameRecord, Played, Player},
};
use cluster_state::{ModelId, NodeId};
use kernels::Query;
use rules::{Config, Move, playout::Choices, with_board};
use std::sync::Arc;

/// The share of decisions that are searched with all simulations and train the policy. The others are
/// searched with a quarter of them and train only the value (playout cap randomisation, *Wu 2019,
/// Accelerating self-play learning in Go*).
pub(super) const FULL_SHARE: f32 = 0.25;
/// How many decisions of a game are drawn from the improved policy: [`SAMPLED`], and a random number below
/// [`SAMPLED_SPREAD`] more.
pub(super) const SAMPLED: usize = 8;
pub(super) const SAMPLED_SPREAD: usize = 3;
/// The share of games that open with random moves; [`RANDOM_MAX`] is the most choices of such an opening.
pub(super) const RANDOM_SHARE: f32 = 0.075;
pub(super) const RANDOM_MAX: usize = 12;

/// The number of simulations of a quick search: a quarter of them, at least two, and never more than there
/// are.
pub(super) fn quick(simulations: u32) -> u32 {
    (simulations / 4).max(2).min(simulations)
}

/// What of a game follows from its seed alone.
pub(super) struct Beginning {
    /// The random choices of the game, from its first move on.
    pub(super) choices: Choices,
    /// How many decisions are drawn from the policy.
    pub(super) sampled: usize,
    /// How many random choices the game opens with, at most.
    pub(super) opening: usize,
}

impl Beginning {
    pub(super) fn of(seed: u64) -> Self {
        let mut choices = Choices::new(seed);
        let sampled = SAMPLED + choices.below(SAMPLED_SPREAD);
        let opening = if unit(&mut choices) < RANDOM_SHARE { 1 + choices.below(RANDOM_MAX) } else { 0 };
        Self { choices, sampled, opening }
    }
}

/// Self-play of one configuration on one thread.
pub struct Selfplay {
    games: Box<dyn AnySelfplay>,
}

/// [`SelfplayGames`] without its type parameter.
trait AnySelfplay: Send {
    fn set_model(&mut self, model: LoadedModel);
    fn set_exploration(&mut self, exploration: f32);
    fn set_backend(&mut self, backend: &str);
    fn step(&mut self) -> Vec<GameRecord>;
    fn aborted(&self) -> u64;
    fn models(&self) -> Vec<ModelId>;
}

impl Selfplay {
    /// Self-play of `parallel` games at a time that has no model yet. Its games follow from the seed and the
    /// evaluators.
    #[must_use]
    pub fn new(config: Config, parallel: usize, seed: u64, node: NodeId) -> Self {
        let parallel = parallel.max(1);
        let games: Box<dyn AnySelfplay> =
            with_board!(config.board, T => Box::new(SelfplayGames::<T>::new(config, parallel, seed, node)));
        Self { games }
    }

    /// Sets the model of the games that start from now on. Games that were begun go on with theirs.
    pub fn set_model(&mut self, hash: ModelId, evaluator: Box<dyn AnyEvaluator>, simulations: u32) {
        self.games.set_model(LoadedModel { hash, evaluator, simulations });
    }

    /// Sets how much the games that start from now on explore: a factor of the search's noise and of the
    /// temperature at which the first decisions are drawn. It is 1 at first.
    pub fn set_exploration(&mut self, exploration: f32) {
        self.games.set_exploration(exploration);
    }

    /// Sets what computes the games that start from now on, as their records name it; at first it has no
    /// name.
    pub fn set_backend(&mut self, backend: &str) {
        self.games.set_backend(backend);
    }

    /// Advances every game by one evaluation and returns the games that ended. Without a model there are
    /// none.
    #[must_use]
    pub fn step(&mut self) -> Vec<GameRecord> {
        self.games.step()
    }

    /// The number of games that were dropped because of an error.
    #[must_use]
    pub fn aborted(&self) -> u64 {
        self.games.aborted()
    }

    /// The models of the games that are being played, the newest last.
    #[must_use]
    pub fn models(&self) -> Vec<ModelId> {
        self.games.models()
    }
}

struct LoadedModel {
    hash: ModelId,
    evaluator: Box<dyn AnyEvaluator>,
    simulations: u32,
}

struct SelfplaySlot<T: Judged> {
    game: LiveGame<T>,
    search: Search<T>,
    choices: Choices,
    model: ModelId,
    simulations: u32,
    backend: Arc<str>,
    /// How many more decisions are drawn from the policy.
    sampled: usize,
    exploration: f32,
    /// Whether the search that is running has all simulations.
    full: bool,
}

struct SelfplayGames<T: Judged> {
    config: Config,
    parallel: usize,
    node: NodeId,
    seeds: Choices,
    /// The models in use; the last one plays new games.
    models: Vec<LoadedModel>,
    slots: Vec<SelfplaySlot<T>>,
    /// How much new games explore.
    exploration: f32,
    /// What computes new games.
    backend: Arc<str>,
    legal: Vec<Move>,
    aborted: u64,
}

impl<T: Judged> SelfplayGames<T> {
    fn new(config: Config, parallel: usize, seed: u64, node: NodeId) -> Self {
        Self {
            config,
            parallel,
            node,
            seeds: Choices::new(seed),
            models: Vec::new(),
            slots: Vec::with_capacity(parallel),
            exploration: 1.0,
            backend: "".into(),
            legal: Vec::new(),
            aborted: 0,
        }
    }

    /// Starts a game in a slot, or in a new slot, with its random opening if it has one.
    fn restart(&mut self, slot: Option<usize>) {
        let Some(model) = self.models.last() else { return };
        let seed = self.seeds.next_u64();
        let Beginning { choices, sampled, opening } = Beginning::of(seed);
        let slot = slot.unwrap_or_else(|| {
            self.slots.push(SelfplaySlot {
                game: LiveGame::new(self.config, seed),
                search: Search::new(SearchSettings::default()),
                choices: choices.clone(),
                model: model.hash,
                simulations: model.simulations,
                backend: Arc::clone(&self.backend),
                sampled: 0,
                exploration: self.exploration,
                full: false,
            });
            self.slots.len() - 1
        });
        let slot = &mut self.slots[slot];
        slot.game = LiveGame::new(self.config, seed);
        slot.search.clear();
        slot.model = model.hash;
        slot.simulations = model.simulations;
        slot.backend = Arc::clone(&self.backend);
        slot.sampled = sampled;
        slot.exploration = self.exploration;
        slot.search.set_noise_scale(self.exploration);
        slot.choices = choices;
        // The same error will occur in the search, which reports it.
        let _ = slot.game.open(opening, &mut slot.choices);
    }

    /// Plays a game until it needs an evaluation. When the game ends, it is recorded and a new one starts.
    fn settle(&mut self, i: usize, done: &mut Vec<GameRecord>) {
        // The loop is bounded, because games may fail again and again before they need an evaluation.
        for _ in 0..2 {
            let slot = &mut self.slots[i];
            match slot.settle(&mut self.legal) {
                Ok(true) => return,
                Ok(false) => {
                    let model = slot.model;
                    let game = std::mem::replace(&mut slot.game, LiveGame::new(self.config, 0));
                    let played = slot.played();
                    let players = vec![Player::Model(model); usize::from(self.config.seats)];
                    done.extend(game.record(GameKind::Selfplay, players, self.node, Some(played)));
                }
                Err(error) => self.abort(i, error),
            }
            self.restart(Some(i));
        }
    }

    fn abort(&mut self, i: usize, error: GameError) {
        self.aborted += 1;
        let game = &self.slots[i].game;
        tracing::warn!(%error, seed = game.seed, ply = game.state.ply(), config = %self.config, "game dropped");
    }
}

impl<T: Judged> SelfplaySlot<T> {
    fn played(&self) -> Played {
        Played {
            simulations: self.simulations,
            exploration: self.exploration,
            backend: self.backend.to_string(),
        }
    }

    /// Plays until the search needs an evaluation. The result is false if the game is over.
    fn settle(&mut self, legal: &mut Vec<Move>) -> Result<bool, GameError> {
        while self.search.query().is_none() {
            self.game.settle(legal)?;
            if legal.is_empty() {
                return Ok(false);
            }
            self.full = unit(&mut self.choices) < FULL_SHARE;
            let simulations = if self.full { self.simulations } else { quick(self.simulations) };
            self.search.start(&self.game.state, simulations, Some(&mut self.choices))?;
            if self.search.query().is_none() {
                self.decide()?;
            }
        }
        Ok(true)
    }

    /// Plays the move that the finished search has chosen.
    fn decide(&mut self) -> Result<(), GameError> {
        let best = self.search.best();
        let policy = self.search.policy();
        self.game.decided(if self.full { policy } else { &[] });
        let choice = if self.sampled > 0 {
            self.sampled -= 1;
            sample_at(self.exploration, policy, &mut self.choices)
        } else {
            best
        };
        let mv = self.search.legal()[choice];
        self.game.apply(mv)
    }
}

impl<T: Judged> AnySelfplay for SelfplayGames<T> {
    fn set_model(&mut self, model: LoadedModel) {
        self.models.retain(|old| old.hash != model.hash);
        self.models.push(model);
    }

    fn set_exploration(&mut self, exploration: f32) {
        self.exploration = exploration;
    }

    fn set_backend(&mut self, backend: &str) {
        self.backend = backend.into();
    }

    fn step(&mut self) -> Vec<GameRecord> {
        let mut done = Vec::new();
        let Some(newest) = self.models.last().map(|model| model.hash) else { return done };
        while self.slots.len() < self.parallel {
            self.restart(None);
        }
        for i in 0..self.slots.len() {
            if self.slots[i].search.query().is_none() {
                self.settle(i, &mut done);
            }
        }
        let mut models = std::mem::take(&mut self.models);
        models.retain(|model| model.hash == newest || self.slots.iter().any(|slot| slot.model == model.hash));
        let mut answered = Vec::with_capacity(self.slots.len());
        for model in &mut models {
            let (hash, first) = (model.hash, answered.len());
            let waiting = self.slots.iter().enumerate().filter(|(_, slot)| slot.model == hash);
            let waiting = waiting.filter_map(|(i, slot)| slot.search.query().map(|query| (i, query)));
            let (indices, queries): (Vec<usize>, Vec<Query<'_, T>>) = waiting.unzip();
            if queries.is_empty() {
                continue;
            }
            let evaluations = T::evaluator(&mut *model.evaluator).evaluate(&queries);
            let mut evaluations = evaluations.into_iter();
            answered.extend(indices.into_iter().map(|i| (i, Ok(()))));
            for (i, result) in &mut answered[first..] {
                let slot = &mut self.slots[*i];
                // A missing evaluation fails as one with too few logits does.
                *result = slot.search.answer(&evaluations.next().unwrap_or_default());
            }
        }
        self.models = models;
        for (i, result) in answered {
            self.resume(i, result, &mut done);
        }
        done
    }

    fn aborted(&self) -> u64 {
        self.aborted
    }

    fn models(&self) -> Vec<ModelId> {
        let used = self.models.iter().filter(|model| self.slots.iter().any(|slot| slot.model == model.hash));
        used.map(|model| model.hash).collect()
    }
}

impl<T: Judged> SelfplayGames<T> {
    /// Goes on with a game after its evaluation.
    fn resume(&mut self, i: usize, result: Result<(), SearchError>, done: &mut Vec<GameRecord>) {
        if self.slots[i].search.query().is_some() {
            return;
        }
        if let Err(error) = result.map_err(GameError::from).and_then(|()| self.slots[i].decide()) {
            self.abort(i, error);
            self.restart(Some(i));
        }
        self.settle(i, done);
    }
}

#[cfg(test)]
mod tests;
