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

/// A segment of which the header's frame, or that of one game, is changed.
fn patched(bytes: &[u8], game: Option<usize>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let body = 4 + length(bytes);
    let mut header = bytes[..body].to_vec();
    let mut games = Vec::new();
    std::io::Read::read_to_end(&mut flate2::bufread::ZlibDecoder::new(&bytes[body..]), &mut games).unwrap();
    match game {
        None => change(&mut header[4..]),
        Some(game) => {
            let start = (0..game).fold(0, |start, _| start + 4 + length(&games[start..]));
            let end = start + 4 + length(&games[start..]);
            change(&mut games[start + 4..end]);
        }
    }
    let mut stream = flate2::write::ZlibEncoder::new(header, flate2::Compression::fast());
    std::io::Write::write_all(&mut stream, &games).unwrap();
    stream.finish().unwrap()
}

#[test]
fn what_another_version_wrote_is_unjudged_and_not_forged() {
    let (bytes, registered) = segment(played(1), model());
    let found = |bytes: &[u8]| {
        let looks = [Look::Share(1.0), Look::At { game: 3, ply: 0 }];
        looks.map(|it| look(bytes, &registered, &it)).map(|it| (it.unjudged, it.forged.is_some()))
    };
    let set = |at: usize, byte: u8| move |frame: &mut [u8]| frame[at] = byte;
    assert_eq!(found(&patched(&bytes, Some(3), set(0, b'R'))), [(0, false); 2], "nothing is changed");
    // Another version of the frame, and another kind of frame.
    for (at, byte) in [(2, 2), (3, 0x7a)] {
        assert_eq!(found(&patched(&bytes, Some(3), set(at, byte))), [(1, false); 2]);
        assert_eq!(found(&patched(&bytes, None, set(at, byte))), [(1, false); 2]);
    }
    let of_other_rules = |frame: &mut [u8]| {
        let record = GameRecord { rules_version: 9, ..GameRecord::from_bytes(frame).unwrap() };
        frame.copy_from_slice(&record.to_bytes().unwrap());
    };
    assert_eq!(found(&patched(&bytes, Some(3), of_other_rules)), [(1, false); 2]);
    // What no program writes.
    for (at, byte) in [(0, b'X'), (9, 0xee)] {
        assert_eq!(found(&patched(&bytes, Some(3), set(at, byte))), [(0, true); 2]);
    }
}
