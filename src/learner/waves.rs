//! Games of models against themselves with the search on a card, as the same records that [`super::selfplay`] makes.
//!
//! Invariant: a game is played by one model from its first move to its last, and one that is no valid game by the rules
//! of this host is dropped, never recorded.

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
use wire::Hash;

/// Evaluations of every game between two looks at what has ended: fewer than a game takes.
const EVALUATIONS: u32 = 64;

/// Begins games on a card; [`kernels::CudaBackend::waves`] does.
pub type Begin =
    dyn Fn(Config, &Network, WaveSettings) -> Result<Box<dyn PlayWaves>, DeviceError> + Send + Sync;

/// Self-play of one configuration on one card.
pub struct Waves {
    config: Config,
    slots: usize,
    node: u64,
    seeds: Choices,
    exploration: f32,
    begin: Box<Begin>,
    /// The last is that of new games.
    tables: Vec<Table>,
    aborted: u64,
    /// Why a table failed after others had given records, which were returned first.
    failed: Option<DeviceError>,
}

struct Table {
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

impl Waves {
    /// Self-play of so many games side by side that has no model yet. Its games follow from the seed and the models.
    #[must_use]
    pub fn new(config: Config, slots: usize, seed: u64, node: u64, begin: Box<Begin>) -> Self {
        let seeds = Choices::new(seed);
        let tables = Vec::new();
        Self { config, slots, node, seeds, exploration: 1.0, begin, tables, aborted: 0, failed: None }
    }

    /// Games that start from now on are played by this model. Those in flight go on with theirs.
    ///
    /// # Errors
    /// [`DeviceError`] if the card does not take it; all is as before.
    pub fn set_model(&mut self, model: Hash, network: &Network, simulations: u32) -> Result<(), DeviceError> {
        let seed = self.seeds.next_u64();
        let settings = settings(self.config, self.slots, simulations, self.exploration, seed);
        let waves = (self.begin)(self.config, network, settings)?;
        if let Some(old) = self.tables.last_mut() {
            old.waves.retire()?;
        }
        self.tables.push(Table { model, waves, dropped: 0 });
        Ok(())
    }

    /// Games of models that are set from now on explore this much; see [`super::selfplay::Selfplay::set_exploration`].
    pub fn set_exploration(&mut self, exploration: f32) {
        self.exploration = exploration;
    }

    /// Advances every game by some evaluations and returns those that ended; none without a model.
    ///
    /// # Errors
    /// [`DeviceError`] if the card fails, or did when there were records to return; the games in flight are lost.
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
                    Ok(_) => records.push(record),
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
        Ok(records)
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
mod tests {
    use super::*;
    use crate::{learner::selfplay::Selfplay, search::Uniform};
    use kernels::{Architecture, WaveDecision, WaveReport};
    use std::collections::HashMap;

    /// A card whose games the host plays: so many, then none; every fifth ends with a wrong winner.
    struct Pretended {
        selfplay: Selfplay,
        left: u64,
        begun: u64,
        retired: bool,
    }

    impl PlayWaves for Pretended {
        fn play(&mut self, evaluations: u32) -> Result<WaveReport, DeviceError> {
            assert!(evaluations > 0);
            if self.retired && self.left == 0 {
                return Ok(WaveReport { games: Vec::new(), begun: self.begun, dropped: 0, playing: 0 });
            }
            let records = loop {
                let records = self.selfplay.step();
                if !records.is_empty() {
                    break records;
                }
            };
            let mut games = Vec::new();
            for record in records {
                self.left = self.left.saturating_sub(1);
                self.begun += 1;
                let decision = |d: Decision| WaveDecision { step: d.ply, policy: d.policy };
                games.push(WaveGame {
                    seed: record.seed,
                    moves: record.moves,
                    decisions: record.decisions.into_iter().map(decision).collect(),
                    winner: if self.begun.is_multiple_of(5) {
                        1 - record.winner_seat
                    } else {
                        record.winner_seat
                    },
                });
            }
            let playing = if self.retired { self.left } else { 3 };
            Ok(WaveReport { games, begun: self.begun, dropped: 0, playing })
        }

        fn retire(&mut self) -> Result<(), DeviceError> {
            self.retired = true;
            self.left = 3;
            Ok(())
        }
    }

    fn pretended(
        config: Config,
        _: &Network,
        settings: WaveSettings,
    ) -> Result<Box<dyn PlayWaves>, DeviceError> {
        assert_eq!((settings.full, settings.quick, settings.slots), (8, 2, 3));
        let mut selfplay = Selfplay::new(config, settings.slots, settings.seed, 0);
        selfplay.set_model(Hash::of(b""), Box::new(Uniform), settings.full);
        Ok(Box::new(Pretended { selfplay, left: 0, begun: 0, retired: false }))
    }

    #[test]
    fn games_become_valid_records_of_the_model_they_began_with() {
        let config: Config = "hex8_2p".parse().unwrap();
        let network = Network::seeded(Architecture::small(config.board), 0);
        let mut waves = Waves::new(config, 3, 1, 77, Box::new(pretended));
        assert_eq!(waves.step().unwrap(), []);
        let [old, new] = [Hash::of(b"old"), Hash::of(b"new")];
        waves.set_model(old, &network, 8).unwrap();
        let mut games: HashMap<Player, u64> = HashMap::new();
        let mut count = |records: Vec<GameRecord>| {
            for record in records {
                assert_eq!((record.node, record.kind), (77, GameKind::Selfplay));
                assert!(record.swap && !record.decisions.is_empty());
                assert_eq!(record.players.len(), 2);
                record.validate().unwrap();
                *games.entry(record.players[0]).or_default() += 1;
            }
        };
        for _ in 0..8 {
            count(waves.step().unwrap());
        }
        assert_eq!(waves.models(), [old]);
        waves.set_model(new, &network, 8).unwrap();
        assert_eq!(waves.models(), [old, new]);
        for _ in 0..20 {
            count(waves.step().unwrap());
        }
        assert_eq!(waves.models(), [new]);
        assert!(games[&Player::Model(old)] >= 8 && games[&Player::Model(new)] >= 14, "{games:?}");
        assert!(waves.aborted() > 2, "games that are not valid are dropped");
    }

    #[test]
    fn a_card_that_does_not_take_a_model_changes_nothing() {
        let config: Config = "hex8_2p".parse().unwrap();
        let network = Network::seeded(Architecture::small(config.board), 0);
        let begin = |config: Config, network: &Network, settings: WaveSettings| {
            if settings.exploration > 1.0 {
                Err(DeviceError::Memory { bytes: 1 })
            } else {
                pretended(config, network, settings)
            }
        };
        let mut waves = Waves::new(config, 3, 1, 77, Box::new(begin));
        waves.set_model(Hash::of(b"old"), &network, 8).unwrap();
        waves.set_exploration(1.5);
        assert!(waves.set_model(Hash::of(b"new"), &network, 8).is_err());
        assert_eq!(waves.models(), [Hash::of(b"old")]);
        assert!(!waves.step().unwrap().is_empty());
    }

    /// A card that has nothing to report but its failure.
    struct Broken;

    impl PlayWaves for Broken {
        fn play(&mut self, _: u32) -> Result<WaveReport, DeviceError> {
            Err(DeviceError::Absent("gone".into()))
        }

        fn retire(&mut self) -> Result<(), DeviceError> {
            Ok(())
        }
    }

    #[test]
    fn records_of_one_model_outlive_the_failure_of_another() {
        let config: Config = "hex8_2p".parse().unwrap();
        let network = Network::seeded(Architecture::small(config.board), 0);
        let begin = |config: Config, network: &Network, settings: WaveSettings| {
            if settings.exploration > 1.0 {
                Ok(Box::new(Broken) as _)
            } else {
                pretended(config, network, settings)
            }
        };
        let mut waves = Waves::new(config, 3, 1, 77, Box::new(begin));
        waves.set_model(Hash::of(b"old"), &network, 8).unwrap();
        waves.set_exploration(1.5);
        waves.set_model(Hash::of(b"new"), &network, 8).unwrap();
        assert!(!waves.step().unwrap().is_empty());
        let failure = DeviceError::Absent("gone".into());
        assert_eq!(waves.step(), Err(failure));
    }

    #[test]
    fn a_card_searches_as_the_host_does() {
        let config: Config = "square19_3p".parse().unwrap();
        for (simulations, quick) in [(16, 4), (8, 2), (4, 2), (2, 2), (1, 1), (0, 1)] {
            let settings = settings(config, 0, simulations, 1.2, 5);
            assert_eq!((settings.full, settings.quick), (simulations.max(1), quick));
            assert_eq!((settings.slots, settings.swap, settings.exploration), (1, false, 1.2));
        }
    }
}
