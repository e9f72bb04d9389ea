//! What a fetching peer asks and a holder answers, as requests of [`Class::Blob`](crate::class::Class::Blob).
//!
//! A question is a frame of the crate `wire`. An answer is raw content and one byte; the content's hash is
//! its checksum.
//!
//! Invariant: both enums are append-only, because peers of different versions talk to each other.

use serde::{Deserialize, Serialize};
use wire::Hash;

pub(crate) const ASK: u8 = 0x42;
pub(crate) const ASK_BYTES_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum BlobQuestion {
    Has(Hash),
    Outline(Hash),
    Piece(Hash, u32),
    /// Which pieces the peer has of a content of which it may not have all.
    Pieces(Hash),
}

impl BlobQuestion {
    pub(crate) fn encode(self) -> Vec<u8> {
        wire::encode(ASK, &self, ASK_BYTES_MAX).expect("a question is small")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        wire::decode::<_, ASK_BYTES_MAX>(ASK, bytes).ok()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BlobAnswer {
    /// The peer does not have it, or did not understand the question.
    No,
    Yes,
    /// An encoded outline.
    Outline(Vec<u8>),
    Piece(Vec<u8>),
    /// One bit for each piece: whether the peer has it.
    Pieces(Vec<u8>),
}

impl BlobAnswer {
    pub(crate) fn encode(self) -> Vec<u8> {
        let (tag, mut body) = match self {
            Self::No => (0, Vec::new()),
            Self::Yes => (1, Vec::new()),
            Self::Outline(bytes) => (2, bytes),
            Self::Piece(bytes) => (3, bytes),
            Self::Pieces(bits) => (4, bits),
        };
        body.push(tag); // at the end, where it costs no copy
        body
    }

    pub(crate) fn decode(mut bytes: Vec<u8>) -> Option<Self> {
        match (bytes.pop()?, bytes.is_empty()) {
            (0, true) => Some(Self::No),
            (1, true) => Some(Self::Yes),
            (2, _) => Some(Self::Outline(bytes)),
            (3, _) => Some(Self::Piece(bytes)),
            (4, _) => Some(Self::Pieces(bytes)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes() {
        let text: String =
            BlobQuestion::Piece(Hash([1; 32]), 258).encode().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(text[..24], *"525201422800000002000000");
        assert_eq!(text[24..88], *"01".repeat(32));
        assert_eq!(text[88..96], *"02010000");
        assert_eq!(BlobAnswer::Piece(vec![9, 8]).encode(), [9, 8, 3]);
        assert_eq!(BlobAnswer::Pieces(vec![5]).encode(), [5, 4]);
        assert_eq!(BlobQuestion::Pieces(Hash([1; 32])).encode()[8..12], [3, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn round_trip_and_hostile_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100), hash in any::<[u8; 32]>(), index in any::<u32>()) {
            for ask in [BlobQuestion::Has(Hash(hash)), BlobQuestion::Outline(Hash(hash)), BlobQuestion::Piece(Hash(hash), index), BlobQuestion::Pieces(Hash(hash))] {
                prop_assert_eq!(BlobQuestion::decode(&ask.encode()), Some(ask));
            }
            for answer in [BlobAnswer::No, BlobAnswer::Yes, BlobAnswer::Outline(bytes.clone()), BlobAnswer::Piece(bytes.clone()), BlobAnswer::Pieces(bytes.clone())] {
                prop_assert_eq!(BlobAnswer::decode(answer.clone().encode()), Some(answer));
            }
            prop_assert_eq!(BlobQuestion::decode(&bytes), None);
            if let Some(answer) = BlobAnswer::decode(bytes.clone()) {
                prop_assert_eq!(answer.encode(), bytes);
            }
        }
    }
}
