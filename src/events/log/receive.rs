//! How others' events get into this node's log.
//!
//! Invariant: what is kept was signed by a member, is not kept twice, and has a position only after what it
//! follows.

use super::EventLog;
use crate::events::{
    LogError,
    envelope::{CLOCK_MAX, Envelope, EventRefusal, Signed},
    equivocation::Equivocation,
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
    pub refused: Vec<EventRefusal>,
    /// Origins that are shunned from now on, because they said two things under one number.
    pub proofs: Vec<Equivocation>,
}

/// An event of another node that passed every check but those that need the database.
#[derive(Debug)]
pub struct Opened {
    envelope: Envelope,
    signed: Signed,
}

impl EventLog {
    /// Checks another's event without the database. `is_member` says which origins may speak; `from` is the
    /// peer that published it over gossip: only its emitter does, and from anybody else it is a replay.
    ///
    /// # Errors
    /// [`EventRefusal`].
    pub fn open_event(
        &self,
        from: Option<&str>,
        signed: Signed,
        live: bool,
        is_member: impl Fn(&str) -> bool,
    ) -> Result<Opened, EventRefusal> {
        let now_ms = (self.clock)();
        let oldest = if live { CLOCK_MAX } else { FORGOTTEN };
        let envelope = signed.open(now_ms)?;
        let (origin, age) = (&envelope.id.origin, now_ms - envelope.at_ms);
        if self.is_shunned(origin) || self.is_pardoned(origin, envelope.id.epoch) {
            return Err(EventRefusal::Shunned(origin.clone()));
        }
        if !is_member(origin) {
            return Err(EventRefusal::Stranger(origin.clone()));
        }
        if let Some(from) = from.filter(|from| *from != origin) {
            return Err(EventRefusal::Replayed { origin: origin.clone(), from: from.to_owned() });
        }
        if age > oldest.as_millis() as i64 {
            return Err(EventRefusal::Clock(-age));
        }
        Ok(Opened { envelope, signed })
    }

    /// Keeps others' events, in one synced transaction; those that are refused change nothing. `is_member`
    /// says which origins may speak; `live` that the events come straight from their emitters, and so are
    /// new.
    ///
    /// # Errors
    /// [`LogError`]; then nothing was kept.
    pub fn receive(
        &self,
        events: &[Signed],
        live: bool,
        is_member: impl Fn(&str) -> bool,
    ) -> Result<Received, LogError> {
        let (mut opened, mut refused) = (Vec::new(), Vec::new());
        for signed in events {
            match self.open_event(None, signed.clone(), live, &is_member) {
                Ok(event) => opened.push(event),
                Err(why) => refused.push(why),
            }
        }
        let mut received = self.keep_opened(&opened)?;
        refused.append(&mut received.refused);
        Ok(Received { refused, ..received })
    }

    /// Keeps events that are opened already, in one synced transaction.
    ///
    /// # Errors
    /// [`LogError`]; then nothing was kept.
    pub fn keep_opened(&self, events: &[Opened]) -> Result<Received, LogError> {
        let mut received = Received::default();
        if events.is_empty() {
            return Ok(received);
        }
        let mut anew = false;
        self.write(|writer| {
            for Opened { envelope, signed } in events {
                if let Some(from) = self.twice_from(writer, &envelope.id, signed)? {
                    tracing::error!(from, "node.db is older than what this node has told");
                    self.begin_anew(writer, from)?;
                    anew = true;
                }
                match writer.store(envelope, signed)? {
                    Stored::Logged => received.new += 1,
                    Stored::Parked => {
                        received.new += 1;
                        received.gap = true;
                    }
                    Stored::Known => received.known += 1,
                    Stored::Conflict(known) => {
                        let proof = Equivocation { first: known, second: signed.clone() };
                        if envelope.id.origin != self.origin && writer.shun(&envelope.id, &proof)? {
                            received.proofs.push(proof);
                        }
                        received.refused.push(EventRefusal::Conflict(envelope.id.origin.clone()));
                    }
                    Stored::Full => received.full = true,
                }
            }
            Ok(())
        })?;
        if anew {
            self.tells_all();
        }
        if !received.proofs.is_empty() {
            self.look_who_is_shunned()?;
        }
        Ok(received)
    }
}
