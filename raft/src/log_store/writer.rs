//! The thread that writes the log.

use super::LogShared;
use crate::types::TypeConfig;
use openraft::storage::IOFlushed;
use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior, params};
use std::{io, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// Maximum number of writes that share one commit.
const GROUP: usize = 64;

type Reply = oneshot::Sender<io::Result<()>>;

/// One write, which is answered after the commit.
pub(super) enum Op {
    Append { rows: Vec<(i64, Vec<u8>)>, callback: IOFlushed<TypeConfig> },
    Vote { value: Vec<u8>, reply: Reply },
    Truncate { from: i64, reply: Reply },
    Purge { upto: i64, value: Vec<u8>, reply: Reply },
}

impl Op {
    fn answer(self, result: io::Result<()>) {
        match self {
            Self::Append { callback, .. } => callback.io_completed(result),
            // The receiver is gone if consensus has just stopped.
            Self::Vote { reply, .. } | Self::Truncate { reply, .. } | Self::Purge { reply, .. } => {
                let _ = reply.send(result);
            }
        }
    }
}

pub(super) struct LogWriter {
    db: Connection,
    inbox: mpsc::Receiver<Op>,
    shared: Arc<Mutex<LogShared>>,
}

impl LogWriter {
    pub(super) fn new(db: Connection, inbox: mpsc::Receiver<Op>, shared: Arc<Mutex<LogShared>>) -> Self {
        Self { db, inbox, shared }
    }

    /// Writes until the last [`super::LogStore`] is dropped. After a failure it writes nothing more, because
    /// otherwise the order of the writes would be lost.
    pub(super) fn run(mut self) {
        let mut failure: Option<String> = None;
        while let Some(first) = self.inbox.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(op) = self.inbox.try_recv()
            {
                group.push(op);
            }
            if failure.is_none()
                && let Err(e) = commit(&mut self.db, &group)
            {
                tracing::error!(error = %e, "the raft log cannot be written");
                failure = Some(e.to_string());
            }
            if failure.is_none() {
                self.note_durable(&group);
            }
            for op in group {
                op.answer(failure.as_ref().map_or(Ok(()), |e| Err(io::Error::other(e.clone()))));
            }
        }
    }

    fn note_durable(&self, group: &[Op]) {
        let mut shared = self.shared.lock();
        for op in group {
            match op {
                Op::Append { rows, .. } => {
                    if let Some((index, _)) = rows.last() {
                        shared.durable = index.unsigned_abs();
                    }
                }
                Op::Truncate { from, .. } => {
                    shared.durable = shared.durable.min(from.saturating_sub(1).max(0).unsigned_abs());
                }
                Op::Vote { .. } | Op::Purge { .. } => {}
            }
        }
        shared.trim();
    }
}

fn commit(db: &mut Connection, group: &[Op]) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for op in group {
        match op {
            Op::Append { rows, .. } => {
                let mut insert =
                    tx.prepare_cached("INSERT OR REPLACE INTO log (idx, entry) VALUES (?1, ?2)")?;
                for (index, entry) in rows {
                    insert.execute(params![index, entry])?;
                }
            }
            Op::Vote { value, .. } => set_meta(&tx, "vote", value)?,
            Op::Truncate { from, .. } => {
                tx.execute("DELETE FROM log WHERE idx >= ?1", [from])?;
            }
            Op::Purge { upto, value, .. } => {
                tx.execute("DELETE FROM log WHERE idx <= ?1", [upto])?;
                set_meta(&tx, "purged", value)?;
            }
        }
    }
    tx.commit()
}

fn set_meta(tx: &rusqlite::Transaction<'_>, name: &str, value: &[u8]) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?
        .execute(params![name, value])?;
    Ok(())
}
