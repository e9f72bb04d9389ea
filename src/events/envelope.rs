//! An event as it travels: its id, the events that it follows, and its origin's signature.
//!
//! Invariant: what is opened here was signed by its origin, is of bounded size, and says only what an event
//! may say. Events of the origin `raft` are never sent: every node writes them for itself.

use super::{Event, EventError, EventKind};
use cluster_state::state_machine::CONFIGS_MAX;
use p2p::Signer;
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};
use wire::WireError;

/// The origin of events that every node writes for itself.
pub const RAFT: &str = "raft";
/// Largest envelope, in bytes.
pub const EVENT_BYTES_MAX: usize = 16 << 10;
/// Largest signed event in bytes, in a frame or out of it.
pub const SIGNED_BYTES_MAX: usize = EVENT_BYTES_MAX + 256;
/// Most events of other sources that one event names as its predecessors.
pub const CAUSES_MAX: usize = 8;
/// How far an emitter's clock may be off.
pub const CLOCK_MAX: Duration = Duration::from_secs(3600);
/// Longest origin in bytes: a libp2p id as text.
const ORIGIN_BYTES_MAX: usize = 80;
/// Frame kinds.
pub(crate) const SIGNED: u8 = 0x50;
pub(crate) const ENVELOPE: u8 = 0x56;
/// Keeps signatures of events apart from all others by the same key.
const DOMAIN: &[u8] = b"ringrift/event/1";

/// The id of an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventId {
    /// The emitter's peer id, or `raft`.
    pub origin: String,
    /// Random number of the emitter's data folder; 0 for `raft`.
    pub epoch: i64,
    /// For `raft`: log index × 16 + number within the command. Otherwise it counts the origin's events from
    /// 1.
    pub sequence: i64,
}

/// Most events of one applied command; their numbers follow from its index. A removal can end two leases of
/// each configuration, with two events each, and tell of each that its champion is everywhere.
pub const PARTS_MAX: i64 = 512;

const _: () = assert!(5 * (CONFIGS_MAX as i64) < PARTS_MAX, "no command has more events");

impl EventId {
    /// The event number `part` of the applied command at `index`.
    #[must_use]
    pub fn raft(index: u64, part: i64) -> Self {
        let sequence =
            i64::try_from(index).unwrap_or(i64::MAX).saturating_mul(PARTS_MAX).saturating_add(part);
        Self { origin: RAFT.to_owned(), epoch: 0, sequence }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.origin, self.epoch, self.sequence)
    }
}

/// An event with all that its origin signs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    pub id: EventId,
    /// When it was emitted, milliseconds since the epoch.
    pub at_ms: i64,
    /// The origin's event before it in the same flow.
    pub flow_previous: Option<i64>,
    /// Events of others that it follows.
    pub causes: Vec<EventId>,
    /// Whether an operator emitted it.
    pub injected: bool,
    pub event: Event,
}

/// What every version of the program can read of an envelope: all before the event, and the event's kind.
#[derive(Serialize, Deserialize)]
struct Head {
    id: EventId,
    at_ms: i64,
    flow_previous: Option<i64>,
    causes: Vec<EventId>,
    injected: bool,
    kind: u32,
}

/// An envelope as bytes, with its origin's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    #[serde(with = "wire::bytes")]
    pub(super) envelope: Vec<u8>,
    #[serde(with = "wire::bytes")]
    pub(super) signature: Vec<u8>,
}

/// Why an event is refused.
#[derive(Debug, thiserror::Error)]
pub enum EventRefusal {
    /// No event, one of a type unknown here, or too large.
    #[error("malformed: {0}")]
    Malformed(#[from] WireError),
    /// A payload that makes no sense.
    #[error(transparent)]
    Event(#[from] EventError),
    /// Not signed by its origin.
    #[error("forged: {0} did not sign it")]
    Forged(String),
    /// Its origin is no member.
    #[error("{0} is no member")]
    Stranger(String),
    /// Its emitter's clock is absurd.
    #[error("the emitter's clock is off by {} s", .0 / 1000)]
    Clock(i64),
    /// Published again by somebody else.
    #[error("an event of {origin} was published by {from}")]
    Replayed {
        /// Who emitted it.
        origin: String,
        /// Who published it.
        from: String,
    },
    /// Another event under the same id.
    #[error("{0} said two things under one number")]
    Conflict(String),
    /// Its origin has said two things under one number before.
    #[error("{0} is shunned")]
    Shunned(String),
    /// An event of a kind that this version of the program does not know.
    #[error("an event of {0} of a kind that is unknown here: is that node newer?")]
    Newer(String),
}

impl EventRefusal {
    /// In one word, to be counted.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Event(_) => "payload",
            Self::Forged(_) => "forged",
            Self::Stranger(_) => "stranger",
            Self::Clock(_) => "clock",
            Self::Replayed { .. } => "replayed",
            Self::Conflict(_) => "conflict",
            Self::Shunned(_) => "shunned",
            Self::Newer(_) => "newer",
        }
    }
}

impl Envelope {
    /// The envelope as bytes.
    ///
    /// # Errors
    /// [`WireError::TooLarge`].
    pub(super) fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(ENVELOPE, self, EVENT_BYTES_MAX)
    }

    /// Reads an envelope that is trusted already: one of this node's own log.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        wire::decode::<_, EVENT_BYTES_MAX>(ENVELOPE, bytes)
    }

    /// Signs it.
    ///
    /// # Errors
    /// [`WireError::TooLarge`].
    pub fn sign(&self, signer: &Signer) -> Result<Signed, WireError> {
        let envelope = self.encode()?;
        let signature = signer.sign(&[DOMAIN, &envelope].concat());
        Ok(Signed { envelope, signature })
    }
}

impl Signed {
    /// As a gossip message.
    ///
    /// # Errors
    /// [`WireError`], which an envelope of bounded size never is.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(SIGNED, self, SIGNED_BYTES_MAX)
    }

    /// Reads a gossip message.
    ///
    /// # Errors
    /// [`EventRefusal::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EventRefusal> {
        Ok(wire::decode::<_, SIGNED_BYTES_MAX>(SIGNED, bytes)?)
    }

    /// Reads the envelope, if its origin signed it. It may still say anything.
    ///
    /// # Errors
    /// [`EventRefusal`].
    pub(super) fn signed_by_origin(&self) -> Result<Envelope, EventRefusal> {
        match Envelope::decode(&self.envelope) {
            Ok(envelope) => self.check_signature(&envelope.id).map(|()| envelope),
            Err(error) => Err(self.newer(error)),
        }
    }

    fn check_signature(&self, id: &EventId) -> Result<(), EventRefusal> {
        if p2p::verify(&id.origin, &[DOMAIN, &self.envelope].concat(), &self.signature) {
            Ok(())
        } else {
            Err(EventRefusal::Forged(id.origin.clone()))
        }
    }

    /// Why the envelope cannot be read: a signed one may have an event of a kind that is unknown here.
    fn newer(&self, error: WireError) -> EventRefusal {
        let head = wire::decode_head::<Head, EVENT_BYTES_MAX>(ENVELOPE, &self.envelope);
        let unknown = |head: &Head| usize::try_from(head.kind).is_ok_and(|kind| kind >= EventKind::ALL.len());
        match head {
            Ok(head) if unknown(&head) && self.check_signature(&head.id).is_ok() => {
                EventRefusal::Newer(head.id.origin)
            }
            Ok(_) | Err(_) => error.into(),
        }
    }

    /// Checks everything that needs no database: shape, signature, clock, payload.
    ///
    /// # Errors
    /// [`EventRefusal`].
    pub fn open(&self, now_ms: i64) -> Result<Envelope, EventRefusal> {
        let envelope = Envelope::decode(&self.envelope).map_err(|error| self.newer(error))?;
        let Envelope { id, at_ms, flow_previous, causes, .. } = &envelope;
        let sane =
            |id: &EventId| id.origin.len() <= ORIGIN_BYTES_MAX && (0..i64::MAX >> 1).contains(&id.sequence);
        let ordered = flow_previous.is_none_or(|previous| (1..id.sequence).contains(&previous));
        if !sane(id) || id.sequence < 1 || !ordered || causes.len() > CAUSES_MAX || !causes.iter().all(sane) {
            return Err(WireError::Body("an id out of bounds".to_owned()).into());
        }
        self.check_signature(id)?;
        let ahead = at_ms.saturating_sub(now_ms);
        if ahead > CLOCK_MAX.as_millis() as i64 || *at_ms < 0 {
            return Err(EventRefusal::Clock(ahead));
        }
        envelope.event.check()?;
        Ok(envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::HostOnline;
    use proptest::prelude::*;

    fn signer() -> Signer {
        let folder = tempfile::tempdir().unwrap();
        Signer::load(&folder.path().join("key")).unwrap()
    }

    fn envelope(origin: &str, at_ms: i64) -> Envelope {
        let event = HostOnline { node_id: "node-1".into(), host: "h".into(), timestamp: 1.5 };
        Envelope {
            id: EventId { origin: origin.into(), epoch: 7, sequence: 3 },
            at_ms,
            flow_previous: Some(2),
            causes: vec![EventId::raft(5, 0)],
            injected: false,
            event: Event::HostOnline(event),
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let (a, b) = (signer(), signer());
        let good = envelope(&a.peer_id(), 1000);
        let check = |envelope: &Envelope, signer: &Signer, now_ms, expected: &str| {
            let message = envelope.sign(signer).unwrap().encode().unwrap();
            let kind = match Signed::decode(&message).and_then(|signed| signed.open(now_ms)) {
                Ok(opened) if opened == *envelope => "good",
                Ok(_) => "changed",
                Err(refused) => refused.kind(),
            };
            assert_eq!(kind, expected, "{envelope:?}");
        };
        check(&good, &a, 1000, "good");
        check(&good, &a, i64::MAX, "good");
        check(&good, &b, 1000, "forged");
        check(&envelope(RAFT, 1000), &a, 1000, "forged");
        check(&envelope(&a.peer_id(), 3_601_001), &a, 1000, "clock");
        check(&envelope(&a.peer_id(), -1), &a, 1000, "clock");
        check(&Envelope { causes: vec![EventId::raft(5, 0); 9], ..good.clone() }, &a, 0, "malformed");
        check(&Envelope { flow_previous: Some(3), ..good.clone() }, &a, 0, "malformed");
        let mut event = good;
        event.event = Event::HostOnline(HostOnline {
            node_id: String::new(),
            host: String::new(),
            timestamp: f64::NAN,
        });
        assert!(matches!(event.sign(&a).unwrap().open(0), Err(EventRefusal::Event(_))));
    }

    #[test]
    fn an_event_of_a_newer_program_is_told_from_nonsense() {
        let (a, b) = (signer(), signer());
        let check = |kind: u32, signer: &Signer, expected: &str| {
            let Envelope { id, at_ms, flow_previous, causes, injected, .. } = envelope(&a.peer_id(), 1000);
            let head = Head { id, at_ms, flow_previous, causes, injected, kind };
            let envelope = wire::encode(ENVELOPE, &(head, "what a newer program says"), 4096).unwrap();
            let signature = signer.sign(&[DOMAIN, &envelope].concat());
            let refused = Signed { envelope, signature }.open(1000).unwrap_err();
            assert_eq!(refused.kind(), expected, "{kind}");
        };
        let known = EventKind::ALL.len() as u32;
        check(known, &a, "newer");
        check(u32::MAX, &a, "newer");
        check(known, &b, "malformed");
        check(known - 1, &a, "malformed");
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Signed::decode(&noise).is_err());
            let body = Signed { envelope: noise.clone(), signature: noise.clone() };
            prop_assert!(body.open(0).is_err());
            prop_assert!(Envelope::decode(&noise).is_err());
        }

        #[test]
        fn changed_bytes_are_refused(at in 0usize..4096, bit in 0u8..8) {
            let signer = signer();
            let mut signed = envelope(&signer.peer_id(), 5).sign(&signer).unwrap();
            let length = signed.envelope.len();
            signed.envelope[at % length] ^= 1 << bit;
            prop_assert!(signed.open(5).is_err());
        }
    }
}
