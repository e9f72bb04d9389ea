//! Receipts: a node's signature that it holds a segment, and what is in it.
//!
//! Invariant: a receipt is verified against the key of its node and against all that the cluster is told
//! about the segment, so nobody can give one for another node, and none fits a segment with other counts. The
//! peer id of a node holds its Ed25519 key, so every replica comes to the same answer without asking anybody.

use crate::{
    cause::Source,
    id::{ModelId, NodeId, SegmentId},
    key::ConfigKey,
};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What every signed message begins with, so that no signature for another purpose is a receipt.
const DOMAIN: &[u8] = b"ringrift segment receipt 1\0";
/// The bytes of an Ed25519 peer id before its key: the identity hash of 36 bytes, which are a public key of
/// this type and of 32 bytes (*libp2p specification, Peer Ids and Keys*).
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
const KEY_BYTES: usize = 32;

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature([[u8; 32]; 2]);

impl Signature {
    /// The signature with these bytes, if they are 64.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes.as_chunks() {
            ([r, s], []) => Some(Self([*r, *s])),
            _ => None,
        }
    }
}

impl From<ed25519_dalek::Signature> for Signature {
    fn from(signature: ed25519_dalek::Signature) -> Self {
        Self([*signature.r_bytes(), *signature.s_bytes()])
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.as_flattened() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A node's signature that it holds a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Id of the node.
    pub node: NodeId,
    /// Its signature of [`SegmentFacts::message`].
    pub signature: Signature,
}

/// What the cluster is told about a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFacts<'a> {
    /// Hash of the segment's content.
    pub hash: SegmentId,
    /// Key of the configuration of its games.
    pub config_key: &'a ConfigKey,
    /// Number of games.
    pub games: u64,
    /// Number of positions to learn from.
    pub samples: u64,
    /// Size of the content in bytes.
    pub bytes: u64,
    /// Where the games come from.
    pub source: &'a Source,
    /// The model that played.
    pub model: ModelId,
}

impl SegmentFacts<'_> {
    /// The message that the node called `peer_id` signs once it has the segment on its disk, has replayed its
    /// games, and has counted the same.
    #[must_use]
    pub fn message(&self, peer_id: &str) -> Vec<u8> {
        let mut message = DOMAIN.to_vec();
        message.extend_from_slice(self.hash.as_ref());
        message.extend_from_slice(self.model.as_ref());
        for number in [self.bytes, self.games, self.samples] {
            message.extend_from_slice(&number.to_le_bytes());
        }
        for text in [self.config_key.as_str(), self.source.as_str(), peer_id] {
            message.extend_from_slice(&(text.len() as u64).to_le_bytes());
            message.extend_from_slice(text.as_bytes());
        }
        message
    }

    /// Whether the node called `peer_id` signed this.
    #[must_use]
    pub fn is_signed(&self, peer_id: &str, signature: &Signature) -> bool {
        key_of(peer_id).is_some_and(|key| is_signed_by(&key, &self.message(peer_id), signature))
    }
}

/// Whether the holder of this key signed this message.
pub(crate) fn is_signed_by(key: &VerifyingKey, message: &[u8], signature: &Signature) -> bool {
    let signature = ed25519_dalek::Signature::from_slice(signature.0.as_flattened());
    // The strict check refuses keys of small order, under which a signature fits several messages.
    signature.is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
}

/// The key that a peer id holds.
fn key_of(peer_id: &str) -> Option<VerifyingKey> {
    let mut bytes = [0; PEER_ID_PREFIX.len() + KEY_BYTES];
    if bs58::decode(peer_id).onto(&mut bytes[..]) != Ok(bytes.len()) {
        return None;
    }
    let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
    VerifyingKey::from_bytes(key.try_into().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{hash, peer_id, signature};

    fn facts<'a>(config_key: &'a ConfigKey, source: &'a Source) -> SegmentFacts<'a> {
        SegmentFacts { hash: hash(1), config_key, games: 2, samples: 3, bytes: 4, source, model: hash(5) }
    }

    #[test]
    fn a_receipt_is_of_one_node_for_one_segment() {
        let (key, other) = (ConfigKey::from("hex8_2p"), ConfigKey::from("hex8_3p"));
        let (source, evaluation) = (Source::Selfplay, Source::Evaluation);
        let good = facts(&key, &source);
        let signed = signature(1, &good);
        assert!(good.is_signed(&peer_id(1), &signed));
        for peer in [&peer_id(2), "", "peer-1", &peer_id(1)[1..], &format!("{}1", peer_id(1))] {
            assert!(!good.is_signed(peer, &signed), "{peer}");
        }
        for wrong in [
            SegmentFacts { hash: hash(2), ..good },
            SegmentFacts { model: hash(1), ..good },
            SegmentFacts { games: 3, ..good },
            SegmentFacts { samples: u64::MAX, ..good },
            SegmentFacts { bytes: 5, ..good },
            SegmentFacts { config_key: &other, ..good },
            SegmentFacts { source: &evaluation, ..good },
        ] {
            assert!(!wrong.is_signed(&peer_id(1), &signed), "{wrong:?}");
        }
        for at in 0..64 {
            let mut bytes = signed.0.as_flattened().to_vec();
            bytes[at] ^= 1;
            assert!(!good.is_signed(&peer_id(1), &Signature::of(&bytes).unwrap()), "byte {at}");
        }
        assert_eq!((Signature::of(&[0; 63]), Signature::of(&[0; 65])), (None, None));
    }

    #[test]
    fn texts_cannot_move_from_one_field_to_the_next() {
        let key = |text: &str| ConfigKey::from(text);
        let (a, b) = (key("hex8"), key("hex8selfplay"));
        let (empty, selfplay) = (Source::of(""), Source::Selfplay);
        assert_ne!(facts(&a, &selfplay).message("x"), facts(&b, &empty).message("x"));
    }

    #[test]
    fn a_key_of_small_order_signs_nothing() {
        // The neutral element with an all-zero signature fits every message without the strict check.
        let mut peer = PEER_ID_PREFIX.to_vec();
        peer.push(1);
        peer.resize(PEER_ID_PREFIX.len() + KEY_BYTES, 0);
        let mut signature = [0; 64];
        signature[0] = 1;
        let (key, source) = (ConfigKey::from("hex8_2p"), Source::Selfplay);
        let forged = Signature::of(&signature).unwrap();
        assert!(!facts(&key, &source).is_signed(&bs58::encode(peer).into_string(), &forged));
    }

    #[test]
    fn the_cost_of_a_check() {
        let (key, source) = (ConfigKey::from("hex8_2p"), Source::Selfplay);
        let (facts, peer) = (facts(&key, &source), peer_id(1));
        let signed = signature(1, &facts);
        let begun = std::time::Instant::now();
        assert!((0..200).all(|_| facts.is_signed(&peer, &signed)));
        println!("MEASURED a receipt is verified in {:?}", begun.elapsed() / 200);
    }
}
