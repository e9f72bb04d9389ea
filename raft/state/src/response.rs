//! What applying a command answers. Every replica computes the same answer.

use crate::{
    config::Promotion,
    id::{ModelId, NodeId, SegmentId},
    lease::{Lease, LeaseKind},
};
use serde::{Deserialize, Serialize};

/// Outcome of an applied command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// The command took effect and there is nothing more to say.
    Done,
    /// The state was already so: a repetition, or no news.
    Unchanged,
    /// The node's id, and whether this registration brought it online.
    Node {
        /// The id.
        id: NodeId,
        /// It was unknown or offline before, or this is another start of its process.
        came_online: bool,
    },
    /// `SetOnline` changed something.
    Online {
        /// Champions that every online node holds from now on (announced once each).
        distributed: Vec<Distributed>,
    },
    /// A segment was accepted.
    Segment {
        /// Self-play games of the configuration so far.
        games_total: u64,
        /// Self-play games since the last crossing of the threshold.
        games_since_training: u64,
    },
    /// A segment that is known already.
    Duplicate,
    /// A lease was granted or renewed.
    Lease(Lease),
    /// The champion moved.
    Promoted {
        /// What went into the history.
        promotion: Promotion,
        /// Every online node holds the model already.
        distributed: bool,
    },
    /// A holder of a model was recorded.
    Held {
        /// With it, every online node holds the current champion (told once per champion).
        distributed: bool,
    },
    /// Nothing changed.
    Refused(Refusal),
    /// A blank or membership entry: answers no command.
    Internal,
    /// An earlier champion is back.
    RolledBack {
        /// What went into the history.
        promotion: Promotion,
        /// Number of the champion that was left, and of the one that is back.
        versions: (u64, u64),
        /// Every online node holds the model already.
        distributed: bool,
    },
    /// The event behind the command counts as heard, and asks for nothing that is not so already.
    Noted,
}

/// A champion that every online node holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distributed {
    /// Configuration.
    pub config_key: String,
    /// Its champion.
    pub model: ModelId,
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// Too long, not a number, or otherwise senseless.
    #[error("invalid {0}")]
    Invalid(String),
    /// A collection is at its bound.
    #[error("no room for more {0}")]
    Full(String),
    /// No such node.
    #[error("node {0} is not registered")]
    UnknownNode(NodeId),
    /// No such configuration.
    #[error("configuration {0} is not initialised")]
    UnknownConfig(String),
    /// No such model.
    #[error("model {0} is unknown")]
    UnknownModel(ModelId),
    /// No such segment.
    #[error("segment {0} is unknown")]
    UnknownSegment(SegmentId),
    /// News of an earlier start of a process.
    #[error("observed start {observed:x} of the node, which now runs start {current:x}")]
    StaleBoot {
        /// The registered start.
        current: u64,
        /// The one in the command.
        observed: u64,
    },
    /// A leader of an earlier term.
    #[error("term {term} is over: term {current} has a leader")]
    StaleTerm {
        /// Latest term known.
        current: u64,
        /// The one in the command.
        term: u64,
    },
    /// The configuration started from another network.
    #[error("configuration was initialised with {0}")]
    ConfigExists(ModelId),
    /// Too few nodes have it.
    #[error("{have} online nodes hold it, {need} are needed")]
    TooFewHolders {
        /// Online holders.
        have: u64,
        /// Required.
        need: u64,
    },
    /// The crossing is not the next one.
    #[error("crossing {given}, expected {expected}")]
    WrongCrossing {
        /// The next.
        expected: u64,
        /// The one in the command.
        given: u64,
    },
    /// Fewer games than the threshold.
    #[error("{games} games, threshold {threshold}")]
    BelowThreshold {
        /// Games since the last crossing.
        games: u64,
        /// Games needed.
        threshold: u64,
    },
    /// Every crossing has been trained on.
    #[error("no threshold was crossed since the last training")]
    NothingToTrain,
    /// Somebody has the lease.
    #[error("node {node} holds the {kind} lease, epoch {epoch}")]
    LeaseHeld {
        /// Kind of work.
        kind: LeaseKind,
        /// Holder.
        node: NodeId,
        /// Its epoch.
        epoch: u64,
    },
    /// The lease ended or moved on.
    #[error("epoch {epoch} of the lease is over (last epoch {current})")]
    StaleEpoch {
        /// Last epoch granted.
        current: u64,
        /// The one in the command.
        epoch: u64,
    },
    /// The lease is another node's.
    #[error("the lease is held by node {0}")]
    NotHolder(NodeId),
    /// The holder gave a sign of life since.
    #[error("the lease was renewed at {renewed_ms}")]
    RenewedSince {
        /// Last renewal.
        renewed_ms: u64,
    },
    /// Another model was leased for evaluation, or none was named.
    #[error("the subject is not the leased candidate")]
    WrongSubject,
    /// The model is no candidate of the configuration (any more).
    #[error("model {0} is no candidate")]
    NotCandidate(ModelId),
    /// A model of that hash exists with other data.
    #[error("model {0} exists already")]
    ModelExists(ModelId),
    /// Another champion than expected.
    #[error("the champion is {0}")]
    ChampionMoved(ModelId),
    /// No evaluation, or one against another champion.
    #[error("no evidence against the current champion")]
    NoEvidence,
    /// Too few games.
    #[error("evidence of {games} games, {need} are needed")]
    ShortEvidence {
        /// Games played.
        games: u32,
        /// Games needed.
        need: u32,
    },
    /// A baseline was not beaten.
    #[error("the gauntlet was not passed")]
    GauntletFailed,
    /// The sequential test did not accept.
    #[error("the sequential test did not accept")]
    NotAccepted,
    /// The gain is too small.
    #[error("elo gain {delta} is below {min}")]
    EloTooLow {
        /// Measured.
        delta: f64,
        /// Required.
        min: f64,
    },
    /// The seeded network has nothing before it.
    #[error("there is no champion before the present one")]
    NothingBefore,
    /// The node hands on what it has.
    #[error("node {0} is draining")]
    Draining(NodeId),
}
