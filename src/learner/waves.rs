//! Self-play with the search on a card. It makes the same records as [`super::selfplay`].
//!
//! Invariant: one model plays a game from its first move to its last. A game that is not valid by the rules
//! of this host is dropped and never recorded, and a card that makes many such games counts as failed.

use super::{
    game::options,
    selfplay::{FULL_SHARE, RANDOM_MAX, RANDOM_SHARE, SAMPLED, SAMPLED_SPREAD, quick},
};
use crate::{
    clock,
    search::SearchSettings,
    store::{Decision, GameKind, GameRecord, Played, Player},
};
use cluster_state::{ModelId, NodeId};
use kernels::{DeviceError, Network, PlayWaves, WaveGame, WaveSettings};
use rules::{Config, RULES_VERSION, playout::Choices};
use std::sync::Arc;

/// How many evaluations every game makes before the host looks which games have ended: fewer than a game
/// needs.
const EVALUATIONS: u32 = 64;
/// The least number of games at a time. A card that has no memory for so many does other work.
const SLOTS_MIN: usize = 16;
/// The number of games after which a card is judged by the share of those that were dropped.
const JUDGED: u64 = 256;
/// The share of dropped games above which a card counts as failed.
const DROPPED_SHARE: f64 = 0.05;

/// The number of games at a time on a card, unless the settings name another. For boards of up to 64 cells it
/// is about four boards for each processor of an H200 and each kernel in flight; it takes a few GB. The
/// numbers are reasoned, not measured.
#[must_use]
pub fn slots(config: Config) -> usize {
    if config.board.cells() <= 64 { 4096 } else { 1024 }
}

/// A function that begins games on a card, as [`kernels::CudaBackend::waves`] does.
pub type BeginWaves =
    dyn Fn(Config, &Network, WaveSettings) -> Result<Box<dyn PlayWaves>, DeviceError> + Send + Sync;

/// Self-play of one configuration on one card.
pub struct WaveSelfplay {
    config: Config,
    slots: usize,
    node: NodeId,
    seeds: Choices,
    begin: Arc<BeginWaves>,
    /// What computes, as records name it.
    backend: String,
    /// The games by model; those of the last model start new games.
    models: Vec<ModelWaves>,
    recorded: u64,
    aborted: u64,
    /// An error that occurred after other games had given records. The records were returned first.
    failed: Option<DeviceError>,
}

struct ModelWaves {
    model: ModelId,
    played: Played,
    waves: Box<dyn PlayWaves>,
    /// The number of games that the card has dropped so far.
    dropped: u64,
}

/// The settings with which a card searches as [`super::selfplay`] does.
fn settings(config: Config, slots: usize, simulations: u32, exploration: f32, seed: u64) -> WaveSettings {
    let search = SearchSettings::default();
    let full = simulations.max(1);
    WaveSettings {
        slots: slots.max(1),
        seed,
        swap: options(config).swap,
        full,
        quick: quick(full),
        full_share: FULL_SHARE,
        sampled: SAMPLED as u32,
        sampled_spread: SAMPLED_SPREAD as u32,
        opening_share: RANDOM_SHARE,
        opening_max: RANDOM_MAX as u32,
        exploration,
        considered: search.considered as u32,
        visit_offset: search.visit_offset,
        value_scale: search.value_scale,
    }
}

impl WaveSelfplay {
    /// Self-play of `slots` games at a time that has no model yet. Its games follow from the seed and the
    /// models.
    #[must_use]
    pub fn new(config: Config, slots: usize, seed: u64, node: NodeId, begin: Arc<BeginWaves>) -> Self {
        let (seeds, models) = (Choices::new(seed), Vec::new());
        let backend = String::new();
        Self { config, slots, node, seeds, begin, backend, models, recorded: 0, aborted: 0, failed: None }
    }

    /// The same, with the name of what computes.
    #[must_use]
    pub fn on_backend(self, backend: &str) -> Self {
        Self { backend: backend.to_owned(), ..self }
    }

    /// Sets the model of the games that start from now on, and how much they explore, as
    /// [`super::selfplay::Selfplay::set_exploration`] does. Games that were begun go on with theirs. If the
    /// card has no memory for all games, it plays half as many, or a quarter, and so on. If the card refuses
    /// the model, nothing has changed.
    pub fn set_model(
        &mut self,
        model: ModelId,
        network: &Network,
        simulations: u32,
        exploration: f32,
    ) -> Result<(), DeviceError> {
        let seed = self.seeds.next_u64();
        let mut settings = settings(self.config, self.slots, simulations, exploration, seed);
        let waves = loop {
            match (self.begin)(self.config, network, settings) {
                Err(DeviceError::Memory { .. }) if settings.slots / 2 >= SLOTS_MIN => settings.slots /= 2,
                outcome => break outcome?,
            }
        };
        if settings.slots < self.slots {
            tracing::warn!(config = %self.config, games = settings.slots, wanted = self.slots, "the card has memory for fewer games");
        }
        if let Some(old) = self.models.last_mut() {
            old.waves.retire()?;
        }
        let played = Played { simulations: settings.full, exploration, backend: self.backend.clone() };
        self.models.push(ModelWaves { model, played, waves, dropped: 0 });
        Ok(())
    }

    /// Advances every game by some evaluations and returns the games that ended. Without a model there are
    /// none.
    ///
    /// # Errors
    /// [`DeviceError`] if the card fails, if it failed last time while there were records to return, or if it
    /// makes many games that are not valid. The games that were being played are lost.
    pub fn step(&mut self) -> Result<Vec<GameRecord>, DeviceError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut records = Vec::new();
        let newest = self.models.len().saturating_sub(1);
        let mut over = Vec::new();
        for (i, games) in self.models.iter_mut().enumerate() {
            let report = match games.waves.play(EVALUATIONS) {
                Ok(report) => report,
                Err(error) if records.is_empty() => return Err(error),
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            };
            if i < newest && report.playing == 0 && report.games.is_empty() {
                over.push(i);
            }
            self.aborted += report.dropped.saturating_sub(games.dropped);
            games.dropped = report.dropped;
            for game in report.games {
                let record = record(self.config, game, games, self.node);
                match record.validate() {
                    Ok(_) => {
                        self.recorded += 1;
                        records.push(record);
                    }
                    Err(error) => {
                        self.aborted += 1;
                        tracing::error!(%error, seed = record.seed, config = %self.config, "game dropped");
                    }
                }
            }
        }
        for i in over.into_iter().rev() {
            self.models.remove(i);
        }
        self.failed = self.failed.take().or_else(|| self.unsound());
        Ok(records)
    }

    /// The error of a card that dropped too many games, if it did.
    fn unsound(&self) -> Option<DeviceError> {
        let (all, dropped) = (self.recorded + self.aborted, self.aborted);
        let many = all >= JUDGED && dropped as f64 > DROPPED_SHARE * all as f64;
        many.then(|| DeviceError::Kernel {
            kernel: "wave",
            reason: format!("{dropped} of {all} games were dropped"),
        })
    }

    /// The number of games that were dropped because of an error.
    #[must_use]
    pub fn aborted(&self) -> u64 {
        self.aborted
    }

    /// The models of the games that are being played, the newest last.
    #[must_use]
    pub fn models(&self) -> Vec<ModelId> {
        self.models.iter().map(|games| games.model).collect()
    }
}

fn record(config: Config, game: WaveGame, games: &ModelWaves, node: NodeId) -> GameRecord {
    let decisions = game.decisions.into_iter();
    GameRecord {
        rules_version: RULES_VERSION,
        config: config.into(),
        swap: options(config).swap,
        turn_end: false,
        seed: game.seed,
        kind: GameKind::Selfplay,
        players: vec![Player::Model(games.model); usize::from(config.seats)],
        moves: game.moves,
        decisions: decisions.map(|d| Decision { ply: d.step, policy: d.policy }).collect(),
        winner_seat: game.winner,
        node,
        created_ms: clock::now_ms(),
        played: Some(games.played.clone()),
    }
}

#[cfg(test)]
mod tests;
