//! An event in this node's log, and one that is to come there.

use super::{
    Event, LogError,
    envelope::{Envelope, EventId},
};
use rusqlite::Row;
use serde::{Deserialize, Serialize};

/// An event with its id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// Where it is in this node's log; other nodes number differently. In causal order.
    pub position: i64,
    /// The emitter's peer id, or `raft`.
    pub origin: String,
    /// Random number of the emitter's data folder; 0 for `raft`.
    pub epoch: i64,
    /// For `raft`: log index × 16 + number within the command. Otherwise it counts the origin's events.
    pub sequence: i64,
    /// When it was emitted, milliseconds since the epoch.
    pub at_ms: i64,
    /// Which events it is ordered with.
    pub flow: String,
    /// The origin's event before it in the flow.
    pub flow_previous: Option<i64>,
    /// Events that it follows.
    pub causes: Vec<EventId>,
    /// What it speaks of.
    pub subject: Option<String>,
    /// An operator emitted it.
    pub injected: bool,
    /// What happened.
    pub event: Event,
}

impl Logged {
    pub(super) fn new(position: i64, envelope: Envelope) -> Self {
        let Envelope { id, at_ms, flow_previous, causes, injected, event } = envelope;
        Self {
            position,
            origin: id.origin,
            epoch: id.epoch,
            sequence: id.sequence,
            at_ms,
            flow: event.flow().to_owned(),
            flow_previous,
            causes,
            subject: event.subject(),
            injected,
            event,
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId { origin: self.origin.clone(), epoch: self.epoch, sequence: self.sequence }
    }
}

/// An event to emit.
#[derive(Clone, Debug, PartialEq)]
pub struct Emission {
    /// What happened.
    pub event: Event,
    /// What it follows, beside this node's and the cluster's last event of the same flow.
    pub causes: Vec<EventId>,
    /// An operator asked for it.
    pub injected: bool,
}

impl From<Event> for Emission {
    fn from(event: Event) -> Self {
        Self { event, causes: Vec::new(), injected: false }
    }
}

/// Reads a row that begins with the position and the envelope.
pub(super) fn read(row: &Row<'_>) -> Result<Logged, LogError> {
    let envelope: Vec<u8> = row.get(1)?;
    Ok(Logged::new(row.get(0)?, Envelope::decode(&envelope)?))
}
