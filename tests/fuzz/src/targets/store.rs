//! What is on disk: games, segments, checkpoints, settings and the small files of a data folder.

use crate::{
    bounds::bounded,
    frames::{frame, framed, stable},
    seeds,
};
use cluster_state::{ConfigKey, ModelId, NodeId, Source};
use flate2::{Compression, write::ZlibEncoder};
use kernels::{Architecture, Checkpoint, CheckpointHeader};
use ringrift::{
    fuzzing::{self as node, frames},
    store::{Decision, GameKind, GameRecord, Played, Player, Segment, segment::SegmentHeader},
};
use rules::{Board, Config, Hex8, Options, RULES_VERSION, State, playout::Choices};
use std::{io::Write as _, str::from_utf8};
use wire::Hash;

fn hex8() -> ConfigKey {
    Config { board: Board::Hex8, seats: 2 }.into()
}

/// A random game of hex8 with two seats.
fn played(seed: u64) -> GameRecord {
    let mut state = State::<Hex8>::new(2, Options { swap: true, ..Options::default() });
    let (mut choices, mut legal) = (Choices::new(seed), Vec::new());
    let (mut moves, mut decisions) = (Vec::new(), Vec::new());
    while state.outcome().is_none() {
        state.legal(&mut legal);
        let chosen = choices.below(legal.len());
        if moves.len() % 40 == 0 {
            decisions.push(Decision { ply: moves.len() as u32, policy: vec![(chosen as u16, 1000)] });
        }
        moves.push(legal[chosen].code());
        state.apply(legal[chosen]);
    }
    GameRecord {
        rules_version: RULES_VERSION,
        config: hex8(),
        swap: true,
        turn_end: false,
        seed,
        kind: GameKind::Selfplay,
        players: vec![Player::Model(ModelId(Hash([3; 32]))), Player::Random],
        moves,
        decisions,
        winner_seat: state.outcome().map_or(0, |outcome| outcome.winner),
        node: NodeId(1),
        created_ms: seed,
        played: Some(Played { simulations: 16, exploration: 1.0, backend: "cpu".to_owned() }),
    }
}

/// The shortest of some random games.
fn short(from: u64) -> GameRecord {
    (from..from + 20).map(played).min_by_key(|game| game.moves.len()).unwrap_or_else(|| played(from))
}

pub(super) fn game(bytes: &[u8]) {
    let decode = |bytes: &[u8]| {
        let game = GameRecord::from_bytes(bytes).ok()?;
        let valid = game.validate();
        Some(move || {
            let bytes = game.to_bytes().expect("it was as large before");
            assert!(valid.is_err() || valid.is_ok_and(|facts| facts.id == Hash::of(&bytes)));
            bytes
        })
    };
    framed(frames::GAME, bytes, decode);
    framed(frames::GAME_BARE, bytes, decode);
}

/// The bodies of frames of games that say how they were played.
fn bodies(games: impl IntoIterator<Item = GameRecord>) -> Vec<Vec<u8>> {
    seeds::bodies(games.into_iter().map(|game| {
        let played = game.played.clone();
        (game, played.expect("random games say it"))
    }))
}

pub(super) fn game_seeds() -> Vec<Vec<u8>> {
    let bare = GameRecord { played: None, ..short(0) };
    [bodies([short(0)]), seeds::bodies([bare])].concat()
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut stream = ZlibEncoder::new(Vec::new(), Compression::fast());
    stream.write_all(bytes).and_then(|()| stream.finish()).expect("memory takes everything")
}

/// The body of a row of a database: as it is, and as the compressed frame of a game.
pub(super) fn stored_game(bytes: &[u8]) {
    let (kind, limit) = frames::GAME;
    let read = bounded(limit, || node::stored_game(Hash([0; 32]), bytes));
    assert!(read.is_none(), "a game without its name");
    let game = frame(kind, bytes);
    let (id, body) = (Hash::of(&game), compressed(&game));
    if let Some(read) = bounded(limit, || node::stored_game(id, &body)) {
        assert_eq!(read.to_bytes().as_ref(), Ok(&game));
    }
}

pub(super) fn stored_game_seeds() -> Vec<Vec<u8>> {
    let body = game_seeds().swap_remove(0);
    vec![compressed(&frame(frames::GAME.0, &body)), body]
}

/// The games of a segment, each behind its length, under a header that fits them; and the bytes as they are.
pub(super) fn segment(bytes: &[u8]) {
    // The bound of a segment's games before compression.
    const LIMIT: usize = ringrift::store::segment::BODY_BYTES_MAX;
    let whole = bytes.to_vec();
    let _ = bounded(LIMIT, || Segment::open(whole));
    let (mut rest, mut games) = (bytes, Vec::new());
    while let Some((length, more)) = rest.split_first_chunk::<2>() {
        let (body, more) = more.split_at(usize::from(u16::from_le_bytes(*length)).min(more.len()));
        games.push(frame(frames::GAME.0, body));
        rest = more;
    }
    let whole = sealed(&games);
    if let Ok(segment) = bounded(LIMIT, || Segment::open(whole.clone())) {
        assert_eq!(segment.bytes(), whole);
        let header = Segment::peek(&whole).expect("what can be opened has a header");
        assert_eq!(&header, segment.header());
    }
}

/// A segment of these frames of games.
fn sealed(games: &[Vec<u8>]) -> Vec<u8> {
    let first = games.first().and_then(|game| GameRecord::from_bytes(game).ok());
    let body: Vec<u8> =
        games.iter().flat_map(|game| [&(game.len() as u32).to_le_bytes(), &game[..]].concat()).collect();
    let samples = games.iter().filter_map(|game| GameRecord::from_bytes(game).ok());
    let header = SegmentHeader {
        config_key: first.as_ref().map(|game| game.config.clone()).unwrap_or_else(hex8),
        source: match first.as_ref().map(|game| game.kind) {
            Some(GameKind::Match | GameKind::Baseline) => Source::Evaluation,
            Some(GameKind::Selfplay) | None => Source::Selfplay,
        },
        model: ModelId(Hash([3; 32])),
        node: first.map_or(NodeId(1), |game| game.node),
        games: games.len() as u32,
        samples: samples.map(|game| game.decisions.len() as u64).sum(),
        body_bytes: body.len() as u64,
    };
    let header =
        wire::encode(frames::SEGMENT_HEADER.0, &header, usize::MAX).expect("a header can be encoded");
    [&(header.len() as u32).to_le_bytes()[..], &header, &compressed(&body)].concat()
}

pub(super) fn segment_seeds() -> Vec<Vec<u8>> {
    let mut games = [short(0), short(20)];
    games.sort_by_key(GameRecord::id);
    let bodies = bodies(games);
    let listed = |body: &Vec<u8>| [&(body.len() as u16).to_le_bytes()[..], body].concat();
    let frames: Vec<Vec<u8>> = bodies.iter().map(|body| frame(frames::GAME.0, body)).collect();
    vec![bodies.iter().flat_map(listed).collect(), sealed(&frames)]
}

/// The smallest checkpoint.
fn tiny() -> Checkpoint {
    let architecture = Architecture { channels: 4, blocks: 1, ..Architecture::small(Board::Hex8) };
    Checkpoint::seeded(Config { board: Board::Hex8, seats: 2 }, architecture, 1)
}

/// A checkpoint, and the header of one, which gets weights and a checksum.
pub(super) fn checkpoint(bytes: &[u8]) {
    read_checkpoint(bytes);
    let Ok(header) = serde_json::from_slice::<CheckpointHeader>(bytes) else { return };
    let mut whole = tiny();
    if header.architecture == whole.header.architecture {
        whole.header = header;
        read_checkpoint(&whole.to_bytes());
    }
}

fn read_checkpoint(bytes: &[u8]) {
    // Weights are read into one array, copied once and written once to be compared.
    let limit = 2 * bytes.len() + (64 << 10);
    if let Ok(read) = bounded(limit, || Checkpoint::from_bytes(bytes)) {
        assert_eq!(read.to_bytes(), bytes);
    }
}

pub(super) fn checkpoint_seeds() -> Vec<Vec<u8>> {
    let whole = tiny();
    vec![whole.to_bytes(), serde_json::to_vec(&whole.header).expect("plain data")]
}

pub(super) fn folder_files(bytes: &[u8]) {
    bounded(node::FILE_BYTES_MAX, || node::format(bytes));
    bounded(node::FILE_BYTES_MAX, || serde_json::from_slice::<ringrift::store::Runtime>(bytes).is_ok());
    bounded(node::FILE_BYTES_MAX, || node::addresses(bytes));
    bounded(node::FILE_BYTES_MAX, || node::secret(bytes));
    if let Ok(text) = from_utf8(bytes) {
        bounded(node::FILE_BYTES_MAX, || node::token(text));
    }
}

pub(super) fn folder_files_seeds() -> Vec<Vec<u8>> {
    seeds::texts([
        r#"{"format": 3, "peer_id": "12D3KooWQRMuTRh9AzdTzcMkAsHkSRXxRczDwF2Q5PzNWSsWQ2Rd", "created_ms": 7}"#.to_owned(),
        r#"{"pid": 7, "http": "http://127.0.0.1:80", "p2p": ["/ip4/127.0.0.1/tcp/4001"], "node": 3, "peer_id": "p"}"#.to_owned(),
        r#"["/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWQRMuTRh9AzdTzcMkAsHkSRXxRczDwF2Q5PzNWSsWQ2Rd"]"#.to_owned(),
        "0123456789abcdef".repeat(4),
    ])
}

pub(super) fn settings(bytes: &[u8]) {
    // The file has at most 64 KiB; the parser of TOML keeps much for each byte of it.
    const MEMORY_MAX: usize = 2 << 20;
    let Ok(text) = from_utf8(bytes) else { return };
    if let Some(config) = bounded(MEMORY_MAX, || node::settings(text))
        && bounded(MEMORY_MAX, || config.validate()).is_ok()
    {
        assert_eq!(config.games().len(), config.configs.len());
    }
}

pub(super) fn settings_seeds() -> Vec<Vec<u8>> {
    // The page names a setting as `section.name` and its default in the next column.
    let mut tables = std::collections::BTreeMap::<&str, String>::new();
    for line in seeds::SETTINGS.lines() {
        let columns: Vec<&str> = line.split('|').map(|column| column.trim().trim_matches('`')).collect();
        let [_, name, default, ..] = columns[..] else { continue };
        if !name.starts_with(|first: char| first.is_ascii_lowercase()) || default == "default" {
            continue;
        }
        let (section, name) = name.split_once('.').unwrap_or(("", name));
        let table = tables.entry(section).or_default();
        table.push_str(&format!("{name} = {default}\n"));
    }
    let table = |(section, lines): (&str, String)| match section {
        "" => lines,
        section => format!("[{section}]\n{lines}"),
    };
    let pages = tables.into_iter().map(table).collect::<Vec<_>>();
    let known = "seed = 7\ndevice = 'cpu'\nconfigs = ['hex8_2p', \"square8_3p\"]\n[autoscaler]\ncommand = ['a', '{x}']\n";
    seeds::texts(pages.into_iter().chain([known.to_owned()]))
}

pub(super) fn claim(bytes: &[u8]) {
    // A claim is written from an event, so it is no larger than one.
    let decode = |bytes: &[u8]| node::claim(from_utf8(bytes).ok()?);
    stable(frames::ENVELOPE.1, bytes, decode);
}

pub(super) fn claim_seeds() -> Vec<Vec<u8>> {
    let model = "ab".repeat(32);
    seeds::texts([
        r#"{"Host":2}"#.to_owned(),
        r#"{"Cluster":"an operator says so: drill"}"#.to_owned(),
        r#"{"Regression":{"config_key":"hex8_2p","severity":"Critical","reason":"r"}}"#.to_owned(),
        format!(r#"{{"Distribution":{{"config_key":"hex8_2p","model":"{model}","error":"e"}}}}"#),
    ])
}
