//! What every event can be asked, and what makes an operator's words an event.
//!
//! Invariant: names and payload fields are those of the event-flow map (docs/EVENT_FLOW_INTEGRATION.md); a
//! test holds them as golden JSON and golden bytes. An event never asks for anything: a daemon that wants the
//! cluster to act proposes a Raft command. `db_path` and `model_path` are paths under the reader's own data
//! folder; the content hash beside them (`model_id`, `segment`) is what identifies the content everywhere.

use super::{
    payload::Games,
    table::{Event, EventKind},
};
use cluster_state::ConfigKey;
use serde_json::{Map, Value};

/// The flow of events that belong to no configuration.
pub const CLUSTER_FLOW: &str = "cluster";

/// Why something is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// There is no event of that name.
    #[error("there is no event {0:?}")]
    Unknown(String),
    /// A field is missing or of the wrong type.
    #[error("the payload does not fit {name}: {detail}")]
    Payload {
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// A field that the event does not have.
    #[error("{name} has no field {field:?}")]
    Field { name: String, field: String },
    /// The key is no configuration of the game.
    #[error("{0:?} is no configuration")]
    Config(String),
    /// A number that is not finite, or another value that JSON cannot carry.
    #[error("a value of {0} cannot be written as JSON")]
    Value(&'static str),
}

impl Event {
    /// The map's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// Which events it is ordered with: those of its configuration, or of the cluster.
    #[must_use]
    pub fn flow(&self) -> &str {
        self.payload().config_key().map_or(CLUSTER_FLOW, ConfigKey::as_str)
    }

    /// What it speaks of: a segment, a lease, a model, a host.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        self.payload().subject()
    }

    /// The segment of games that it announces, if it announces one.
    #[must_use]
    pub const fn games(&self) -> Option<&Games> {
        if let Self::SelfplayComplete(games) | Self::NewGamesAvailable(games) = self {
            Some(games)
        } else {
            None
        }
    }

    /// Events with the same key are one in effect, whoever emitted them. None: it can happen again.
    #[must_use]
    pub fn once(&self) -> Option<String> {
        let payload = self.payload();
        let subject = payload.subject().filter(|_| !payload.recurs())?;
        Some(format!("{} {subject}", self.name()))
    }

    /// Checks what types do not: the configuration exists, and every number is one.
    ///
    /// # Errors
    /// [`EventError`].
    pub fn check(&self) -> Result<(), EventError> {
        if let Some(key) = self.payload().config_key()
            && key.game().is_none()
        {
            return Err(EventError::Config(key.as_str().chars().take(40).collect()));
        }
        let again = serde_json::to_value(self).and_then(serde_json::from_value::<Self>);
        if again.is_ok_and(|again| again == *self) { Ok(()) } else { Err(EventError::Value(self.name())) }
    }

    /// An event as an operator gives it. A missing `node_id` is `node_id` (but a host event must say which
    /// host), a missing `timestamp` is `timestamp`.
    ///
    /// # Errors
    /// [`EventError`]: an unknown type, a missing, mistyped or unknown field.
    pub fn from_operator(
        name: &str,
        payload: Value,
        node_id: &str,
        timestamp: f64,
    ) -> Result<Self, EventError> {
        let Some(kind) = EventKind::named(name) else {
            return Err(EventError::Unknown(name.chars().take(64).collect()));
        };
        let name = kind.name();
        let wrong = |detail: String| EventError::Payload { name: name.to_owned(), detail };
        let Value::Object(mut fields) = payload else { return Err(wrong("it is no JSON object".to_owned())) };
        if !matches!(kind, EventKind::HostOnline | EventKind::HostOffline) {
            fields.entry("node_id").or_insert_with(|| node_id.into());
        }
        fields.entry("timestamp").or_insert_with(|| timestamp.into());
        let given: Vec<String> = fields.keys().cloned().collect();
        let value = Value::Object(Map::from_iter([(name.to_owned(), Value::Object(fields))]));
        let event: Self = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
        event.check()?;
        let fields = serde_json::to_value(&event).map_err(|error| wrong(error.to_string()))?;
        match given.into_iter().find(|field| fields[name].get(field).is_none()) {
            Some(field) => Err(EventError::Field { name: name.to_owned(), field }),
            None => Ok(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::events::{Component, golden::examples};

    #[test]
    fn what_consolidation_handles_announces_games() {
        for event in examples() {
            let handled = event.kind().handled_by(Component::Consolidation).is_some();
            assert_eq!(event.games().is_some(), handled, "{}", event.name());
        }
    }
}
