//! Replays the kept selection of the recorded games: every board, number of seats and kind of trace.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::io::Read;

use rules::Config;

#[test]
fn recorded_games_replay_without_a_mismatch() {
    let (mut games, mut steps) = (0, 0);
    for path in support::trace_files() {
        let report = rules::trace::check(support::open(&path), |_| {})
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(report.mismatch.is_none(), "{}: {}", path.display(), report.mismatch.unwrap());
        games += report.games;
        steps += report.steps;
    }
    assert_eq!((games, steps), (1_171, 105_049));
}

#[test]
fn the_selection_covers_configurations_moves_and_endings() {
    let files = support::trace_files();
    let names: Vec<String> =
        files.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let mut bytes = 0;
    let mut text = String::new();
    for path in &files {
        bytes += path.metadata().unwrap().len();
        support::open(path).read_to_string(&mut text).unwrap();
    }
    assert!(bytes <= 4 << 20, "{bytes} bytes of traces");
    for config in Config::all() {
        for kind in ["compact-", "compact-pos-", "verbose-", "verbose-pos-"] {
            let name = format!("{kind}{}-{}p.jsonl.gz", config.board, config.seats);
            assert!(names.contains(&name), "{name}");
        }
    }
    let moves = [
        "P:", "SP\"", "NP\"", "SW\"", "M:", "C:", "SC\"", "K:", "R1:", "R2:", "RF:", "RS:", "SR\"", "NM\"",
        "L:", "O:", "EL:", "NL\"", "T:", "ET:", "ER:", "ST\"", "NT\"", "F:",
    ];
    for name in moves {
        let (compact, verbose) = (format!("[\"{name}"), format!("\"m\":\"{name}"));
        // No verbose game has the rarest move.
        assert!(text.contains(&compact) && (text.contains(&verbose) || name == "R2:"), "{name}");
    }
    for end in ["ring_elimination", "territory_control", "last_player_standing", "lps_rounds", "turn_end"] {
        assert!(text.contains(&format!("\"{end}\"")), "{end}");
    }
}
