//! This node's receipts for segments.
//!
//! Invariant: this node signs only what it has on its disk, has replayed, and has counted itself.

use crate::peer::WorkError;
use cluster_state::{SegmentFacts, Signature};
use p2p::Signer;

/// This node's signature that it holds a segment.
///
/// # Errors
/// Returns [`WorkError::Unsigned`] when the key gives no Ed25519 signature.
pub(super) fn sign(signer: &Signer, facts: &SegmentFacts<'_>) -> Result<Signature, WorkError> {
    let signature = signer.sign(&facts.message(&signer.peer_id()));
    Signature::of(&signature).ok_or(WorkError::Unsigned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{PendingSegment, Segment, fixture};
    use cluster_state::{NodeId, Source};

    #[test]
    fn the_state_accepts_what_this_node_signs() {
        let folder = tempfile::tempdir().unwrap();
        let [own, other] = ["own", "other"].map(|name| Signer::load(&folder.path().join(name)).unwrap());
        let games = (0..3).map(|seed| fixture::game("hex8_2p", seed)).collect();
        let segment =
            Segment::build(&"hex8_2p".into(), Source::Selfplay, fixture::model(), NodeId(1), games).unwrap();
        let (facts, pending) = (segment.facts(), PendingSegment::from(&segment));
        assert_eq!(facts, pending.facts(segment.bytes().len() as u64));
        let signature = sign(&own, &facts).unwrap();
        assert!(facts.is_signed(&own.peer_id(), &signature));
        assert!(!facts.is_signed(&other.peer_id(), &signature));
    }
}
