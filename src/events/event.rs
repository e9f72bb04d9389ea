//! What happened, as plain data.
//!
//! Invariant: names and payload fields are those of the event-flow map (`docs/EVENT_FLOW_INTEGRATION.md`); a test
//! holds them as golden JSON and golden bytes. An event never asks for anything: a daemon that wants the cluster to act
//! proposes a Raft command. `db_path` and `model_path` are the paths under the reader's own data folder; the content
//! hash beside them (`model_id`, `segment`) is what identifies the content everywhere.

use super::payload::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The flow of events that belong to no configuration.
pub const CLUSTER_FLOW: &str = "cluster";

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident($payload:ident) = $name:literal,)*) => {
        /// One thing that happened. In JSON an object of one key, the map's name, holding the payload. Append-only: the
        /// order is the encoding.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum Event {
            $($(#[$doc])* #[serde(rename = $name)] $variant($payload),)*
        }

        impl Event {
            /// Every name, in the order of the encoding.
            pub const NAMES: &[&str] = &[$($name),*];

            /// The map's name.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                }
            }

            fn payload(&self) -> &dyn Payload {
                match self {
                    $(Self::$variant(payload) => payload,)*
                }
            }
        }
    };
}

events! {
    /// A runner closed a batch of games.
    SelfplayComplete(Games) = "SELFPLAY_COMPLETE",
    /// A segment of games is acknowledged: durable on enough nodes and registered.
    NewGamesAvailable(Games) = "NEW_GAMES_AVAILABLE",
    /// Enough new games for a training run.
    TrainingThresholdReached(TrainingThresholdReached) = "TRAINING_THRESHOLD_REACHED",
    /// A node holds the lease and trains.
    TrainingStarted(TrainingStarted) = "TRAINING_STARTED",
    /// Some epochs are done.
    TrainingProgress(TrainingProgress) = "TRAINING_PROGRESS",
    /// A candidate exists.
    TrainingCompleted(TrainingCompleted) = "TRAINING_COMPLETED",
    /// A node holds the lease and plays the candidate's games.
    EvaluationStarted(EvaluationStarted) = "EVALUATION_STARTED",
    /// The verdict on a candidate.
    EvaluationCompleted(EvaluationCompleted) = "EVALUATION_COMPLETED",
    /// There is a new champion.
    ModelPromoted(ModelPromoted) = "MODEL_PROMOTED",
    /// Every live node holds and has verified the champion.
    ModelDistributionComplete(ModelDistributionComplete) = "MODEL_DISTRIBUTION_COMPLETE",
    /// A node can be reached again.
    HostOnline(HostOnline) = "HOST_ONLINE",
    /// A node cannot be reached.
    HostOffline(HostOffline) = "HOST_OFFLINE",
    /// A new Raft leader made its first entry.
    LeaderElected(LeaderElected) = "LEADER_ELECTED",
    /// A training run ended without a candidate.
    TrainingFailed(TrainingFailed) = "TRAINING_FAILED",
    /// An evaluation ended without a verdict.
    EvaluationFailed(EvaluationFailed) = "EVALUATION_FAILED",
    /// More candidates wait than evaluation can take.
    EvaluationBackpressure(EvaluationBackpressure) = "EVALUATION_BACKPRESSURE",
    /// Evaluation has caught up.
    EvaluationBackpressureReleased(EvaluationBackpressure) = "EVALUATION_BACKPRESSURE_RELEASED",
    /// A candidate will not be promoted.
    PromotionRejected(PromotionRejected) = "PROMOTION_REJECTED",
    /// An earlier champion is back.
    PromotionRolledBack(PromotionRolledBack) = "PROMOTION_ROLLED_BACK",
    /// A model is on its way to every node.
    ModelDistributionStarted(ModelDistributionStarted) = "MODEL_DISTRIBUTION_STARTED",
    /// A model did not reach every node.
    ModelDistributionFailed(ModelDistributionFailed) = "MODEL_DISTRIBUTION_FAILED",
    /// The champion plays somewhat worse than it did.
    RegressionDetected(Regression) = "REGRESSION_DETECTED",
    /// The champion plays much worse than it did.
    RegressionCritical(Regression) = "REGRESSION_CRITICAL",
    /// The champion plays as it did again.
    RegressionCleared(Regression) = "REGRESSION_CLEARED",
    /// Training shall go back to an earlier checkpoint.
    TrainingRollbackNeeded(TrainingRollbackNeeded) = "TRAINING_ROLLBACK_NEEDED",
    /// The weights of the configurations change at once.
    CurriculumEmergencyUpdate(CurriculumEmergencyUpdate) = "CURRICULUM_EMERGENCY_UPDATE",
    /// Enough members can be reached again.
    P2pClusterHealthy(ClusterHealth) = "P2P_CLUSTER_HEALTHY",
    /// A majority of the members cannot be reached.
    P2pClusterUnhealthy(ClusterHealth) = "P2P_CLUSTER_UNHEALTHY",
    /// Games arrived on a node.
    DataSyncCompleted(DataSync) = "DATA_SYNC_COMPLETED",
    /// Games did not arrive on a node.
    DataSyncFailed(DataSyncFailed) = "DATA_SYNC_FAILED",
    /// Work waits for a node.
    WorkQueued(Work) = "WORK_QUEUED",
    /// A node holds the lease.
    WorkClaimed(Work) = "WORK_CLAIMED",
    /// The lease ended well.
    WorkCompleted(Work) = "WORK_COMPLETED",
    /// The holder gave up.
    WorkFailed(Work) = "WORK_FAILED",
    /// The lease was taken from a silent holder.
    WorkTimeout(Work) = "WORK_TIMEOUT",
    /// The work is wanted no more.
    WorkCancelled(Work) = "WORK_CANCELLED",
}

/// Why something is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// No such type.
    #[error("there is no event {0:?}")]
    Unknown(String),
    /// A field is missing or of the wrong type.
    #[error("the payload does not fit {name}: {detail}")]
    Payload {
        /// The event.
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// A field that the event does not have.
    #[error("{name} has no field {field:?}")]
    Field {
        /// The event.
        name: String,
        /// The field.
        field: String,
    },
    /// No configuration of the game.
    #[error("{0:?} is no configuration")]
    Config(String),
    /// A number that is none, or a value that JSON cannot carry.
    #[error("a value of {0} cannot be written as JSON")]
    Value(&'static str),
}

impl Event {
    /// Which events it is ordered with: those of its configuration, or of the cluster.
    #[must_use]
    pub fn flow(&self) -> &str {
        self.payload().config_key().unwrap_or(CLUSTER_FLOW)
    }

    /// What it speaks of: a segment, a lease, a model, a host.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        self.payload().subject()
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
            && (key.len() > 32 || key.parse::<::rules::Config>().is_err())
        {
            return Err(EventError::Config(key.chars().take(40).collect()));
        }
        let again = serde_json::to_value(self).and_then(serde_json::from_value::<Self>);
        if again.is_ok_and(|again| again == *self) { Ok(()) } else { Err(EventError::Value(self.name())) }
    }

    /// An event as an operator gives it. A missing `node_id` is `node_id` (but a host event must say which host), a
    /// missing `timestamp` is `timestamp`.
    ///
    /// # Errors
    /// [`EventError`]: an unknown type, a missing, mistyped or unknown field.
    pub fn from_operator(
        name: &str,
        payload: Value,
        node_id: &str,
        timestamp: f64,
    ) -> Result<Self, EventError> {
        let Some(name) = Self::NAMES.iter().find(|known| **known == name) else {
            return Err(EventError::Unknown(name.chars().take(64).collect()));
        };
        let wrong = |detail: String| EventError::Payload { name: (*name).to_owned(), detail };
        let Value::Object(mut fields) = payload else { return Err(wrong("it is no JSON object".to_owned())) };
        if !name.starts_with("HOST_") {
            fields.entry("node_id").or_insert_with(|| node_id.into());
        }
        fields.entry("timestamp").or_insert_with(|| timestamp.into());
        let given: Vec<String> = fields.keys().cloned().collect();
        let value = Value::Object(Map::from_iter([((*name).to_owned(), Value::Object(fields))]));
        let event: Self = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
        event.check()?;
        let fields = serde_json::to_value(&event).map_err(|error| wrong(error.to_string()))?;
        match given.into_iter().find(|field| fields[*name].get(field).is_none()) {
            Some(field) => Err(EventError::Field { name: (*name).to_owned(), field }),
            None => Ok(event),
        }
    }
}
