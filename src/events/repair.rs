//! What nodes ask of each other to close the gaps in their logs.
//!
//! Invariant: a question and an answer are of bounded size, and whatever is in an answer is checked as if a
//! stranger had sent it: any node can serve any origin's events, because the origin signed them.

use super::{
    envelope::{CLOCK_MAX, EventId, EventRefusal, Signed},
    equivocation::Equivocation,
    vector::{self, VersionVector},
    writer::shunned::SHUNNED_MAX,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use wire::WireError;

/// Frame kinds.
pub const QUESTION: u8 = 0x54;
pub(crate) const ANSWER: u8 = 0x55;
/// Most events of an answer.
pub const ANSWER_EVENTS_MAX: usize = 500;
/// Most bytes of events in an answer.
pub const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Most floors of an answer: one for each source of a vector.
pub const FLOORS_MAX: usize = vector::ENTRIES_MAX;
/// Most samples of a question.
pub const SAMPLES_MAX: usize = 4;
/// Most proofs of an answer.
pub const PROOFS_MAX: usize = 4;
/// Largest frame of either kind: events, floors, proofs, and a vector of 1024 origins with all their ranges.
pub(crate) const FRAME_BYTES_MAX: usize = 900 << 10;

/// The question for what the asking node lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairQuestion {
    /// What the asking node has.
    pub vector: VersionVector,
    /// Whom it shuns.
    pub shunned: BTreeSet<String>,
    /// Some of its events, so that the answering node sees whether it has others under the same numbers.
    pub samples: Vec<Sample>,
}

/// An event by its id, and the beginning of its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub id: EventId,
    pub hash: u64,
}

/// A low watermark: the answering node has no events of a source up to this number any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    pub origin: String,
    pub epoch: i64,
    /// Every event up to this number is gone.
    pub lost_to: i64,
}

/// Events that the asking node lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairAnswer {
    /// The answering node's clock, in milliseconds since the epoch.
    pub now_ms: i64,
    pub events: Vec<Signed>,
    /// What the answering node cannot serve.
    pub floors: Vec<Floor>,
    /// Whether there is more than fits into one answer.
    pub more: bool,
    /// Proofs against origins that the asking node does not shun yet.
    pub proofs: Vec<Equivocation>,
}

impl RepairQuestion {
    /// As bytes.
    ///
    /// # Errors
    /// [`WireError::TooLarge`].
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(QUESTION, self, FRAME_BYTES_MAX)
    }

    /// Reads a question of a peer.
    ///
    /// # Errors
    /// [`EventRefusal::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EventRefusal> {
        let question: Self = wire::decode::<_, FRAME_BYTES_MAX>(QUESTION, bytes)?;
        let RepairQuestion { shunned, samples, .. } = &question;
        let bounded = shunned.len() <= SHUNNED_MAX
            && shunned.iter().all(|origin| origin.len() <= 128)
            && samples.len() <= SAMPLES_MAX;
        if bounded && vector::is_sound(&question.vector) {
            Ok(question)
        } else {
            Err(WireError::Body("a vector out of bounds".to_owned()).into())
        }
    }
}

impl RepairAnswer {
    /// As bytes.
    ///
    /// # Errors
    /// [`WireError::TooLarge`].
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(ANSWER, self, FRAME_BYTES_MAX)
    }

    /// Reads an answer of a peer. One whose clock is absurd is refused as a whole: its own events are in it,
    /// and their age cannot be told from a long absence.
    ///
    /// # Errors
    /// [`EventRefusal`].
    pub fn decode(bytes: &[u8], now_ms: i64) -> Result<Self, EventRefusal> {
        let answer: Self = wire::decode::<_, FRAME_BYTES_MAX>(ANSWER, bytes)?;
        let off = answer.now_ms.saturating_sub(now_ms);
        if off.unsigned_abs() > CLOCK_MAX.as_millis() as u64 {
            return Err(EventRefusal::Clock(off));
        }
        let sound = |floor: &Floor| floor.origin.len() <= 128 && (1..i64::MAX >> 1).contains(&floor.lost_to);
        let RepairAnswer { events, floors, proofs, .. } = &answer;
        let counts = (events.len(), floors.len(), proofs.len());
        let few = counts.0 <= ANSWER_EVENTS_MAX && counts.1 <= FLOORS_MAX && counts.2 <= PROOFS_MAX;
        if !few || !floors.iter().all(sound) {
            return Err(WireError::Body("an answer out of bounds".to_owned()).into());
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::vector::VersionEntry;
    use proptest::prelude::*;

    #[test]
    fn both_are_read_back_and_a_wrong_clock_is_refused() {
        let have = VersionEntry { watermark: 4, beyond: vec![(6, 9)] };
        let vector = VersionVector::from([(("peer".to_owned(), 1), have)]);
        let sample = Sample { id: EventId { origin: "peer".into(), epoch: 1, sequence: 3 }, hash: 5 };
        let shunned = BTreeSet::from(["liar".to_owned()]);
        let question = RepairQuestion { vector, shunned, samples: vec![sample.clone(); SAMPLES_MAX] };
        assert_eq!(RepairQuestion::decode(&question.encode().unwrap()).unwrap(), question);
        let floor = Floor { origin: "peer".into(), epoch: 1, lost_to: 7 };
        let answer = RepairAnswer { now_ms: 5_000_000, floors: vec![floor], ..RepairAnswer::default() };
        let bytes = answer.encode().unwrap();
        assert_eq!(RepairAnswer::decode(&bytes, 5_000_000).unwrap(), answer);
        assert!(matches!(RepairAnswer::decode(&bytes, 1_300_000), Err(EventRefusal::Clock(3_700_000))));
        assert!(matches!(RepairAnswer::decode(&bytes, 8_700_000), Err(EventRefusal::Clock(-3_700_000))));
        let floor = |lost_to| Floor { origin: "peer".into(), epoch: lost_to, lost_to };
        let sound = |count| {
            let floors = (1..=count).map(floor).collect();
            let answer = RepairAnswer { floors, ..RepairAnswer::default() };
            RepairAnswer::decode(&answer.encode().unwrap(), 0).is_ok()
        };
        assert!(sound(FLOORS_MAX as i64) && !sound(FLOORS_MAX as i64 + 1));
        let unsound = VersionEntry { watermark: 4, beyond: vec![(2, 9)] };
        let check = |question: &RepairQuestion, expected| {
            assert_eq!(RepairQuestion::decode(&question.encode().unwrap()).is_ok(), expected);
        };
        let vector = VersionVector::from([(("peer".to_owned(), 1), unsound)]);
        check(&RepairQuestion { vector, ..RepairQuestion::default() }, false);
        let many = |count: usize| RepairQuestion {
            shunned: (0..count).map(|number| number.to_string()).collect(),
            ..RepairQuestion::default()
        };
        check(&many(SHUNNED_MAX), true);
        check(&many(SHUNNED_MAX + 1), false);
        check(&RepairQuestion { samples: vec![sample; SAMPLES_MAX + 1], ..RepairQuestion::default() }, false);
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused(noise in prop::collection::vec(any::<u8>(), 0..400), fix in any::<bool>()) {
            // With a frame around it, the body itself is what is hostile.
            let framed = |kind| wire::encode(kind, &noise, 4096).unwrap();
            let (question, answer) =
                if fix { (framed(QUESTION), framed(ANSWER)) } else { (noise.clone(), noise.clone()) };
            if let Ok(read) = RepairQuestion::decode(&question) {
                prop_assert!(vector::is_sound(&read.vector));
            }
            if let Ok(read) = RepairAnswer::decode(&answer, 0) {
                prop_assert!(read.events.len() <= ANSWER_EVENTS_MAX && read.floors.len() <= FLOORS_MAX);
            }
        }
    }
}
