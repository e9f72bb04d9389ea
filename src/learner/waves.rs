//! Games of models against themselves with the search on a card, as the same records that [`super::selfplay`] makes.
//!
//! Invariant: a game is played by one model from its first move to its last, and one that is no valid game by the rules
//! of this host is dropped, never recorded. A card that makes many such games has failed.

use super::{
    game::options,
    selfplay::{FULL_SHARE, RANDOM_MAX, RANDOM_SHARE, SAMPLED, SAMPLED_SPREAD, quick},
};
use crate::{
    clock,
    search::SearchSettings,
    store::{Decision, GameKind, GameRecord, Player},
};
use kernels::{DeviceError, Network, PlayWaves, WaveGame, WaveSettings};
use rules::{Config, RULES_VERSION, playout::Choices};
use std::sync::Arc;
use wire::Hash;

/// Evaluations of every game between two looks at what has ended: fewer than a game takes.
const EVALUATIONS: u32 = 64;
/// Games side by side at the least; a card that has no memory for so many is left to other work.
const SLOTS_MIN: usize = 16;
/// Of so many games and more, the share of those that were dropped at which a card is not to be trusted.
const JUDGED: u64 = 256;
const DROPPED_SHARE: f64 = 0.05;

/// Games side by side on a card unless told otherwise, for boards of up to 64 cells and for others: about four boards for
/// each of an H200's processors and kernel in flight, and a few GB. Reasoned, not measured.
#[must_use]
pub fn slots(config: Config) -> usize {
    if config.board.cells() <= 64 { 4096 } else { 1024 }
}

/// Begins games on a card; [`kernels::CudaBackend::waves`] does.
pub type BeginWaves =
    dyn Fn(Config, &Network, WaveSettings) -> Result<Box<dyn PlayWaves>, DeviceError> + Send + Sync;

/// Self-play of one configuration on one card.
pub struct WaveSelfplay {
    config: Config,
    slots: usize,
    node: u64,
    seeds: Choices,
    begin: Arc<BeginWaves>,
    /// The last is that of new games.
    tables: Vec<ModelWaves>,
    recorded: u64,
    aborted: u64,
    /// Why a table failed after others had given records, which were returned first.
    failed: Option<DeviceError>,
}

struct ModelWaves {
    model: Hash,
    waves: Box<dyn PlayWaves>,
    /// Games that the card has dropped so far.
    dropped: u64,
}

/// The settings of [`super::selfplay`], for a card.
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
    /// Self-play of so many games side by side that has no model yet. Its games follow from the seed and the models.
    #[must_use]
    pub fn new(config: Config, slots: usize, seed: u64, node: u64, begin: Arc<BeginWaves>) -> Self {
        let (seeds, tables) = (Choices::new(seed), Vec::new());
        Self { config, slots, node, seeds, begin, tables, recorded: 0, aborted: 0, failed: None }
    }

    /// Games that start from now on are played by this model, and explore as much as
    /// [`super::selfplay::Selfplay::set_exploration`] says. Those in flight go on with theirs. Where the card has no memory
    /// for as many games as wished it plays half as many, or a quarter, and so on.
    ///
    /// # Errors
    /// [`DeviceError`] if the card does not take it; all is as before.
    pub fn set_model(
        &mut self,
        model: Hash,
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
        if let Some(old) = self.tables.last_mut() {
            old.waves.retire()?;
        }
        self.tables.push(ModelWaves { model, waves, dropped: 0 });
        Ok(())
    }

    /// Advances every game by some evaluations and returns those that ended; none without a model.
    ///
    /// # Errors
    /// [`DeviceError`] if the card fails, or did when there were records to return, or makes games that are none; the games
    /// in flight are lost.
    pub fn step(&mut self) -> Result<Vec<GameRecord>, DeviceError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut records = Vec::new();
        let newest = self.tables.len().saturating_sub(1);
        let mut over = Vec::new();
        for (i, table) in self.tables.iter_mut().enumerate() {
            let report = match table.waves.play(EVALUATIONS) {
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
            self.aborted += report.dropped.saturating_sub(table.dropped);
            table.dropped = report.dropped;
            for game in report.games {
                let record = record(self.config, game, table.model, self.node);
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
            self.tables.remove(i);
        }
        self.failed = self.failed.take().or_else(|| self.unsound());
        Ok(records)
    }

    /// Why the card is not to be trusted.
    fn unsound(&self) -> Option<DeviceError> {
        let (all, dropped) = (self.recorded + self.aborted, self.aborted);
        let many = all >= JUDGED && dropped as f64 > DROPPED_SHARE * all as f64;
        many.then(|| DeviceError::Kernel {
            kernel: "wave",
            reason: format!("{dropped} of {all} games were dropped"),
        })
    }

    /// Games dropped because of an error.
    #[must_use]
    pub fn aborted(&self) -> u64 {
        self.aborted
    }

    /// The models of the games in flight, the newest last.
    #[must_use]
    pub fn models(&self) -> Vec<Hash> {
        self.tables.iter().map(|table| table.model).collect()
    }
}

fn record(config: Config, game: WaveGame, model: Hash, node: u64) -> GameRecord {
    let decisions = game.decisions.into_iter();
    GameRecord {
        rules_version: RULES_VERSION,
        config: config.key(),
        swap: options(config).swap,
        turn_end: false,
        seed: game.seed,
        kind: GameKind::Selfplay,
        players: vec![Player::Model(model); usize::from(config.seats)],
        moves: game.moves,
        decisions: decisions.map(|d| Decision { ply: d.step, policy: d.policy }).collect(),
        winner_seat: game.winner,
        node,
        created_ms: clock::now_ms(),
    }
}

#[cfg(test)]
mod tests;
