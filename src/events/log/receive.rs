//! How others' events get into this node's log.
//!
//! Invariant: what is kept was signed by a member, is not kept twice, and has a position only after what it
//! follows.

use super::EventLog;
use crate::events::{
    LogError,
    envelope::{CLOCK_MAX, Envelope, EventRefusal, Signed},
    retention::FORGOTTEN,
    writer::Stored,
};

/// What became of a batch of others' events.
#[derive(Debug, Default)]
pub struct Received {
    /// Events that were not known before.
    pub new: usize,
    /// Events that were: gossip and repair may both bring one, and either may bring it again.
    pub known: usize,
    /// Something is missing before one of them.
    pub gap: bool,
    /// There was no room for all.
    pub full: bool,
    /// Refused ones.
    pub refused: Vec<EventRefusal>,
}

impl EventLog {
    /// Keeps others' events, in one synced transaction; those that are refused change
    /// nothing. `is_member` says which origins may speak; `live` that the events come
    /// straight from their emitters, and so are new.
    ///
    /// # Errors
    /// [`LogError`]; then nothing was kept.
    pub fn receive(
        &self,
        events: &[Signed],
        live: bool,
        is_member: impl Fn(&str) -> bool,
    ) -> Result<Received, LogError> {
        self.take_in(events.iter().map(|signed| (None, signed)), live, is_member)
    }

    /// [`Self::receive`] for gossip: events with the peer that published each. Only its emitter publishes an
    /// event; from anybody else it is a replay.
    ///
    /// # Errors
    /// [`LogError`]; then nothing was kept.
    pub fn hear(
        &self,
        events: &[(String, Signed)],
        is_member: impl Fn(&str) -> bool,
    ) -> Result<Received, LogError> {
        self.take_in(events.iter().map(|(from, signed)| (Some(from), signed)), true, is_member)
    }

    fn take_in<'a>(
        &self,
        events: impl Iterator<Item = (Option<&'a String>, &'a Signed)>,
        live: bool,
        is_member: impl Fn(&str) -> bool,
    ) -> Result<Received, LogError> {
        let now_ms = (self.clock)();
        let oldest = if live { CLOCK_MAX } else { FORGOTTEN };
        let check = |from: Option<&String>, envelope: Envelope| {
            let (origin, age) = (&envelope.id.origin, now_ms - envelope.at_ms);
            if !is_member(origin) {
                Err(EventRefusal::Stranger(origin.clone()))
            } else if let Some(from) = from.filter(|from| *from != origin) {
                Err(EventRefusal::Replayed { origin: origin.clone(), from: from.clone() })
            } else if age > oldest.as_millis() as i64 {
                Err(EventRefusal::Clock(-age))
            } else {
                Ok(envelope)
            }
        };
        let mut received = Received::default();
        let mut opened = Vec::new();
        for (from, signed) in events {
            match signed.open(now_ms).and_then(|envelope| check(from, envelope)) {
                Ok(envelope) => opened.push((envelope, signed)),
                Err(refused) => received.refused.push(refused),
            }
        }
        if opened.is_empty() {
            return Ok(received);
        }
        self.write(|writer| {
            for (envelope, signed) in &opened {
                if let Some(from) = self.twice_from(writer, &envelope.id, signed)? {
                    self.begin_anew(writer, from)?;
                }
                match writer.store(envelope, signed)? {
                    Stored::Logged => received.new += 1,
                    Stored::Parked => {
                        received.new += 1;
                        received.gap = true;
                    }
                    Stored::Known => received.known += 1,
                    Stored::Conflict => {
                        received.refused.push(EventRefusal::Conflict(envelope.id.origin.clone()))
                    }
                    Stored::Full => received.full = true,
                }
            }
            Ok(())
        })?;
        Ok(received)
    }
}
