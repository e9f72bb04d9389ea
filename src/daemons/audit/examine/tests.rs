//! A segment of another node, as it is, and as a cheat would make it.

use super::*;
use crate::{
    learner::again::tests::{cpu, model, play},
    store::GameKind,
};
use cluster_state::{ConfigKey, ModelId, NodeId, Source};
use wire::Hash;

const PLAYER: NodeId = NodeId(5);

fn config() -> Config {
    "hex8_2p".parse().unwrap()
}

/// A segment and its registration.
fn segment(records: Vec<GameRecord>, model: ModelId) -> (Vec<u8>, RegisteredSegment) {
    let key: ConfigKey = config().into();
    let segment = Segment::build(&key, Source::Selfplay, model, PLAYER, records).unwrap();
    let registered = RegisteredSegment {
        config_key: key,
        games: u64::from(segment.header().games),
        samples: segment.header().samples,
        bytes: segment.bytes().len() as u64,
        source: Source::Selfplay,
        model,
        origin: PLAYER,
        holders: [PLAYER].into(),
        at_ms: 1,
        log_index: 2,
    };
    (segment.into_bytes(), registered)
}

fn look(bytes: &[u8], registered: &RegisteredSegment, look: &Look) -> Examined {
    examine(bytes, registered, config(), &mut *cpu(config(), 3), look, 7).unwrap()
}

fn played(seed: u64) -> Vec<GameRecord> {
    play(config(), cpu(config(), 3), (4, 1.0), backend::cpu(), (6, seed))
}

#[test]
fn a_share_of_the_games_is_looked_at() {
    let (bytes, registered) = segment(played(1), model());
    let all = look(&bytes, &registered, &Look::Share(1.0));
    assert!((all.games, all.forged) == (6, None) && (6..=12).contains(&all.decisions), "{all:?}");
    assert_eq!(look(&bytes, &registered, &Look::Share(0.0)), Examined::default());
    let one = look(&bytes, &registered, &Look::At { game: 2, ply: 0 });
    assert_eq!((one.games, one.forged), (1, None));
    assert_eq!(look(&bytes, &registered, &Look::At { game: 9, ply: 0 }), Examined::default());
}

#[test]
fn what_cannot_be_is_forged_whatever_was_drawn() {
    let (bytes, registered) = segment(played(1), model());
    let forged = |bytes: &[u8], registered: &RegisteredSegment| {
        look(bytes, registered, &Look::Share(1.0)).forged.map(|forged| (forged.game, forged.ply))
    };
    assert_eq!(forged(&bytes, &registered), None);
    assert_eq!(forged(&bytes[1..], &registered), Some((0, 0)));
    for change in [
        |it: &mut RegisteredSegment| it.origin = NodeId(6),
        |it: &mut RegisteredSegment| it.games += 1,
        |it: &mut RegisteredSegment| it.samples += 1,
        |it: &mut RegisteredSegment| it.model = ModelId(Hash([9; 32])),
    ] {
        let mut other = registered.clone();
        change(&mut other);
        assert_eq!(forged(&bytes, &other), Some((0, 0)));
    }
    // Another network than the registered one is named in a game.
    let mut records = played(2);
    let other = ModelId(Hash([9; 32]));
    records[3].players = vec![crate::store::Player::Model(other); 2];
    let (bytes, registered) = segment(records, model());
    let (game, _) = forged(&bytes, &registered).unwrap();
    assert!(look(&bytes, &registered, &Look::At { game, ply: 0 }).forged.is_some());
    let honest = (game + 1) % 6;
    assert!(look(&bytes, &registered, &Look::At { game: honest, ply: 0 }).forged.is_none());
}

#[test]
fn games_that_do_not_say_how_they_were_played_are_left_out() {
    let records = played(1).into_iter().map(|record| GameRecord { played: None, ..record }).collect();
    let (bytes, registered) = segment(records, model());
    assert_eq!(look(&bytes, &registered, &Look::Share(1.0)), Examined::default());
    let at = Look::At { game: 0, ply: 0 };
    let judged = examine(&bytes, &registered, config(), &mut *cpu(config(), 3), &at, 7);
    assert_eq!(judged, Err(Unjudged::Unsaid));
    assert_eq!(played(1)[0].kind, GameKind::Selfplay);
}
