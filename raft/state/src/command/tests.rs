use super::*;
use crate::{
    response::Response,
    samples::{self, body, frame, mutated},
    state::ClusterState,
    state_machine,
};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use std::{collections::BTreeSet, fmt::Debug};

/// A frame kind that no other type uses.
const COMMAND: u8 = 0x2d;
/// Consensus sends responses in frames of this kind.
const REPLY: u8 = 0x2c;
const BYTES_MAX: usize = 9999;

/// Golden bytes: files and peers of other versions depend on them. A new variant adds a line. A line changes
/// only together with the formats of `raft.db` and of the data folder, and with the name of the protocol.
const GOLDEN: &str = include_str!("../golden.txt");

/// The lines that the golden file lacks.
fn check_golden<T: Serialize + DeserializeOwned + Debug>(name: &str, kind: u8, samples: &[T]) -> String {
    let mut wrong = String::new();
    for (i, sample) in samples.iter().enumerate() {
        let bytes = wire::encode(kind, sample, BYTES_MAX).unwrap();
        let decoded: T = wire::decode::<_, BYTES_MAX>(kind, &bytes).unwrap();
        assert_eq!(format!("{decoded:?}"), format!("{sample:?}"));
        let line = format!("{name} {i} {}", hex::encode(&bytes));
        if !GOLDEN.lines().any(|golden| golden == line) {
            wrong.push_str(&line);
            wrong.push('\n');
        }
    }
    let lines = GOLDEN.lines().filter(|line| line.starts_with(&format!("{name} "))).count();
    assert!(lines <= samples.len(), "{name} without a sample");
    wrong
}

#[test]
fn golden_bytes() {
    let wrong = [
        check_golden("command", COMMAND, &samples::commands()),
        check_golden::<Response>("response", REPLY, &samples::responses()),
    ]
    .concat();
    assert!(wrong.is_empty(), "bytes changed, or are new:\n{wrong}");
}

#[test]
fn every_variant_has_a_sample_in_order() {
    let commands = samples::commands();
    assert_eq!(commands.len(), 34);
    let names: BTreeSet<_> = commands.iter().map(Command::name).collect();
    assert_eq!(names.len(), 34);
    for (i, command) in (0u32..).zip(&commands) {
        let bytes = wire::encode(COMMAND, command, BYTES_MAX).unwrap();
        assert_eq!(body(&bytes)[..4], i.to_le_bytes(), "{command}");
    }
}

proptest! {
    #[test]
    fn what_decodes_from_a_mutation_is_applied_or_refused(
        command in mutated(samples::commands().iter().map(|c| body(&wire::encode(COMMAND, c, BYTES_MAX).unwrap()).to_vec()).collect()),
    ) {
        if let Ok(command) = wire::decode::<Command, BYTES_MAX>(COMMAND, &frame(COMMAND, &command)) {
            prop_assert!(wire::encode(COMMAND, &command, BYTES_MAX).is_ok());
            let mut state = ClusterState::default();
            state_machine::apply(&mut state, 1, &command);
        }
    }
}
