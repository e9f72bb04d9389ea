use super::*;
use crate::{
    cause::Source,
    command::{Command, RegisterSegment},
    response::Response,
    samples::{self, commands, hash, register},
    state_machine,
};
use std::time::Instant;

/// A state with `n` segments, built without the log.
fn crowded(n: u32) -> ClusterState {
    let mut state = ClusterState::default();
    for (i, command) in (1..).zip([register(1, 1), commands().swap_remove(3)]) {
        state_machine::apply(&mut state, i, &command);
    }
    for i in 0..n {
        let segment = RegisteredSegment {
            config_key: samples::CONFIG.into(),
            games: 1,
            samples: 1,
            bytes: 1,
            source: Source::Selfplay,
            model: hash(1),
            origin: NodeId(1),
            holders: [1, 2, 3].map(NodeId).into(),
            at_ms: 1,
            log_index: 1,
        };
        state.segments.insert(Hash::of(&i.to_le_bytes()).into(), segment);
    }
    state
}

/// Median time to apply one segment, from the clone to the rows.
fn apply_time(state: &ClusterState) -> std::time::Duration {
    let mut published = state.clone();
    let mut times = Vec::new();
    for i in 0..200u32 {
        let command = RegisterSegment {
            hash: Hash::of(&(u64::from(i) << 32 | 1).to_le_bytes()).into(),
            config_key: samples::CONFIG.into(),
            games: 1,
            samples: 1,
            bytes: 1,
            source: Source::Selfplay,
            model: hash(1),
            receipts: vec![],
            at_ms: 1,
        };
        let command = Command::RegisterSegment(samples::signed_by(command, [1]));
        let begun = Instant::now();
        let mut next = published.clone();
        let response = state_machine::apply(&mut next, u64::from(i), &command);
        assert!(matches!(response, Response::Segment { .. }), "{response:?}");
        assert_eq!(changes(&published, &next).unwrap().put.len(), 2, "a segment and its configuration");
        published = next;
        times.push(begun.elapsed());
    }
    times.sort();
    times[100]
}

#[test]
fn the_cost_of_a_command_does_not_grow_with_the_state() {
    let (few, many) = (apply_time(&crowded(1000)), apply_time(&crowded(300_000)));
    println!("MEASURED apply with 1 000 segments {few:?}, with 300 000 {many:?}");
    assert!(many < few * 8, "{few:?} {many:?}"); // the state is 300 times as large
}

#[test]
fn equal_states_have_one_digest_and_others_another() {
    let mut state = crowded(3);
    let before = digest(&state).unwrap();
    state.applied += 7;
    let restored = restore(rows(&state).unwrap().into_iter().rev(), 1).unwrap();
    assert_eq!([digest(&state).unwrap(), digest(&restored).unwrap()], [before; 2]);
    state_machine::apply(&mut state, 9, &register(2, 1));
    assert_ne!(digest(&state).unwrap(), before);
}
