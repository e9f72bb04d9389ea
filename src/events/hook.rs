//! Writes the events of every applied command in the transaction that applies it.
//!
//! Invariant: only the database can make it fail, never what a command says, because consensus would end on
//! every node, and again at every start. What cannot be written as an event is none, on every node alike.

use super::{
    caused::{AppliedCommand, GamesPlanned, caused, follows},
    envelope::{Envelope, EventId, PARTS_MAX, RAFT, Signed},
    subscriptions::Subscriptions,
    writer::EventWriter,
};
use crate::clock::now_ms_i64;
use cluster_state::{ClusterState, Command, Response};
use raft::{ApplyHook, HookError};

/// The hook that Raft calls when it applies a command or installs a snapshot.
pub struct EventHook {
    before: Option<ClusterState>,
    games_planned: GamesPlanned,
    subscriptions: Subscriptions,
}

impl EventHook {
    /// `games_planned` goes into the events of evaluations that start.
    #[must_use]
    pub fn new(games_planned: GamesPlanned, subscriptions: Subscriptions) -> Self {
        Self { before: None, games_planned, subscriptions }
    }

    fn writer<'a>(&'a self, connection: &'a rusqlite::Connection) -> EventWriter<'a> {
        EventWriter::new(connection, &self.subscriptions, now_ms_i64())
    }
}

fn bounded(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

impl ApplyHook for EventHook {
    fn on_apply(
        &mut self,
        tx: &rusqlite::Transaction<'_>,
        index: u64,
        command: &Command,
        response: &Response,
        state: &ClusterState,
    ) -> Result<(), HookError> {
        let before = self.before.replace(state.clone());
        let before = before.as_ref().unwrap_or(state);
        let applied = AppliedCommand { response, before, state, games_planned: self.games_planned };
        let events = caused(command, &applied);
        let mut cause = follows(command, before).map(|index| EventId::raft(index, 0));
        let writer = self.writer(tx);
        if events.len() > PARTS_MAX as usize {
            tracing::error!(index, events = events.len(), "a command has more events than numbers");
        }
        for (part, event) in (0..PARTS_MAX).zip(events) {
            let id = EventId::raft(index, part);
            // The parts of one command follow each other.
            let causes = cause.clone().into_iter().collect();
            let at_ms = bounded(command.at_ms());
            let envelope = Envelope { id, at_ms, flow_previous: None, causes, injected: false, event };
            let bytes = match envelope.encode() {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::error!(index, event = envelope.event.name(), %error, "a change is no event");
                    continue;
                }
            };
            cause = Some(envelope.id.clone());
            let unsigned = Signed { envelope: bytes, signature: Vec::new() };
            if writer.log(&envelope, &unsigned)?.is_some() {
                writer.set_last_in_flow(RAFT, &envelope)?;
            }
        }
        Ok(())
    }

    fn on_open(&mut self, state: &ClusterState) {
        self.before = Some(state.clone());
    }

    fn on_snapshot(&mut self, tx: &rusqlite::Transaction<'_>, state: &ClusterState) -> Result<(), HookError> {
        self.before = Some(state.clone());
        // Nothing that waits for a command in the snapshot will see its event.
        Ok(self.writer(tx).give_up(&EventId::raft(state.applied, PARTS_MAX - 1))?)
    }
}
