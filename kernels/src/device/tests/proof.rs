//! What proves a card proves emulation too.

use super::emulated::Emulated;
use super::product::{Fault, Faulty};
use crate::device::DeviceError;
use crate::device::proof::{Comparison, Effort, Waves, check, timing, waves};
use crate::roofline::sizes;
use rules::{Board, Config};
use std::cell::Cell;
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
        assert_agree(&check::evaluations(open, Config { board, seats }, (4, 32), &[1, 5]).unwrap());
    }
    let config = Config { board: Board::Hexagonal, seats: 2 };
    assert_agree(&check::evaluations(open, config, (3, 32), &[1]).unwrap());
}

#[test]
fn training_steps_of_emulation_agree_with_the_cpu() {
    let config = Config { board: Board::Hex8, seats: 2 };
    assert_agree(&check::training(open, config, (3, 32), (3, 2)).unwrap());
}

#[test]
fn a_device_that_never_changes_a_weight_is_found_out() {
    let config = Config { board: Board::Hex8, seats: 2 };
    let open = || Ok(Faulty::new(Fault::Skips("adamw")));
    let found = check::training(open, config, (3, 32), (3, 2)).unwrap();
    let wrong: Vec<_> = found.iter().filter(|one| !one.agrees()).map(|one| one.what.as_str()).collect();
    assert_eq!(wrong, ["the way of averaged weights of 2 steps on 3 positions, b3c32-hex on hex8"]);
}

#[test]
fn emulation_is_timed() {
    let config = Config { board: Board::Hex8, seats: 2 };
    let effort = Effort { repeats: 2, at_least: Duration::from_millis(1) };
    let [small, ..] = sizes(config.board);
    let forward = timing::forward(&Emulated::new(0), config, small, 1, effort).unwrap();
    let training = timing::training(Emulated::new(0), config, small, 1, effort).unwrap();
    let few = Waves { slots: 2, games: 1, simulations: 2 };
    let games = waves::speed(Emulated::new(0), config, small, few, effort).unwrap();
    for speed in [forward, training, games] {
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
