//! What proves a card proves emulation too.

mod games;
mod golden;

use crate::device::tests::emulated::Emulated;
use crate::device::tests::product::{Fault, Faulty};
use crate::device::trial::comparison::Comparison;
use crate::device::trial::evaluations::evaluations;
use crate::error::DeviceError;
use crate::network::architecture::Architecture;
use crate::proof::timing::Effort;
use crate::proof::waves::Waves;
use crate::proof::{again, passes, recorded, timing, training, waves, waves_speed};
use rules::{Board, Config};
use std::cell::Cell;
use std::io::BufReader;
use std::time::Duration;

fn open() -> Result<Emulated, DeviceError> {
    Ok(Emulated::new(1))
}

fn assert_agree(found: &[Comparison]) {
    assert!(!found.is_empty());
    for comparison in found {
        assert!(comparison.agrees() && comparison.compared > 0, "{comparison:?}");
        assert!(comparison.worst.is_some_and(|worst| worst > 0.0), "bf16 is not f32: {comparison:?}");
    }
}

#[test]
fn evaluations_of_emulation_agree_with_the_cpu() {
    for (board, seats) in [(Board::Hex8, 2), (Board::Square8, 3)] {
        assert_agree(&evaluations(open, Config { board, seats }, (4, 32), &[1, 5]).unwrap());
    }
    let config = Config { board: Board::Hexagonal, seats: 2 };
    assert_agree(&evaluations(open, config, (3, 32), &[1]).unwrap());
}

#[test]
fn training_steps_of_emulation_agree_with_the_cpu() {
    let config = Config { board: Board::Hex8, seats: 2 };
    assert_agree(&training::training(open, config, (3, 32), (3, 2)).unwrap());
}

#[test]
fn one_pass_over_positions_that_come_again_agrees_with_the_cpu() {
    let config = Config { board: Board::Hex8, seats: 2 };
    let found = passes::one_pass(open, config, (3, 32), (11, 3)).unwrap();
    assert_agree(&found);
    assert_eq!(found[1].compared, 44, "four values of each");
    let wrong = passes::one_pass(|| Ok(Faulty::new(Fault::Zeros)), config, (3, 32), (11, 3)).unwrap();
    assert!(wrong.iter().all(|one| !one.agrees()), "{wrong:?}");
}

#[test]
fn the_same_again_gives_the_same_bits() {
    let config = Config { board: Board::Hex8, seats: 2 };
    // The second time under another schedule.
    let schedule = Cell::new(0);
    let open = || {
        schedule.set(schedule.get() + 1);
        Ok(Emulated::new(schedule.get()))
    };
    let evaluated = again::evaluations(open, config, (3, 32), 3).unwrap();
    let trained = again::training(open, config, (3, 32), (3, 2)).unwrap();
    assert_eq!(schedule.get(), 4);
    for found in [evaluated, trained] {
        assert!(found.agrees() && found.compared > 100, "{found:?}");
    }
}

#[test]
fn a_device_that_does_otherwise_the_second_time_is_found_out() {
    let config = Config { board: Board::Hex8, seats: 2 };
    let times = Cell::new(0);
    let open = || {
        times.set(times.get() + 1);
        let fault = if times.get() % 2 == 0 { Fault::Skips("adamw") } else { Fault::Skips("none") };
        Ok(Faulty::new(fault))
    };
    let found = again::training(open, config, (1, 32), (3, 2)).unwrap();
    assert!(found.wrong.is_some_and(|wrong| wrong.contains("words differ")));
    let open = || {
        times.set(times.get() + 1);
        let fault = if times.get() % 2 == 0 { Fault::Zeros } else { Fault::Skips("none") };
        Ok(Faulty::new(fault))
    };
    let found = again::evaluations(open, config, (1, 32), 3).unwrap();
    assert!(found.wrong.is_some_and(|wrong| wrong.contains("words differ")));
}

/// A game of two steps, and another after an empty line.
const GAMES: &str = concat!(
    r#"{"board":"hex8","players":2,"swap":true,"victory":"every_move","#,
    r#""init":"place p=1|h18e0t0|h18e0t0|S |M |C |L f=0 m= x=0 n=0","#,
    r#""steps":[["P:-4,1*3"],{"m":"M:-4,1>-1,-2"}]}"#,
    "\n\n",
    r#"{"board":"hex8","players":2,"swap":true,"victory":"turn_end","#,
    r#""init":"place p=1|h18e0t0|h18e0t0|S |M |C |L f=0 m= x=0 n=0","steps":[["P:0,0*1"]]}"#,
    "\n",
);

#[test]
fn recorded_games_are_replayed_or_what_is_wrong_with_them_is_said() {
    let device = Emulated::new(1);
    let replay = |text: &str, games_max| recorded::compare(&device, "these", text.as_bytes(), games_max);
    let found = replay(GAMES, usize::MAX);
    assert_eq!((found.what.as_str(), found.compared), ("2 recorded games of these", 3), "{found:?}");
    assert!(found.agrees());
    assert_eq!(replay(GAMES, 1).compared, 2);
    for (from, to, reason) in [
        ("*3", "*33", "line 1: step 0: \"P:-4,1*33\" is not legal"),
        ("M:-4,1>-1,-2", "nothing", "line 1: step 1: \"nothing\" is not legal"),
        ("{\"m\":\"M:-4,1>-1,-2\"}", "[]", "line 1: step 1 has no move"),
        ("turn_end", "never", "line 3: \"never\" is no victory timing"),
        ("\"players\":2", "\"players\":5", "line 1: 5 seats"),
        ("hex8", "hex9", "line 1: unknown board"),
        ("place p=1", "p", "line 1: its first position: "),
        ("{", "", "line 1: "),
        (GAMES, "\n", "no game"),
    ] {
        let found = replay(&GAMES.replacen(from, to, 1), usize::MAX);
        assert!(found.wrong.as_ref().is_some_and(|wrong| wrong.starts_with(reason)), "{reason}: {found:?}");
    }
    let unreadable = BufReader::new(flate2::read::GzDecoder::new(&b"no gzip"[..]));
    let found = recorded::compare(&device, "these", unreadable, 1);
    assert!(found.wrong.is_some_and(|wrong| wrong.starts_with("line 1 cannot be read: ")));
    let lying = recorded::compare(&Faulty::new(Fault::Zeros), "these", GAMES.as_bytes(), 1);
    assert!(lying.wrong.is_some_and(|wrong| wrong.contains("legal moves differ")));
}

#[test]
fn a_device_that_never_changes_a_weight_is_found_out() {
    let config = Config { board: Board::Hex8, seats: 2 };
    let open = || Ok(Faulty::new(Fault::Skips("adamw")));
    let found = training::training(open, config, (3, 32), (3, 2)).unwrap();
    let wrong: Vec<_> = found.iter().filter(|one| !one.agrees()).map(|one| one.what.as_str()).collect();
    assert_eq!(wrong, ["the way of averaged weights of 2 steps on 3 positions, b3c32-hex on hex8"]);
}

#[test]
fn emulation_is_timed() {
    let config = Config { board: Board::Hex8, seats: 2 };
    let effort = Effort { repeats: 2, at_least: Duration::from_millis(1) };
    let small = Architecture::small(config.board);
    let forward = timing::forward(&Emulated::new(0), config, small, 1, effort).unwrap();
    let training = timing::training(Emulated::new(0), config, small, 1, effort).unwrap();
    let few = Waves { slots: 2, games: 1, simulations: 2 };
    let games = waves_speed::speed(Emulated::new(0), config, small, few, effort).unwrap();
    assert!(games.decisions_per_game > 10.0 && games.evaluations_per_decision > 0.0, "{games:?}");
    assert!(games.evaluations_per_s > games.speed.median && games.seconds > 0.0, "{games:?}");
    for speed in [forward, training, games.speed] {
        assert!(speed.median > 0.0 && speed.repeats == 2, "{speed:?}");
    }
}

#[test]
fn games_with_the_search_in_emulation_are_games() {
    for (config, waves) in [
        ("hex8_2p", Waves { slots: 2, games: 3, simulations: 3 }),
        ("square8_3p", Waves { slots: 2, games: 1, simulations: 2 }),
    ] {
        // The second time under another schedule.
        let schedule = Cell::new(0);
        let open = || {
            schedule.set(schedule.get() + 1);
            Ok(Emulated::new(schedule.get()))
        };
        let found = waves::games(open, config.parse().unwrap(), (1, 32), waves).unwrap();
        assert_eq!((found.len(), schedule.get()), (2, 2));
        for comparison in &found {
            assert!(comparison.agrees() && comparison.compared >= waves.slots, "{comparison:?}");
        }
        assert!(found[0].compared > 50 * waves.slots, "{found:?}");
    }
}
