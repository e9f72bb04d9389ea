//! Self-play on a card that the host pretends to be.

use super::*;
use crate::{learner::selfplay::Selfplay, search::Uniform};
use kernels::{Architecture, WaveDecision, WaveReport};
use parking_lot::Mutex;
use std::collections::HashMap;
use wire::Hash;

/// A card whose games the host plays. Once it is retired, a few more end. Every fifth has a wrong winner.
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

fn pretended(config: Config, _: &Network, settings: WaveSettings) -> Result<Box<dyn PlayWaves>, DeviceError> {
    assert_eq!((settings.full, settings.quick, settings.slots), (8, 2, 3));
    let mut selfplay = Selfplay::new(config, settings.slots, settings.seed, NodeId(0));
    selfplay.set_model(ModelId(Hash::of(b"")), Box::new(Uniform), settings.full);
    Ok(Box::new(Pretended { selfplay, left: 0, begun: 0, retired: false }))
}

#[test]
fn games_become_valid_records_of_the_model_they_began_with() {
    let config: Config = "hex8_2p".parse().unwrap();
    let network = Network::seeded(Architecture::small(config.board), 0);
    let mut waves = WaveSelfplay::new(config, 3, 1, NodeId(77), Arc::new(pretended));
    assert_eq!(waves.step().unwrap(), []);
    let [old, new] = [Hash::of(b"old"), Hash::of(b"new")].map(ModelId);
    waves.set_model(old, &network, 8, 1.0).unwrap();
    let mut games: HashMap<Player, u64> = HashMap::new();
    let mut count = |records: Vec<GameRecord>| {
        for record in records {
            assert_eq!((record.node, record.kind), (NodeId(77), GameKind::Selfplay));
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
    let mut waves = WaveSelfplay::new(config, 3, 1, NodeId(77), Arc::new(begin));
    waves.set_model(ModelId(Hash::of(b"old")), &network, 8, 1.0).unwrap();
    assert!(waves.set_model(ModelId(Hash::of(b"new")), &network, 8, 1.5).is_err());
    assert_eq!(waves.models(), [ModelId(Hash::of(b"old"))]);
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
                tried.lock().push(settings.slots);
                let fits = settings.slots <= room;
                if fits { Ok(Box::new(Broken) as _) } else { Err(DeviceError::Memory { bytes: 1 }) }
            }
        };
        let mut waves = WaveSelfplay::new(config, 100, 1, NodeId(77), Arc::new(begin));
        let set = waves.set_model(ModelId(Hash::of(b"m")), &network, 8, 1.0);
        (set, tried.lock().clone())
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
    let mut waves = WaveSelfplay::new(config, 3, 1, NodeId(77), Arc::new(pretended));
    waves.set_model(ModelId(Hash::of(b"m")), &network, 8, 1.0).unwrap();
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
    assert_eq!(["hex8_2p", "square8_4p", "hexagonal_2p", "square19_3p"].map(of), [4096, 4096, 1024, 1024]);
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
    let mut waves = WaveSelfplay::new(config, 3, 1, NodeId(77), Arc::new(begin));
    waves.set_model(ModelId(Hash::of(b"old")), &network, 8, 1.0).unwrap();
    waves.set_model(ModelId(Hash::of(b"new")), &network, 8, 1.5).unwrap();
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
