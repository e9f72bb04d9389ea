//! What happens when this node's file is older than what it has told, because somebody restored it, or may
//! be.
//!
//! Invariant: the lost events come back from the peers under their numbers. What was emitted since under the
//! same numbers was told to nobody ([`super::untold`]); it gets new numbers under a new epoch and keeps its
//! place in the log, so that the handlers here see it once.
//!
//! What only a peer has that is away when this node tells of new events is under an epoch of before
//! ([`EventLog::tell_anew`]), and comes back under it.

use super::EventLog;
use crate::events::{
    LogError,
    envelope::{CAUSES_MAX, Envelope, EventId, Signed},
    writer::EventWriter,
};
use rusqlite::params;
use std::collections::BTreeMap;

impl EventLog {
    /// Whether one of this node's own events, signed by it, is missing here or is another one here: from
    /// which number on they are then used twice.
    pub(super) fn twice_from(
        &self,
        writer: &EventWriter<'_>,
        id: &EventId,
        signed: &Signed,
    ) -> Result<Option<i64>, LogError> {
        let (epoch, last) = writer.emitter()?;
        if (&id.origin, id.epoch) != (&self.origin, epoch) {
            return Ok(None);
        }
        let since = self.emitted_since(epoch);
        if id.sequence > last {
            return Ok(Some(since));
        }
        let other = writer.signed(id)?.is_some_and(|known| known.envelope != signed.envelope);
        Ok(other.then_some(since.min(id.sequence)))
    }

    /// The first number that this process may have used in its present epoch.
    pub(super) fn emitted_since(&self, epoch: i64) -> i64 {
        match self.untold() {
            i64::MAX if self.opened.0 == epoch => self.opened.1 + 1,
            i64::MAX => 1,
            untold => untold,
        }
    }

    /// Begins a new epoch, and takes this node's own events from number `from` on into it.
    pub(super) fn begin_anew(&self, writer: &EventWriter<'_>, from: i64) -> Result<(), LogError> {
        let (old, last) = writer.emitter()?;
        let epoch = match i64::from(rand::random::<u32>()) {
            same if same == old => old ^ 1,
            other => other,
        };
        tracing::info!(from, last, epoch, "a new epoch begins");
        let own: Vec<(i64, Vec<u8>)> = {
            let sql = "SELECT position, envelope FROM event_log WHERE origin = ? AND epoch = ? AND sequence >= ? \
                       ORDER BY sequence";
            let mut statement = writer.connection.prepare(sql)?;
            let rows =
                statement.query_map(params![self.origin, old, from], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        let forget = [
            "DELETE FROM event_heads WHERE origin = ?1 AND epoch = ?2 AND sequence >= ?3",
            "UPDATE event_vector SET contiguous = MIN(contiguous, ?3 - 1) WHERE origin = ?1 AND epoch = ?2",
        ];
        for sql in forget {
            writer.connection.execute(sql, params![self.origin, old, from])?;
        }
        writer.connection.execute("DELETE FROM event_tails WHERE origin = ''", [])?;
        let mut numbers = BTreeMap::new();
        for (position, bytes) in own {
            let envelope = match Envelope::decode(&bytes) {
                Ok(envelope) => envelope,
                Err(error) => {
                    tracing::error!(position, %error, "an own event is unreadable and was dropped");
                    writer.connection.execute("DELETE FROM event_inbox WHERE position = ?", [position])?;
                    writer.connection.execute("DELETE FROM event_log WHERE position = ?", [position])?;
                    continue;
                }
            };
            let sequence = numbers.len() as i64 + 1;
            numbers.insert(envelope.id.sequence, sequence);
            let envelope =
                moved(envelope, EventId { origin: self.origin.clone(), epoch, sequence }, &numbers);
            let signed = envelope.sign(&self.signer)?;
            writer.moved(position, &envelope, &signed)?;
            writer.set_last_in_flow("", &envelope)?;
        }
        writer.connection.execute("DELETE FROM event_untold", [])?;
        let count = numbers.len() as i64;
        writer.connection.execute("UPDATE event_emitter SET epoch = ?, sequence = ?", [epoch, count])?;
        Ok(())
    }
}

/// The same event under another id. What came before it either moved as well, or is named by its id.
fn moved(envelope: Envelope, id: EventId, numbers: &BTreeMap<i64, i64>) -> Envelope {
    let Envelope { id: old, at_ms, flow_previous, mut causes, injected, event } = envelope;
    let previous = flow_previous.and_then(|sequence| numbers.get(&sequence).copied());
    for cause in causes.iter_mut().filter(|cause| (&cause.origin, cause.epoch) == (&old.origin, old.epoch)) {
        if let Some(sequence) = numbers.get(&cause.sequence) {
            *cause = EventId { sequence: *sequence, ..id.clone() };
        }
    }
    if let (None, Some(sequence)) = (previous, flow_previous) {
        causes.insert(0, EventId { sequence, ..old });
        causes.truncate(CAUSES_MAX);
    }
    Envelope { id, at_ms, flow_previous: previous, causes, injected, event }
}
