use super::*;
use crate::store::{PendingSegment, PendingSegments, fixture};
use cluster_state::{NodeId, SegmentId, Source};
use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    process::{Command, Stdio},
};

fn hex8() -> Config {
    "hex8_2p".parse().unwrap()
}

fn open(path: &Path) -> GamesDb {
    let opened = GamesDb::open(path, hex8(), "now").unwrap();
    assert_eq!(opened.set_aside, None);
    opened.db
}

fn segment(seeds: std::ops::Range<u64>) -> Segment {
    let games = seeds.map(|seed| fixture::game("hex8_2p", seed)).collect();
    Segment::build(&"hex8_2p".into(), Source::Selfplay, fixture::model(), NodeId(1), games).unwrap()
}

/// Overwrites bytes of a file.
fn damage(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn a_segment_is_consolidated_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("games.db");
    let db = open(&path);
    let (first, second) = (segment(0..6), segment(4..9));
    assert!(!db.has_segment(&first.hash()).unwrap());
    assert_eq!(db.insert_segment(&first).unwrap(), Inserted { games_new: 6, known: false });
    assert_eq!(db.insert_segment(&first).unwrap(), Inserted { games_new: 0, known: true });
    // Two games of the second are here already.
    assert_eq!(db.insert_segment(&second).unwrap(), Inserted { games_new: 3, known: false });
    drop(db);
    let db = open(&path);
    let mut hashes = [first.hash(), second.hash()];
    hashes.sort();
    assert_eq!(db.segments().unwrap(), hashes);
    assert!(db.has_segment(&first.hash()).unwrap());
    let count = db.count(GameKind::Selfplay).unwrap();
    let samples = (0..9).map(|seed| fixture::game("hex8_2p", seed).decisions.len() as u64).sum();
    assert_eq!(count, Count { games: 9, samples });
    assert_eq!(db.count(GameKind::Match).unwrap(), Count::default());
    db.integrity().unwrap();
}

#[test]
fn windows_hold_the_newest_games() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(&folder.path().join("games.db"));
    db.insert_segment(&segment(0..4)).unwrap();
    db.insert_segment(&segment(4..8)).unwrap();
    let game = |seed| fixture::game("hex8_2p", seed);
    assert_eq!(db.game(&game(3).id()).unwrap(), Some(game(3)));
    assert_eq!(db.game(&game(99).id()).unwrap(), None);
    assert_eq!(db.newest(GameKind::Selfplay, 2).unwrap(), [game(7), game(6)]);
    assert_eq!(db.newest(GameKind::Baseline, 2).unwrap(), []);
    let of = |seeds: &[u64]| seeds.iter().map(|seed| game(*seed)).collect::<Vec<_>>();
    assert_eq!(db.window(1, 100).unwrap(), of(&[7]));
    let newest = game(7).decisions.len() as u64;
    assert_eq!(db.window(newest, 100).unwrap(), of(&[7]));
    assert_eq!(db.window(newest + 1, 100).unwrap(), of(&[7, 6]));
    assert_eq!(db.window(0, 100).unwrap(), []);
    assert_eq!(db.window(u64::MAX, 3).unwrap(), of(&[7, 6, 5]));
    assert_eq!(db.window(u64::MAX, usize::MAX).unwrap().len(), 8);
}

#[test]
fn a_game_from_the_future_does_not_stay_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(&folder.path().join("games.db"));
    let insert = |created_ms, seed| {
        let mut game = fixture::game("hex8_2p", seed);
        game.created_ms = created_ms;
        let model = fixture::model();
        db.insert_segment(
            &Segment::build(&"hex8_2p".into(), Source::Selfplay, model, NodeId(1), vec![game]).unwrap(),
        )
        .unwrap();
    };
    insert(i64::MAX as u64, 0);
    let consolidated = now_ms();
    while now_ms() <= consolidated {
        std::hint::spin_loop(); // at most a millisecond
    }
    insert(now_ms(), 1);
    let newest = db.newest(GameKind::Selfplay, 2).unwrap();
    assert_eq!(newest.iter().map(|game| game.seed).collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn columns_say_who_won() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(&folder.path().join("games.db"));
    let segment = segment(0..3);
    db.insert_segment(&segment).unwrap();
    for SegmentGame { record, facts } in segment.games() {
        let row: (String, [u8; 32], String, u32, u8, String, i64, [u8; 32]) = db
            .connection
            .lock()
            .query_row(
                "SELECT kind, model, opponents, plies, result, reason, source_node, segment FROM games WHERE id = ?",
                [facts.id.0],
                |row| {
                    Ok((
                        row.get(0)?,
                        row.get(1)?,
                        row.get(2)?,
                        row.get(3)?,
                        row.get(4)?,
                        row.get(5)?,
                        row.get(6)?,
                        row.get(7)?,
                    ))
                },
            )
            .unwrap();
        let model = fixture::model();
        let expected = (
            "selfplay".to_owned(),
            model.0.0,
            format!("{model},{model}"),
            record.moves.len() as u32,
            facts.winner,
            facts.reason.as_str().to_owned(),
            1,
            segment.hash().0.0,
        );
        assert_eq!(row, expected);
    }
}

#[test]
fn other_files_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foreign.db");
    let foreign = Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE t(x)").unwrap();
    drop(foreign);
    let before = fs::read(&path).unwrap();
    let open = |path: &Path, config: &str| GamesDb::open(path, config.parse().unwrap(), "now").map(|_| ());
    assert!(matches!(open(&path, "hex8_2p"), Err(DbError::Foreign { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);

    let path = folder.path().join("games.db");
    open(&path, "hex8_2p").unwrap();
    let error = open(&path, "hex8_3p").unwrap_err();
    assert!(matches!(&error, DbError::OtherConfig { found, .. } if found == "hex8_2p"), "{error}");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    let error = open(&path, "hex8_2p").unwrap_err();
    assert!(matches!(error, DbError::Newer { found: 7, supported: 1, .. }), "{error}");
    let error = open(folder.path(), "hex8_2p").unwrap_err();
    assert!(matches!(error, DbError::Sqlite { .. }), "{error}");
}

#[test]
fn games_of_another_configuration_stay_out() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(&folder.path().join("games.db"));
    let games = vec![fixture::game("hex8_3p", 0)];
    let other =
        Segment::build(&"hex8_3p".into(), Source::Selfplay, fixture::model(), NodeId(1), games).unwrap();
    assert!(matches!(db.insert_segment(&other), Err(DbError::OtherConfig { .. })));
    assert_eq!(db.segments().unwrap(), []);
}

#[test]
fn a_damaged_database_is_moved_aside_and_filled_again() {
    let segment = segment(0..64);
    let check = |name: &str, hurt: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("games.db");
        let db = open(&path);
        db.insert_segment(&segment).unwrap();
        drop(db);
        hurt(&path);
        let hurt = fs::read(&path).unwrap();
        let OpenedGamesDb { db, set_aside } = GamesDb::open(&path, hex8(), "20251125").unwrap();
        let aside = set_aside.unwrap_or_else(|| panic!("{name}: damage was not seen"));
        assert_eq!(aside, folder.path().join("games.db.corrupt-20251125"), "{name}");
        assert_eq!(fs::read(aside).unwrap(), hurt, "{name}: nothing is lost");
        assert_eq!(db.segments().unwrap(), [], "{name}");
        assert_eq!(db.insert_segment(&segment).unwrap().games_new, 64, "{name}");
        db.integrity().unwrap();
    };
    check("the header", &|path| damage(path, 0, b"not a database"));
    check("an inner page", &|path| damage(path, 4096 * 3, &[0xa5; 4096]));
    check("every inner page", &|path| {
        let length = File::open(path).unwrap().metadata().unwrap().len();
        damage(path, 4096 * 4, &vec![0; (length - 4096 * 4) as usize]);
    });
    check("the end", &|path| {
        let length = File::open(path).unwrap().metadata().unwrap().len();
        OpenOptions::new().write(true).open(path).unwrap().set_len(length / 2).unwrap();
    });
}

#[test]
fn a_changed_game_is_noticed_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(&folder.path().join("games.db"));
    db.insert_segment(&segment(0..3)).unwrap();
    let (a, b) = (fixture::game("hex8_2p", 0), fixture::game("hex8_2p", 1));
    let other = body(&b);
    for bytes in [&other[..], &other[..other.len() / 2], b"", &compress(Vec::new(), b"x")] {
        db.connection
            .lock()
            .execute("UPDATE games SET body = ? WHERE id = ?", params![bytes, a.id().0])
            .unwrap();
        for result in [db.game(&a.id()).map(drop), db.window(u64::MAX, 9).map(drop), db.integrity()] {
            assert!(matches!(result, Err(DbError::Corrupt { .. })), "{result:?}");
        }
    }
    assert_eq!(db.game(&b.id()).unwrap(), Some(b));
}

#[test]
fn two_connections_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("games.db");
    let dbs = [open(&path), open(&path)];
    std::thread::scope(|scope| {
        for (i, db) in (0u64..).zip(&dbs) {
            scope.spawn(move || {
                for n in 0..4 {
                    db.insert_segment(&segment(i * 100 + n..i * 100 + n + 3)).unwrap();
                    db.window(u64::MAX, 100).unwrap();
                }
            });
        }
    });
    for db in &dbs {
        assert_eq!(db.segments().unwrap().len(), 8);
        assert_eq!(db.count(GameKind::Selfplay).unwrap().games, 12);
    }
}

#[test]
fn a_kill_leaves_whole_segments() {
    const CHILD: &str = "RINGRIFT_TEST_GAMES";
    let segments: Vec<_> = (0..24).map(|i| segment(i * 8..i * 8 + 8)).collect();
    if let Some(folder) = std::env::var_os(CHILD) {
        let folder = Path::new(&folder);
        let db = open(&folder.join("games.db"));
        let list = PendingSegments::open(&folder.join("segments.db")).unwrap();
        for segment in &segments {
            list.add_pending(&PendingSegment::from(segment)).unwrap();
            db.insert_segment(segment).unwrap();
            println!("\nkept {}", segment.hash());
        }
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for lines in [1, 2, 5, 9] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::games::tests::a_kill_leaves_whole_segments", "--nocapture"])
            .env(CHILD, folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let kept: Vec<Hash> =
            output.filter_map(|line| line.strip_prefix("kept ")?.parse().ok()).take(lines).collect();
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        assert_eq!(kept.len(), lines);
        let db = open(&folder.path().join("games.db"));
        db.integrity().unwrap();
        let found = db.segments().unwrap();
        assert_eq!(db.count(GameKind::Selfplay).unwrap().games, 8 * found.len() as u64);
        let list = PendingSegments::open(&folder.path().join("segments.db")).unwrap();
        let pending: Vec<_> = list.pending().unwrap().into_iter().map(|segment| segment.hash).collect();
        assert!(
            kept.iter().all(|hash| found.contains(&SegmentId(*hash)) && pending.contains(&SegmentId(*hash)))
        );
        assert!(found.iter().all(|hash| pending.contains(hash)), "listed before it is consolidated");
    }
}
