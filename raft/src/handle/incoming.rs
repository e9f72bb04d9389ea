//! A snapshot of which pieces are arriving.
//!
//! Invariant: one snapshot arrives at a time, in a file beside the log, of at most the announced size. The
//! file goes with the transfer: when it is complete, replaced, given up, or left over by another process.

use crate::types::{LogId, SNAPSHOT_BYTES_MAX, Vote};
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

/// How long a sender may pause between two pieces, before another may begin.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Where the next snapshot arrives, and the one that is arriving.
pub(crate) struct Incoming {
    path: PathBuf,
    begun: Option<Begun>,
}

struct Begun {
    from: String,
    vote: Vote,
    last_log_id: Option<LogId>,
    total: u64,
    received: u64,
    file: File,
    at: Instant,
}

/// What a piece says about itself.
pub(super) struct Piece {
    pub(super) from: String,
    pub(super) vote: Vote,
    pub(super) last_log_id: Option<LogId>,
    pub(super) total: u64,
    pub(super) offset: u64,
    pub(super) data: Vec<u8>,
}

/// What became of a piece.
pub(super) enum Taken {
    /// More pieces are to come.
    Part,
    /// The snapshot is complete.
    Whole(Vec<u8>),
    /// The piece is not the one that is expected.
    Refused,
}

impl Incoming {
    /// Nothing arrives yet; what an earlier process left is removed.
    pub(super) fn new(path: PathBuf) -> Self {
        let it = Self { path, begun: None };
        it.remove();
        it
    }

    /// Adds a piece, or begins anew with a first one. A transfer that goes on is replaced only by its own
    /// sender, or by the leader of a later term.
    pub(super) fn take(&mut self, piece: Piece, now: Instant) -> io::Result<Taken> {
        let Piece { from, vote, last_log_id, total, offset, data } = piece;
        if offset == 0 {
            let other = self.begun.as_ref().filter(|begun| begun.from != from && begun.vote >= vote);
            if total > SNAPSHOT_BYTES_MAX as u64 || other.is_some_and(|other| !other.is_idle(now)) {
                return Ok(Taken::Refused);
            }
            self.give_up();
            // It holds the secret of the cluster, as the state does.
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(true).mode(0o600);
            let file = options.open(&self.path)?;
            self.begun =
                Some(Begun { from: from.clone(), vote, last_log_id, total, received: 0, file, at: now });
        }
        let Some(begun) = self.begun.as_mut().filter(|begun| {
            (&begun.from, begun.vote, begun.last_log_id, begun.total) == (&from, vote, last_log_id, total)
                && begun.received == offset
                && data.len() as u64 <= total - offset
                && (!data.is_empty() || total == 0)
        }) else {
            return Ok(Taken::Refused);
        };
        begun.file.write_all(&data)?;
        begun.received += data.len() as u64;
        begun.at = now;
        if begun.received < begun.total {
            return Ok(Taken::Part);
        }
        let whole = fs::read(&self.path);
        self.give_up();
        whole.map(Taken::Whole)
    }

    /// Drops a transfer whose sender went silent.
    pub(super) fn drop_idle(&mut self, now: Instant) {
        if self.begun.as_ref().is_some_and(|begun| begun.is_idle(now)) {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        if self.begun.take().is_some() {
            self.remove();
        }
    }

    fn remove(&self) {
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "an unfinished snapshot stays"),
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Begun {
    fn is_idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) > PAUSE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_state::NodeId;

    fn piece(from: &str, term: u64, offset: u64, data: &[u8]) -> Piece {
        let vote = Vote::new_committed(term, NodeId(2));
        Piece { from: from.into(), vote, last_log_id: None, total: 6, offset, data: data.to_vec() }
    }

    #[test]
    fn pieces_follow_each_other_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        fs::write(&path, "left by another process").unwrap();
        let mut incoming = Incoming::new(path.clone());
        assert!(!path.exists());
        let now = Instant::now();
        let mut take = |piece, after: Duration| incoming.take(piece, now + after).unwrap();
        let soon = Duration::from_secs(1);
        assert!(matches!(take(piece("a", 2, 3, b"def"), soon), Taken::Refused), "it has no beginning");
        assert!(matches!(take(piece("a", 2, 0, b"abc"), soon), Taken::Part));
        assert!(path.exists(), "on the disk, not in memory");
        assert!(matches!(take(piece("a", 2, 3, b""), soon), Taken::Refused), "it brings nothing");
        assert!(matches!(take(piece("b", 2, 0, b"xyz"), soon), Taken::Refused), "another is in the middle");
        assert!(matches!(take(piece("b", 2, 3, b"xyz"), soon), Taken::Refused), "another's place");
        assert!(matches!(take(piece("a", 2, 3, b"defg"), soon), Taken::Refused), "more than announced");
        assert!(matches!(take(piece("a", 2, 3, b"def"), soon), Taken::Whole(whole) if whole == b"abcdef"));
        assert!(!path.exists());
        assert!(matches!(take(piece("a", 2, 0, b"abc"), soon), Taken::Part));
        assert!(matches!(take(piece("b", 3, 0, b"xyz"), soon), Taken::Part), "the leader of a later term");
        assert!(matches!(take(piece("a", 2, 3, b"def"), soon), Taken::Refused));
        assert!(matches!(take(piece("a", 2, 0, b"abc"), soon + PAUSE_MAX * 2), Taken::Part), "it was idle");
        incoming.drop_idle(now + PAUSE_MAX * 2);
        assert!(path.exists());
        incoming.drop_idle(now + PAUSE_MAX * 4);
        assert!(!path.exists());
        let huge = Piece { total: SNAPSHOT_BYTES_MAX as u64 + 1, ..piece("a", 2, 0, b"abc") };
        assert!(matches!(incoming.take(huge, now).unwrap(), Taken::Refused));
    }
}
