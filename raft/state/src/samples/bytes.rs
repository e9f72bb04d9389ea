//! Frames that need not mean anything, and changed bodies, for tests of decoders.

use proptest::prelude::*;
use serde::{Serialize, Serializer, ser::SerializeTuple};

/// A frame with this body, which need not mean anything: its checksum is right.
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    struct Raw<'a>(&'a [u8]);
    impl Serialize for Raw<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut tuple = serializer.serialize_tuple(self.0.len())?;
            for byte in self.0 {
                tuple.serialize_element(byte)?;
            }
            tuple.end()
        }
    }
    wire::encode(kind, &Raw(body), usize::MAX).expect("bytes can be encoded")
}

/// The body of a frame.
pub fn body(frame: &[u8]) -> &[u8] {
    &frame[8..frame.len() - 4]
}

/// A valid body with bytes changed, removed or added.
pub fn mutated(bodies: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, to)| (0u8, at, to)),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, to)| (1, at, to)),
        (any::<prop::sample::Index>(), Just(0xff)).prop_map(|(at, to)| (2, at, to)),
    ];
    (prop::sample::select(bodies), prop::collection::vec(change, 1..4)).prop_map(|(mut body, changes)| {
        for (what, at, to) in changes {
            if body.is_empty() {
                break;
            }
            let i = at.index(body.len());
            match what {
                0 => body[i] = to,
                1 => body.truncate(i),
                // A length or an id gets a value at its limit.
                _ => {
                    let end = (i + 8).min(body.len());
                    body[i..end].fill(to);
                }
            }
        }
        body
    })
}
