use super::*;
use crate::store::{RecordError, fixture};
use cluster_state::NodeId;
use proptest::prelude::*;

fn games(count: u64) -> Vec<GameRecord> {
    (0..count).map(|seed| fixture::game("hex8_2p", seed)).collect()
}

fn segment(count: u64) -> Segment {
    Segment::build(&"hex8_2p".into(), Source::Selfplay, fixture::model(), NodeId(1), games(count)).unwrap()
}

/// A segment file with any header and any games in any order.
fn forge(change: impl FnOnce(&mut SegmentHeader), records: &[GameRecord]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut decisions = 0;
    for record in records {
        let frame = record.to_bytes().unwrap();
        body.extend_from_slice(&(frame.len() as u32).to_le_bytes());
        body.extend_from_slice(&frame);
        decisions += record.decisions.len() as u64;
    }
    let mut header = SegmentHeader {
        config_key: "hex8_2p".into(),
        source: Source::Selfplay,
        model: fixture::model(),
        node: NodeId(1),
        games: records.len() as u32,
        samples: decisions,
        body_bytes: body.len() as u64,
    };
    change(&mut header);
    write(&header, &body).unwrap()
}

fn sorted(count: u64) -> Vec<GameRecord> {
    let mut games = games(count);
    games.sort_by_key(GameRecord::id);
    games
}

#[test]
fn what_is_built_can_be_opened_and_has_one_name() {
    let segment = segment(5);
    assert_eq!(segment.hash(), SegmentId(Hash::of(segment.bytes())));
    assert_eq!(segment.header().games, 5);
    assert_eq!(
        segment.header().samples,
        games(5).iter().map(|game| game.decisions.len() as u64).sum::<u64>()
    );
    assert_eq!(Segment::open(segment.bytes().to_vec()).unwrap(), segment);
    let mut reversed = games(5);
    reversed.reverse();
    let again =
        Segment::build(&"hex8_2p".into(), Source::Selfplay, fixture::model(), NodeId(1), reversed).unwrap();
    assert_eq!(again.bytes(), segment.bytes());
    assert_eq!(forge(|_| (), &sorted(5)), segment.bytes());
}

#[test]
fn golden_header() {
    let header = SegmentHeader {
        config_key: "hex8_2p".into(),
        source: Source::Evaluation,
        model: ModelId(Hash([7; 32])),
        node: NodeId(1),
        games: 2,
        samples: 3,
        body_bytes: 4,
    };
    let bytes = write(&header, b"").unwrap();
    let frame = &bytes[..LENGTH + header_length(&bytes).unwrap()];
    assert_eq!(hex::encode(frame), HEADER);
    let unknown = SegmentHeader { source: Source::of("other"), ..header };
    assert!(matches!(write(&unknown, b""), Err(SegmentError::Header(_))));
}

const HEADER: &str = "5b000000525201214f0000000700000000000000686578385f327001000000070707070707070707\
        07070707070707070707070707070707070707070707070100000000000000020000000300000000\
        0000000400000000000000fbbe6f3a";

#[test]
fn a_full_segment_is_small() {
    let segment = segment(GAMES_MAX as u64);
    let per_game = segment.bytes().len() / GAMES_MAX;
    assert!(per_game < 4096, "{per_game}");
}

#[test]
fn games_that_make_no_segment_are_refused() {
    let build = |source, model, records| {
        Segment::build(&"hex8_2p".into(), source, model, NodeId(1), records).unwrap_err()
    };
    let model = fixture::model();
    assert_eq!(build(Source::Selfplay, model, vec![]), SegmentError::Games(0));
    assert_eq!(
        build(Source::Selfplay, model, vec![fixture::game("hex8_2p", 0); GAMES_MAX + 1]),
        SegmentError::Games(GAMES_MAX + 1)
    );
    let twice = vec![fixture::game("hex8_2p", 0); 2];
    let id = twice[0].id();
    assert_eq!(build(Source::Selfplay, model, twice), SegmentError::Duplicate { index: 1, id });
    assert_eq!(
        build(Source::Selfplay, model, vec![fixture::game("hex8_3p", 0)]),
        SegmentError::Stranger { index: 0, what: "configuration" }
    );
    assert_eq!(
        build(Source::Evaluation, model, games(1)),
        SegmentError::Stranger { index: 0, what: "source" }
    );
    let mut other = games(1);
    other[0].node = NodeId(2);
    assert_eq!(build(Source::Selfplay, model, other), SegmentError::Stranger { index: 0, what: "node" });
    let stranger = Hash::of(b"another");
    assert_eq!(build(Source::Selfplay, ModelId(stranger), games(1)), SegmentError::Model(ModelId(stranger)));
    let mut wrong = games(2);
    wrong[1].winner_seat = 9;
    assert!(matches!(build(Source::Selfplay, model, wrong), SegmentError::Game { index: 1, .. }));
}

#[test]
fn forged_segments_are_refused() {
    let good = sorted(3);
    let check = |bytes: Vec<u8>, expected: SegmentError| {
        assert_eq!(Segment::open(bytes).unwrap_err(), expected);
    };
    let count = |what, claimed, actual| SegmentError::Count { what, claimed, actual };
    let samples = good.iter().map(|game| game.decisions.len() as u64).sum();
    check(forge(|h| h.samples = 1, &good), count("samples", 1, samples));
    check(forge(|h| h.games = 4, &good), SegmentError::Truncated);
    check(forge(|h| h.games = 0, &good), SegmentError::Games(0));
    check(forge(|h| h.games = u32::MAX, &good), SegmentError::Games(u32::MAX as usize));
    check(forge(|h| h.node = NodeId(4), &good), SegmentError::Stranger { index: 0, what: "node" });
    check(
        forge(|h| h.config_key = "hex8_3p".into(), &good),
        SegmentError::Stranger { index: 0, what: "configuration" },
    );
    check(forge(|h| h.model = ModelId(Hash::of(b"x")), &good), SegmentError::Model(ModelId(Hash::of(b"x"))));
    let limit = BODY_BYTES_MAX as u64 + 1;
    check(
        forge(|h| h.body_bytes = limit, &good),
        SegmentError::TooLarge { bytes: limit, limit: BODY_BYTES_MAX },
    );
    let fewer = Segment::open(forge(|h| h.games = 2, &good));
    assert!(matches!(fewer, Err(SegmentError::Count { what: "bytes", .. })), "{fewer:?}");
    check(forge(|_| (), &[good[1].clone(), good[0].clone()]), SegmentError::Order { index: 1 });
    let twice = [good[0].clone(), good[0].clone()];
    check(forge(|_| (), &twice), SegmentError::Duplicate { index: 1, id: good[0].id() });
    let mut wrong = good.clone();
    wrong[2].moves.pop();
    let wrong = Segment::open(forge(|_| (), &wrong));
    assert!(matches!(wrong, Err(SegmentError::Game { index: 2, .. })), "{wrong:?}");
    let mut longer = forge(|_| (), &good);
    longer.push(0);
    check(longer, SegmentError::Body("bytes after the last game".into()));
    check(vec![], SegmentError::Truncated);
    check(vec![1, 0, 0, 0], SegmentError::Truncated);
    check(
        vec![0; SEGMENT_BYTES_MAX + 1],
        SegmentError::TooLarge { bytes: SEGMENT_BYTES_MAX as u64 + 1, limit: SEGMENT_BYTES_MAX },
    );
}

#[test]
fn a_bomb_is_not_unpacked() {
    // 100 MB of zeros in 100 kB: refused at the first length, which is that of no frame.
    let bomb = forge(|_| (), &games(1));
    let header = LENGTH + header_length(&bomb).unwrap();
    let bytes = compress(bomb[..header].to_vec(), &vec![0; 100 << 20]);
    assert!(bytes.len() < 200 << 10);
    let error = Segment::open(bytes).unwrap_err();
    assert!(matches!(error, SegmentError::Game { index: 0, source: RecordError::Wire(_) }), "{error:?}");
    let bytes = compress(bomb[..header].to_vec(), &[0xff; 1 << 20]);
    let error = Segment::open(bytes).unwrap_err();
    assert!(matches!(error, SegmentError::TooLarge { bytes: 0xffff_ffff, .. }), "{error:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Segment::open(bytes).is_err());
    }

    #[test]
    fn a_flipped_bit_or_a_cut_is_refused(at in any::<usize>(), bit in 0..8u32, cut in any::<bool>()) {
        let good = segment(2);
        let mut bytes = good.bytes().to_vec();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        match Segment::open(bytes) {
            Err(_) => {}
            // Some bits of a compressed stream mean nothing; then the games are the same under another name.
            Ok(segment) => prop_assert!(segment.games() == good.games() && segment.hash() != good.hash()),
        }
    }
}
