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
mod tests {
    use super::*;
    use crate::{learner::selfplay::Selfplay, search::Uniform};
    use kernels::{Architecture, WaveDecision, WaveReport};
    use std::{collections::HashMap, sync::Mutex};

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
        let mut waves = WaveSelfplay::new(config, 3, 1, 77, Arc::new(pretended));
        assert_eq!(waves.step().unwrap(), []);
        let [old, new] = [Hash::of(b"old"), Hash::of(b"new")];
        waves.set_model(old, &network, 8, 1.0).unwrap();
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
        waves.set_model(new, &network, 8, 1.0).unwrap();
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
        let mut waves = WaveSelfplay::new(config, 3, 1, 77, Arc::new(begin));
        waves.set_model(Hash::of(b"old"), &network, 8, 1.0).unwrap();
        assert!(waves.set_model(Hash::of(b"new"), &network, 8, 1.5).is_err());
        assert_eq!(waves.models(), [Hash::of(b"old")]);
        assert!(!waves.step().unwrap().is_empty());
    }

    #[test]
    fn a_card_with_little_memory_plays_fewer_games() {
        let config: Config = "hex8_2p".parse().unwrap();
        let network = Network::seeded(Architecture::small(config.board), 0);
        let room = |room: usize| {
            let tried = Arc::new(Mutex::new(Vec::new()));
            let begin = {
                let tried = Arc::clone(&tried);
                move |_: Config, _: &Network, settings: WaveSettings| {
                    tried.lock().unwrap().push(settings.slots);
                    let fits = settings.slots <= room;
                    if fits { Ok(Box::new(Broken) as _) } else { Err(DeviceError::Memory { bytes: 1 }) }
                }
            };
            let mut waves = WaveSelfplay::new(config, 100, 1, 77, Arc::new(begin));
            let set = waves.set_model(Hash::of(b"m"), &network, 8, 1.0);
            (set, tried.lock().unwrap().clone())
        };
        assert_eq!(room(100), (Ok(()), vec![100]));
        assert_eq!(room(30), (Ok(()), vec![100, 50, 25]));
        assert_eq!(room(20), (Err(DeviceError::Memory { bytes: 1 }), vec![100, 50, 25]));
    }

    #[test]
    fn a_card_that_makes_many_games_that_are_none_has_failed() {
        let config: Config = "hex8_2p".parse().unwrap();
        let network = Network::seeded(Architecture::small(config.board), 0);
        // Of these, every fifth is none.
        let mut waves = WaveSelfplay::new(config, 3, 1, 77, Arc::new(pretended));
        waves.set_model(Hash::of(b"m"), &network, 8, 1.0).unwrap();
        let mut recorded = 0;
        let error = loop {
            match waves.step() {
                Ok(records) => recorded += records.len() as u64,
                Err(error) => break error,
            }
        };
        let all = recorded + waves.aborted();
        assert!((JUDGED..JUDGED + 8).contains(&all), "{recorded} recorded, {} dropped", waves.aborted());
        assert!(error.to_string().contains("games were dropped"), "{error}");
    }

    #[test]
    fn small_boards_have_more_games_side_by_side() {
        let of = |key: &str| slots(key.parse().unwrap());
        assert_eq!(
            ["hex8_2p", "square8_4p", "hexagonal_2p", "square19_3p"].map(of),
            [4096, 4096, 1024, 1024]
        );
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
        let mut waves = WaveSelfplay::new(config, 3, 1, 77, Arc::new(begin));
        waves.set_model(Hash::of(b"old"), &network, 8, 1.0).unwrap();
        waves.set_model(Hash::of(b"new"), &network, 8, 1.5).unwrap();
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
