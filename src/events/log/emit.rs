//! How this node's own events get into its log.
//!
//! Invariant: an event follows everything that this node knew of the same flow when it emitted it: its own
//! last one, the cluster's last one, and what others have said since. So every node sees them in an order in
//! which they can have happened, whoever emitted them. Of more than [`CAUSES_MAX`] others, the ones that
//! spoke last are named.

use super::EventLog;
use crate::events::{
    Emission, LogError,
    envelope::{CAUSES_MAX, Envelope, EventId, RAFT, Signed},
    writer::EventWriter,
};
use rusqlite::Connection;

impl EventLog {
    /// Keeps an event of this node and returns the message that tells the others.
    ///
    /// # Errors
    /// [`LogError`]; then nothing was kept.
    pub fn emit(&self, emission: impl Into<Emission>) -> Result<Vec<u8>, LogError> {
        self.emit_with(emission, |_| Ok(()))
    }

    /// [`Self::emit`], but nothing if this node told the same thing in this way before. It is for events of a
    /// change that is not in this database: whoever made the change asks until it is told, also after a
    /// restart in between. An event that can happen again ([`crate::events::Event::once`]) is told each time.
    ///
    /// # Errors
    /// [`LogError`]; then nothing was kept.
    pub fn emit_once(&self, emission: impl Into<Emission>) -> Result<Option<Vec<u8>>, LogError> {
        let emission = emission.into();
        emission.event.check()?;
        let signed = self.write(|writer| match emission.event.once() {
            Some(key) if !writer.tell_once(&key)? => Ok(None),
            Some(_) | None => self.emit_one(writer, emission).map(Some),
        })?;
        Ok(signed.map(|signed| signed.encode()).transpose()?)
    }

    /// [`Self::emit`], and with it another change of `node.db`: both or
    /// neither. `change` is on a thread that may block.
    ///
    /// # Errors
    /// [`LogError`]; then nothing was kept and nothing changed.
    pub fn emit_with(
        &self,
        emission: impl Into<Emission>,
        change: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<Vec<u8>, LogError> {
        let emission = emission.into();
        emission.event.check()?;
        let signed = self.write(|writer| {
            change(writer.connection)?;
            self.emit_one(writer, emission)
        })?;
        Ok(signed.encode()?)
    }

    /// Keeps events of this node, all or none, in one synced transaction.
    ///
    /// # Errors
    /// [`LogError`]; then nothing was kept.
    pub fn emit_all(&self, emissions: Vec<Emission>) -> Result<Vec<Signed>, LogError> {
        emissions.iter().try_for_each(|emission| emission.event.check())?;
        self.write(|writer| {
            let emit = |emission| self.emit_one(writer, emission);
            emissions.into_iter().map(emit).collect()
        })
    }

    fn emit_one(&self, writer: &EventWriter<'_>, emission: Emission) -> Result<Signed, LogError> {
        let Emission { event, causes: named, injected } = emission;
        let flow_previous = writer.last_in_flow("", event.flow())?;
        let decided = writer.last_in_flow(RAFT, event.flow())?.map(|sequence| EventId {
            origin: RAFT.to_owned(),
            epoch: 0,
            sequence,
        });
        let (epoch, last) = writer.emitter()?;
        let heard = writer.take_heads(event.flow(), (&self.origin, epoch))?;
        let mut causes: Vec<EventId> = Vec::new();
        for cause in named.into_iter().chain(decided).chain(heard) {
            if causes.len() < CAUSES_MAX && !causes.contains(&cause) {
                causes.push(cause);
            }
        }
        let sequence = last + 1;
        writer.connection.prepare_cached("UPDATE event_emitter SET sequence = ?")?.execute([sequence])?;
        let id = EventId { origin: self.origin.clone(), epoch, sequence };
        let envelope = Envelope { id, at_ms: writer.now_ms, flow_previous, causes, injected, event };
        let signed = envelope.sign(&self.signer)?;
        writer.log(&envelope, &signed)?;
        writer.set_last_in_flow("", &envelope)?;
        Ok(signed)
    }
}
