//! What this node's next event follows, and what it has told.
//!
//! Invariant: a head of a flow is the last event of another source that got a position since this node
//! emitted one in that flow. An event takes the heads of its flow with it: whoever follows it follows them.

use super::EventWriter;
use crate::events::{
    LogError,
    envelope::{Envelope, EventId},
};
use rusqlite::{OptionalExtension, params};

impl EventWriter<'_> {
    /// This node's epoch, and the number of its last event.
    pub(in crate::events) fn emitter(&self) -> Result<(i64, i64), LogError> {
        let sql = "SELECT epoch, sequence FROM event_emitter";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// Takes the heads of a flow, the newest first: this node's next event follows them. What came before the
    /// heads it follows through its own last event.
    pub(in crate::events) fn take_heads(
        &self,
        flow: &str,
        own: (&str, i64),
    ) -> Result<Vec<EventId>, LogError> {
        let sql = "SELECT origin, epoch, sequence FROM event_heads WHERE flow = ? ORDER BY position DESC";
        let mut statement = self.connection.prepare_cached(sql)?;
        let heads = statement.query_map([flow], |row| {
            Ok(EventId { origin: row.get(0)?, epoch: row.get(1)?, sequence: row.get(2)? })
        })?;
        let heads: Vec<EventId> = heads.collect::<Result<_, _>>()?;
        let sql = "DELETE FROM event_heads WHERE flow = ?";
        self.connection.prepare_cached(sql)?.execute([flow])?;
        Ok(heads.into_iter().filter(|id| (id.origin.as_str(), id.epoch) != own).collect())
    }

    /// Remembers that this node tells something. False: it did before.
    pub(in crate::events) fn tell_once(&self, key: &str) -> Result<bool, LogError> {
        let sql = "INSERT OR IGNORE INTO event_told VALUES (?, ?)";
        Ok(self.connection.prepare_cached(sql)?.execute(params![key, self.now_ms])? == 1)
    }

    pub(super) fn set_head(&self, flow: &str, id: &EventId, position: i64) -> Result<(), LogError> {
        let sql = "INSERT OR REPLACE INTO event_heads(flow, origin, epoch, sequence, position) \
                   VALUES (?, ?, ?, ?, ?)";
        let row = params![flow, id.origin, id.epoch, id.sequence, position];
        self.connection.prepare_cached(sql)?.execute(row)?;
        Ok(())
    }

    /// The last event in a flow: of this node's own (an empty origin) or of Raft.
    pub(in crate::events) fn last_in_flow(&self, origin: &str, flow: &str) -> Result<Option<i64>, LogError> {
        let sql = "SELECT sequence FROM event_tails WHERE origin = ? AND flow = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row(params![origin, flow], |row| row.get(0)).optional()?)
    }

    /// Remembers the last event of a flow: of this node's own (an empty origin) or of Raft.
    pub(in crate::events) fn set_last_in_flow(
        &self,
        origin: &str,
        envelope: &Envelope,
    ) -> Result<(), LogError> {
        let sql =
            "INSERT INTO event_tails VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET sequence = excluded.sequence";
        let row = params![origin, envelope.event.flow(), envelope.id.sequence];
        self.connection.prepare_cached(sql)?.execute(row)?;
        Ok(())
    }
}
