//! Samples of this node's log, so that two nodes which took different events under one number find out.
//!
//! Invariant: a version vector cannot show that, because it holds numbers only. Each question carries a few
//! random events of the newest ones, by id and hash, and the answer has the other event, if there is one.

use super::EventLog;
use crate::events::{
    LogError,
    envelope::{EventId, RAFT, Signed},
    repair::{SAMPLES_MAX, Sample},
    writer,
};
use rusqlite::{Connection, OptionalExtension};
use wire::Hash;

/// The newest positions of which samples are taken.
const SAMPLED: i64 = 1024;

/// The beginning of an event's hash: enough to see that two events differ, unless somebody works for it.
fn short_hash(envelope: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = Hash::of(envelope).0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

impl EventLog {
    /// A few random events of the newest ones.
    pub(super) fn samples(&self) -> Result<Vec<Sample>, LogError> {
        let connection = self.reader.lock();
        let newest: Option<i64> =
            connection.query_row("SELECT MAX(position) FROM event_log", [], |row| row.get(0))?;
        let Some(newest) = newest else { return Ok(Vec::new()) };
        let sql =
            "SELECT origin, epoch, sequence, envelope FROM event_log WHERE position = ? AND origin <> ?";
        let mut statement = connection.prepare_cached(sql)?;
        let mut samples = Vec::new();
        for _ in 0..SAMPLES_MAX {
            let position = rand::random_range(newest.saturating_sub(SAMPLED - 1).max(1)..=newest.max(1));
            let found = statement.query_row((position, RAFT), |row| {
                let id = EventId { origin: row.get(0)?, epoch: row.get(1)?, sequence: row.get(2)? };
                Ok(Sample { id, hash: short_hash(&row.get::<_, Vec<u8>>(3)?) })
            });
            samples.extend(found.optional()?);
        }
        samples.retain(|sample| sample.id.origin != self.origin || self.may_tell());
        Ok(samples)
    }

    /// The events here that contradict a peer's samples.
    pub(super) fn contradictions<'a>(
        &self,
        connection: &Connection,
        samples: impl Iterator<Item = &'a Sample>,
    ) -> Result<Vec<Signed>, LogError> {
        let mut found = Vec::new();
        for Sample { id, hash } in samples {
            if let Some(here) = writer::signed(connection, id)?
                && short_hash(&here.envelope) != *hash
                && (id.origin != self.origin || self.may_tell())
                && !self.is_shunned(&id.origin)
                && !self.is_pardoned(&id.origin, id.epoch)
            {
                found.push(here);
            }
        }
        Ok(found)
    }
}
