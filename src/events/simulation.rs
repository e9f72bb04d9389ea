//! Five nodes with real logs, handlers and files, on a virtual clock and a network
//! that loses, repeats, reorders and parts.
//!
//! Whatever one of them acknowledged must in the end be in every log, once, after everything that its emitter
//! knew of the same flow; and every handler's effect must be there once, however often nodes and handlers
//! were killed. What is said, lost and killed follows from the seed; how far handlers were when they were
//! killed, also from how threads ran. `RINGRIFT_SEEDS=100`, or `scripts/delivery`, runs more of them.

mod network;
mod node;
mod oracle;
mod world;

use network::Weather;
use world::{NODES, World};

const SECOND: i64 = 1000;
const STORM: Weather = Weather { lost: 0.25, repeated: 0.2, slow_ms: 400, kills: true };

/// Seeds of a run: a few, or as many as the environment says.
fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("RINGRIFT_SEEDS").ok().and_then(|count| count.parse().ok());
    0..count.unwrap_or(2)
}

#[test]
fn every_acknowledged_event_has_one_effect_on_every_node_and_in_causal_order() {
    for seed in seeds() {
        let mut world = World::new(seed, STORM);
        world.run(20 * SECOND);
        world.part();
        world.run(60 * SECOND);
        world.heal();
        world.run(20 * SECOND);
        let settled = world.settle();
        let figures = world.check();
        println!("seed {seed}: {figures}, equal {settled} ms after the last event");
        assert!(figures.acknowledged > 200 && figures.decided > 60, "too little was said: {figures}");
        assert!(figures.lost > 100 && figures.repeated > 100 && figures.kills > 5, "too kind: {figures}");
        assert!(figures.handler_kills > 10 && figures.dead > 0, "too kind to handlers: {figures}");
        assert!(settled < 10 * SECOND, "{settled} ms");
    }
}

#[test]
fn a_node_that_was_away_for_an_hour_catches_up() {
    let mut world = World::new(1, Weather { kills: false, ..STORM });
    world.run(5 * SECOND);
    world.kill(NODES - 1);
    world.run(20 * SECOND);
    world.skip(3600 * SECOND);
    world.run(5 * SECOND);
    world.start(NODES - 1);
    let settled = world.settle();
    let figures = world.check();
    println!("{figures}, caught up {settled} ms after its return");
    assert!(settled < 10 * SECOND && figures.acknowledged > 50, "{settled} ms, {figures}");
    assert!(figures.longest_ms > 3600 * SECOND, "{figures}");
}

/// The others have dropped what it missed: it goes on with what is left and
/// with the state, which a snapshot brings.
#[test]
fn a_node_that_comes_back_after_the_horizon_goes_on_from_the_state() {
    let mut world = World::new(2, Weather { kills: false, ..STORM });
    world.run(10 * SECOND);
    world.kill(NODES - 1);
    world.run(20 * SECOND);
    let said = world.acknowledged();
    world.forget();
    world.skip(8 * 24 * 3600 * SECOND);
    world.run(15 * SECOND); // with a round of upkeep
    let kept = world.kept(0);
    assert!(kept < said, "{kept} events are kept of more than {said}");
    world.install_snapshot(NODES - 1);
    world.start(NODES - 1);
    world.run(20 * SECOND);
    let settled = world.settle();
    let figures = world.check();
    println!("{figures}, goes on {settled} ms after the last event");
    assert_eq!(world.waiting(NODES - 1), 0, "nothing waits for what is gone");
    assert!(settled < 10 * SECOND, "{settled} ms");
}

/// One of them says nothing itself, and answers every question with floors that would have the others pass
/// over all that they miss.
#[test]
fn a_node_that_lies_about_what_is_gone_costs_nobody_an_event() {
    for seed in seeds() {
        let mut world = World::new(seed, STORM);
        world.liar = Some(NODES - 1);
        world.run(20 * SECOND);
        world.part();
        world.run(40 * SECOND);
        world.heal();
        world.run(10 * SECOND);
        let settled = world.settle();
        let figures = world.check();
        println!("seed {seed}: {figures}, equal {settled} ms after the last event");
        assert!(figures.acknowledged > 100 && figures.repaired > 50, "{figures}");
        assert!(settled < 20 * SECOND, "{settled} ms");
    }
}

/// The others find out, whoever of them it told which of the two, and go on among themselves.
#[test]
fn a_node_that_says_two_things_under_one_number_is_shunned_by_all() {
    for seed in seeds() {
        let mut world = World::new(seed, STORM);
        world.liar = Some(NODES - 1);
        world.run(10 * SECOND);
        (0..NODES).for_each(|node| world.start(node));
        world.equivocate(NODES - 1);
        // Two of the others find out by chance: each question has a few samples.
        for _ in 0..40 {
            world.run(15 * SECOND);
            if world.shunning() == NODES {
                break;
            }
        }
        let settled = world.settle();
        let figures = world.check();
        println!("seed {seed}: {figures}, equal {settled} ms after the last event");
        assert_eq!(world.shunning(), NODES, "the liar knows as well");
        assert!(figures.acknowledged > 60, "{figures}");
        assert!(settled < 10 * SECOND, "{settled} ms");
    }
}
