//! Two events under one number, which only an origin that lies signs.
//!
//! Invariant: a proof needs no trust in who brings it, because everybody can check the two signatures. An
//! honest node uses a number again only under another epoch (`log/untold.rs`).

use super::envelope::{EventId, EventRefusal, SIGNED_BYTES_MAX, Signed};
use serde::{Deserialize, Serialize};
use wire::WireError;

/// Frame kind of a proof that is gossiped.
pub(crate) const PROOF: u8 = 0x59;
/// Largest such frame in bytes.
pub(crate) const PROOF_BYTES_MAX: usize = 2 * SIGNED_BYTES_MAX + 64;

/// Two different events that one origin signed under one number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equivocation {
    pub(super) first: Signed,
    pub(super) second: Signed,
}

impl Equivocation {
    /// The number under which the origin said two things, once both signatures are checked.
    ///
    /// # Errors
    /// [`EventRefusal`] if this proves nothing.
    pub fn check(&self) -> Result<EventId, EventRefusal> {
        let (first, second) = (self.first.signed_by_origin()?, self.second.signed_by_origin()?);
        if first.id == second.id && self.first.envelope != self.second.envelope {
            Ok(first.id)
        } else {
            Err(WireError::Body("two events that do not contradict each other".to_owned()).into())
        }
    }

    /// As a gossip message.
    ///
    /// # Errors
    /// [`WireError`], which two events of bounded size never are.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(PROOF, self, PROOF_BYTES_MAX)
    }

    /// Reads a gossip message. Nothing is checked yet.
    ///
    /// # Errors
    /// [`EventRefusal::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EventRefusal> {
        Ok(wire::decode::<_, PROOF_BYTES_MAX>(PROOF, bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Event, HostOnline, envelope::Envelope};
    use p2p::Signer;

    #[test]
    fn only_two_events_under_one_number_by_one_hand_prove_something() {
        let folder = tempfile::tempdir().unwrap();
        let [liar, other] = ["liar", "other"].map(|name| Signer::load(&folder.path().join(name)).unwrap());
        let said = |signer: &Signer, origin: &Signer, sequence, host: &str| {
            let event = HostOnline { node_id: "node-1".into(), host: host.into(), timestamp: 1.5 };
            let id = EventId { origin: origin.peer_id(), epoch: 7, sequence };
            let event = Event::HostOnline(event);
            let envelope =
                Envelope { id, at_ms: 5, flow_previous: None, causes: vec![], injected: false, event };
            envelope.sign(signer).unwrap()
        };
        let one = said(&liar, &liar, 3, "a");
        let check = |second: Signed, proves: bool| {
            let proof = Equivocation { first: one.clone(), second };
            let proof = Equivocation::decode(&proof.encode().unwrap()).unwrap();
            let accused = proof.check().ok().map(|id| (id.origin, id.sequence));
            assert_eq!(accused, proves.then(|| (liar.peer_id(), 3)), "{proof:?}");
        };
        check(said(&liar, &liar, 3, "b"), true);
        check(one.clone(), false);
        check(said(&liar, &liar, 4, "b"), false);
        check(said(&other, &liar, 3, "b"), false);
        check(said(&other, &other, 3, "b"), false);
        assert!(Equivocation::decode(&one.encode().unwrap()).is_err());
    }
}
