//! Keys of peers, their receipts, and evidence that holds.

use super::config_key;
use crate::{
    cause::Source,
    command::{Command, ConfirmEvidence, RegisterSegment},
    evidence::{Tallies, Tally, Terms},
    id::{ModelId, NodeId},
    model::Evidence,
    receipt::{Receipt, SegmentFacts, Signature},
};
use ed25519_dalek::{Signer, SigningKey};
use wire::Hash;

/// The key of peer `n`.
fn signing_key(n: u64) -> SigningKey {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    SigningKey::from_bytes(&seed)
}

/// The peer id of peer `n`.
pub fn peer_id(n: u64) -> String {
    let prefix: &[u8] = &[0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bs58::encode([prefix, signing_key(n).verifying_key().as_bytes()].concat()).into_string()
}

/// Peer `n`'s signature that it holds a segment.
pub fn signature(n: u64, facts: &SegmentFacts<'_>) -> Signature {
    let message = facts.message(&peer_id(n));
    Signature::of(&signing_key(n).sign(&message).to_bytes()).expect("it has 64 bytes")
}

/// The receipt of peer `n`, whose node has the same number.
pub fn receipt(n: u64, facts: &SegmentFacts<'_>) -> Receipt {
    Receipt { node: NodeId(n), signature: signature(n, facts) }
}

/// The command with receipts of these peers in place of its own.
pub fn signed_by(command: RegisterSegment, holders: impl IntoIterator<Item = u64>) -> RegisterSegment {
    let receipts = holders.into_iter().map(|n| receipt(n, &command.facts())).collect();
    RegisterSegment { receipts, ..command }
}

/// The terms of every evaluation here.
pub const TERMS: Terms =
    Terms { elo1_milli: 50_000, games_max: 400, baseline_games: 40, random_min_ppm: 550_000 };

/// Evidence that is enough for a promotion.
pub fn evidence(candidate: ModelId, champion: ModelId) -> Evidence {
    evidence_of((candidate, champion), [0, 10, 20])
}

/// The evidence of an evaluation with two seats that random play lost, and in which these sets were played
/// against the champion: without a win, with one, with two.
pub fn evidence_of(pair: (ModelId, ModelId), sets: [u32; 3]) -> Evidence {
    let tally = |sets: [u32; 3]| Tally::of(sets.into()).expect("two seats");
    let against = Tallies { champion: tally(sets), random: tally([0, 0, 20]), heuristic: tally([10, 5, 5]) };
    played((pair.0, pair.1), against)
}

/// The evidence that these games are, in one segment, whose name follows from them.
pub fn played(pair: (ModelId, ModelId), against: Tallies) -> Evidence {
    let name = format!("{} {} {against:?}", pair.0, pair.1);
    Evidence::of(pair, TERMS, against, vec![Hash::of(name.as_bytes()).into()])
}

/// Node `node` counts the same as the evaluation of this epoch.
pub fn confirmation(candidate: ModelId, epoch: u64, node: u64, evidence: &Evidence) -> Command {
    Command::ConfirmEvidence(ConfirmEvidence {
        config_key: config_key(),
        candidate,
        epoch,
        node: NodeId(node),
        counted: Some(evidence.against.clone()),
        at_ms: 5,
    })
}

/// The registration of the one segment that holds the games of `evidence`, without a receipt.
pub fn games_of(evidence: &Evidence, config_key: &str) -> RegisterSegment {
    RegisterSegment {
        hash: evidence.segments[0],
        config_key: config_key.into(),
        games: evidence.against.games(),
        samples: 9,
        bytes: 900,
        source: Source::Evaluation,
        model: evidence.candidate,
        receipts: vec![],
        at_ms: 1,
    }
}
