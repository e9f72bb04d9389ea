//! Emits SELFPLAY_COMPLETE for the segments that this node played: once for each, however often the process
//! is killed.
//!
//! Invariant: a segment stays on the list as not emitted until its event is in the log, and the log does not
//! take the event twice. The list and the log are two files, so that neither order of the two writes would
//! be enough by itself.

use super::Segments;
use crate::{
    clock::now_ms,
    events::{Event, Games, caused, log::EventLog},
    peer::{WorkError, blocking},
    store::{PendingSegment, PendingSegments, paths},
};
use cluster_state::Source;
use std::sync::Arc;

/// Emits the events of the segments that are listed as not emitted. Returns the messages for the other nodes.
pub(super) fn emit_all(
    list: &PendingSegments,
    log: &EventLog,
    event: impl Fn(&PendingSegment) -> Event,
) -> Result<Vec<Vec<u8>>, WorkError> {
    let mut messages = Vec::new();
    for segment in list.not_emitted(&Source::Selfplay)? {
        messages.extend(log.emit_once(event(&segment))?);
        list.mark_emitted(&segment.hash)?;
    }
    Ok(messages)
}

impl Segments {
    /// Emits to the other nodes the event of every listed segment that is not emitted yet.
    ///
    /// # Errors
    /// [`WorkError`] when the list or the log cannot be used; the next attempt continues where this one
    /// ended.
    pub(super) async fn emit_played(&self) -> Result<(), WorkError> {
        let node = &self.0.node;
        let (list, log) = (Arc::clone(&self.0.pending), Arc::clone(&node.events));
        let (state, name) = (node.raft.local(), node.name());
        let event = move |segment: &PendingSegment| {
            let known = state.config(&segment.config_key).map_or(0, |config| config.games_total);
            Event::SelfplayComplete(Games {
                config_key: segment.config_key.clone(),
                node_id: name.clone(),
                game_count: segment.games,
                total_games: known + segment.games,
                db_path: paths::games_db(&segment.config_key),
                segment: segment.hash,
                timestamp: caused::seconds(now_ms()),
            })
        };
        for message in blocking(move || emit_all(&list, &log, event)).await?? {
            node.gossip(message);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        events::Subscriptions,
        store::{Segment, fixture},
    };
    use cluster_state::{NodeId, SegmentId};
    use p2p::Signer;
    use std::path::Path;
    use wire::Hash;

    /// Opens both files as a process finds them when it starts.
    fn start(folder: &Path) -> (PendingSegments, EventLog) {
        let list = PendingSegments::open(&folder.join("segments.db")).unwrap();
        let signer = Signer::load(&folder.join("peer.key")).unwrap();
        (list, EventLog::open(&folder.join("node.db"), signer, Subscriptions::default()).unwrap())
    }

    fn event(segment: &PendingSegment) -> Event {
        Event::SelfplayComplete(Games {
            config_key: segment.config_key.clone(),
            node_id: "node-1".into(),
            game_count: segment.games,
            total_games: segment.games,
            db_path: String::new(),
            segment: segment.hash,
            timestamp: 1.5,
        })
    }

    fn told(log: &EventLog) -> Vec<SegmentId> {
        let all = log.since(0, 100).unwrap().into_iter();
        all.map(|logged| match logged.event {
            Event::SelfplayComplete(games) => games.segment,
            other => panic!("{other:?}"),
        })
        .collect()
    }

    #[test]
    fn a_kill_at_any_moment_neither_loses_nor_repeats_the_event() {
        let folder = tempfile::tempdir().unwrap();
        let games = vec![fixture::game("hex8_2p", 0)];
        let segment =
            Segment::build(&"hex8_2p".into(), Source::Selfplay, fixture::model(), NodeId(1), games).unwrap();
        let first = PendingSegment::from(&segment);
        let second = PendingSegment { hash: SegmentId(Hash::of(b"second")), ..first.clone() };
        let other = PendingSegment {
            hash: SegmentId(Hash::of(b"other")),
            source: Source::Evaluation,
            ..first.clone()
        };

        // The process was killed after the segment was listed and before its event was kept.
        let (list, log) = start(folder.path());
        [&first, &other].into_iter().for_each(|segment| list.add_pending(segment).unwrap());
        assert_eq!(told(&log), []);
        drop((list, log));
        let (list, log) = start(folder.path());
        assert_eq!(emit_all(&list, &log, event).unwrap().len(), 1);
        assert_eq!(told(&log), [first.hash]);

        // The process was killed after the event was kept and before the list recorded it.
        list.add_pending(&second).unwrap();
        assert!(log.emit_once(event(&second)).unwrap().is_some());
        drop((list, log));
        let (list, log) = start(folder.path());
        assert_eq!(list.not_emitted(&Source::Selfplay).unwrap(), std::slice::from_ref(&second));
        assert_eq!(emit_all(&list, &log, event).unwrap().len(), 0, "the peers have it or will ask for it");
        assert_eq!(told(&log), [first.hash, second.hash]);
        drop((list, log));

        let (list, log) = start(folder.path());
        assert_eq!(emit_all(&list, &log, event).unwrap().len(), 0);
        assert_eq!(told(&log), [first.hash, second.hash]);
        assert_eq!(list.pending().unwrap().len(), 3, "told is not acknowledged");
        // A list that was created again emits again, and the log recognises the event.
        let again = PendingSegments::open(&folder.path().join("new.db")).unwrap();
        again.add_pending(&first).unwrap();
        assert_eq!(emit_all(&again, &log, event).unwrap().len(), 0);
        assert_eq!(again.not_emitted(&Source::Selfplay).unwrap(), []);
    }
}
