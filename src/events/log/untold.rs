//! What this node has emitted since its start and tells nobody yet.
//!
//! Invariant: a node that starts with an old folder tells nobody of a new event before its peers have had the
//! time to bring it the ones that it lost, and keeps its epoch only if all of them had. If `node.db` is an
//! old copy that somebody restored, or a disk that lost power has lost its end, the numbers that come next
//! may be used already, and two events under one number are proof of a lie ([`crate::events::equivocation`]).
//! Its handlers see its events at once.

use super::EventLog;
use crate::events::{LogError, vector::VersionVector, writer::EPOCHS_MAX};
use rusqlite::{Connection, OptionalExtension};
use std::{
    collections::BTreeSet,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// How long a node waits for the answers of more peers once one has answered. Those that may know of a lost
/// event and are up connect within a second or two.
const PATIENCE: Duration = Duration::from_secs(10);

/// Epochs of this node that are in use, from which on it begins no more because a peer is away. Peers have
/// room for twice as many of one origin.
const ANEW_MAX: i64 = 16;

const _: () = assert!(2 * ANEW_MAX <= EPOCHS_MAX);

/// The first event that is told to nobody yet, now that the log is opened; [`i64::MAX`]: all may be told. A
/// run that met nobody leaves its events untold to the next one.
pub(super) fn at_start(connection: &Connection, is_new: bool, last: i64) -> Result<i64, rusqlite::Error> {
    if !is_new {
        connection.execute("INSERT OR IGNORE INTO event_untold VALUES (1, ?)", [last.saturating_add(1)])?;
    }
    let sql = "SELECT since FROM event_untold";
    Ok(connection.query_row(sql, [], |row| row.get(0)).optional()?.unwrap_or(i64::MAX))
}

impl EventLog {
    /// Whether others may be told of what this node emits.
    #[must_use]
    pub fn may_tell(&self) -> bool {
        self.untold() == i64::MAX
    }

    pub(super) fn untold(&self) -> i64 {
        self.untold.load(Ordering::Relaxed)
    }

    /// All other members have answered what they know of this node: from now on it tells them what it emits.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn tell(&self) -> Result<(), LogError> {
        if !self.may_tell() {
            self.write(|writer| Ok(writer.connection.execute("DELETE FROM event_untold", [])?))?;
            self.tells_all();
        }
        Ok(())
    }

    /// Enough peers have answered what they know of this node, but not all: one that is away may have events
    /// that were lost here. So this node goes on under a new epoch, of which no number was used before. One
    /// that has begun `ANEW_MAX` epochs lately goes on under the last one, because peers take only so many.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn tell_anew(&self) -> Result<(), LogError> {
        if self.may_tell() {
            return Ok(());
        }
        let began = self.write(|writer| {
            let fits = writer.epochs(&self.origin)? < ANEW_MAX;
            if fits {
                self.begin_anew(writer, self.untold())?;
            }
            Ok(fits)
        })?;
        if !began {
            tracing::warn!("this node goes on under its epoch: it began {ANEW_MAX} in the last days");
            return self.tell();
        }
        tracing::info!("a new epoch begins: not all members have said what they know of this node");
        self.tells_all();
        Ok(())
    }

    pub(super) fn tells_all(&self) {
        self.untold.store(i64::MAX, Ordering::Relaxed);
    }

    /// Takes out of a vector of this node what it tells nobody yet.
    pub(super) fn without_untold(&self, vector: &mut VersionVector) {
        let untold = self.untold();
        let Some(own) = vector.get_mut(&(self.origin.clone(), self.opened.0)) else { return };
        if untold < i64::MAX {
            own.watermark = own.watermark.min(untold - 1);
            own.beyond.retain(|(start, _)| *start < untold);
        }
    }
}

/// Who has answered since the start.
#[derive(Debug, Default)]
pub struct Answered {
    peers: BTreeSet<String>,
    first: Option<Instant>,
}

impl Answered {
    /// A peer has sent all that it has and this node lacked.
    pub fn note(&mut self, peer: &str, now: Instant) {
        self.peers.insert(peer.to_owned());
        self.first.get_or_insert(now);
    }

    /// Whether all of these have answered.
    pub fn is_all<'a>(&self, mut others: impl Iterator<Item = &'a str>) -> bool {
        others.all(|peer| self.peers.contains(peer))
    }

    /// Whether it is enough to tell others of new events: half of the other members, and all that are
    /// connected; or one, for a while.
    #[must_use]
    pub fn is_enough<'a>(
        &self,
        mut connected: impl Iterator<Item = &'a str>,
        members: usize,
        now: Instant,
    ) -> bool {
        let Some(first) = self.first else { return false };
        let most = self.peers.len() >= members / 2 && connected.all(|peer| self.peers.contains(peer));
        most || now.saturating_duration_since(first) >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_have_to_answer_or_one_for_a_while() {
        let start = Instant::now();
        let check = |peers: &[&str], connected: &[&str], members, expected: [bool; 2]| {
            let mut answered = Answered::default();
            peers.iter().for_each(|peer| answered.note(peer, start));
            let found = [Duration::ZERO, PATIENCE]
                .map(|after| answered.is_enough(connected.iter().copied(), members, start + after));
            assert_eq!(found, expected, "{peers:?} of {connected:?}, {members} members");
        };
        check(&[], &[], 1, [false; 2]);
        check(&[], &["a"], 2, [false; 2]);
        check(&["a"], &["a"], 2, [true; 2]);
        check(&["a"], &["a", "b"], 3, [false, true]);
        check(&["a", "b"], &["a", "b"], 5, [true; 2]);
        check(&["a"], &["a"], 5, [false, true]);
    }
}
