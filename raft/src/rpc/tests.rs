use super::*;
use crate::{
    machine, samples,
    types::{ENTRY_BYTES_MAX, Entry},
};
use cluster_state::{
    Proposal, Proposer,
    command::SetLeader,
    samples::{body, frame, mutated},
};
use openraft::EntryPayload;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use std::{fmt::Debug, sync::Arc};

/// Golden bytes: files and peers of other versions depend on them. A new variant adds a line; a line
/// changes only with the format of the databases.
const GOLDEN: &str = include_str!("golden.txt");

/// The lines that the golden file lacks.
fn check_golden<T: Serialize + DeserializeOwned + Debug>(name: &str, kind: u8, samples: &[T]) -> String {
    let mut wrong = String::new();
    for (i, sample) in samples.iter().enumerate() {
        let bytes = wire::encode(kind, sample, MESSAGE_BYTES_MAX).unwrap();
        let decoded: T = wire::decode::<_, MESSAGE_BYTES_MAX>(kind, &bytes).unwrap();
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
    let answers: [AppendEntriesResponse<TypeConfig>; 4] = [
        AppendEntriesResponse::Success,
        AppendEntriesResponse::PartialSuccess(Some(samples::log_id(1, 2))),
        AppendEntriesResponse::Conflict,
        AppendEntriesResponse::HigherVote(Vote::new(3, NodeId(2))),
    ];
    let mut entries = samples::entries();
    let command = SetLeader { node: NodeId(1), term: 2, at_ms: 3 }.into();
    let proposal = Arc::new(Proposal { by: Proposer::leader(true), command });
    entries.push(Entry { log_id: samples::log_id(1, 6), payload: EntryPayload::Normal(proposal) });
    let wrong = [
        check_golden("entry", kind::ENTRY, &entries),
        check_golden("request", kind::REQUEST, &samples::requests()),
        check_golden("reply", kind::REPLY, &samples::replies()),
        check_golden("append-answer", kind::REPLY, &answers),
        check_golden("vote", kind::VOTE, &[Vote::new(3, NodeId(2)), Vote::new_committed(4, NodeId(5))]),
    ]
    .concat();
    assert!(wrong.is_empty(), "bytes changed, or are new:\n{wrong}");
}

#[test]
fn every_variant_has_a_sample_in_order() {
    let variant = |frame: Vec<u8>| u32::from_le_bytes(body(&frame)[..4].try_into().unwrap());
    for (i, request) in (0..).zip(&samples::requests()) {
        assert_eq!(variant(encode_request(request).unwrap()), i, "{request:?}");
    }
    for (i, reply) in (0..).zip(&samples::replies()) {
        assert_eq!(variant(encode_reply(reply)), i, "{reply:?}");
    }
}

proptest! {
    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0x20u8..0x2e) {
        prop_assert!(decode_request(&bytes).is_err());
        prop_assert!(decode_reply(&bytes).is_err());
        prop_assert!(machine::check_snapshot(&bytes).is_err());
        // With a valid frame around them the bytes break nothing either; most of them mean nothing.
        let framed = frame(kind, &bytes);
        let _ = decode_request(&framed);
        let _ = decode_reply(&framed);
        let _ = machine::check_snapshot(&framed);
        let _ = wire::decode::<Entry, ENTRY_BYTES_MAX>(kind::ENTRY, &framed);
    }

    #[test]
    fn what_decodes_from_a_mutation_encodes_again(
        request in mutated(samples::requests().iter().map(|r| body(&encode_request(r).unwrap()).to_vec()).collect()),
        reply in mutated(samples::replies().iter().map(|r| body(&encode_reply(r)).to_vec()).collect()),
    ) {
        if let Ok(request) = decode_request(&frame(kind::REQUEST, &request)) {
            prop_assert!(encode_request(&request).is_ok());
        }
        if let Ok(reply) = decode_reply(&frame(kind::REPLY, &reply)) {
            prop_assert!(decode_reply(&encode_reply(&reply)).is_ok());
        }
    }
}

#[test]
fn sizes_are_bounded_before_anything_is_decoded() {
    let large = wire::encode(kind::REQUEST, &vec![0u8; MESSAGE_BYTES_MAX], MESSAGE_BYTES_MAX * 2).unwrap();
    assert!(matches!(decode_request(&large), Err(WireError::TooLarge { .. })));
    // A length that promises more bytes than there are allocates nothing.
    let mut promise = 7u32.to_le_bytes().to_vec();
    promise.extend(u64::MAX.to_le_bytes());
    assert!(decode_request(&frame(kind::REQUEST, &promise)).is_err());
    // A reply that cannot be sent becomes an answer too.
    let answer = encode_reply(&Reply::Failed("x".repeat(MESSAGE_BYTES_MAX)));
    assert!(matches!(decode_reply(&answer), Ok(Reply::Failed(_))));
}
