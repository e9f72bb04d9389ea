//! The answer to an applied command. Every replica computes the same answer.

use crate::{
    admission::{NotAdmitted, TicketId},
    config::Promotion,
    id::{ModelId, NodeId, SegmentId},
    key::ConfigKey,
    lease::{Lease, LeaseKind},
};
use serde::{Deserialize, Serialize};

/// The outcome of an applied command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// The command took effect, and there is nothing more to report.
    Done,
    /// The state was already like this: the command was a repetition or brought no news.
    Unchanged,
    /// The node's id, and whether this registration brought it online.
    Node {
        /// Id of the node.
        id: NodeId,
        /// True if the node was unknown or offline before, or if this is another start of its process.
        came_online: bool,
    },
    /// `SetOnline` changed something.
    Online {
        /// Champions that every online node holds from now on; each is announced once.
        distributed: Vec<Distributed>,
    },
    /// The segment was accepted.
    Segment {
        /// Number of self-play games of the configuration so far.
        games_total: u64,
        /// Number of self-play games since the last crossing of the threshold.
        games_since_training: u64,
    },
    /// The segment is known already.
    Duplicate,
    /// The lease was granted or renewed.
    Lease(Lease),
    /// The champion changed.
    Promoted {
        /// The entry that was added to the history.
        promotion: Promotion,
        /// Whether every online node holds the model already.
        distributed: bool,
    },
    /// The holder of a model was recorded.
    Held {
        /// Whether every online node now holds the present champion; it is reported once per champion.
        distributed: bool,
    },
    /// The command was refused and nothing changed.
    Refused(Refusal),
    /// The entry is blank or changes the membership, so it answers no command.
    Internal,
    /// An earlier champion is champion again.
    RolledBack {
        /// The entry that was added to the history.
        promotion: Promotion,
        /// Number of the champion that was replaced, and number of the one that came back.
        versions: (u64, u64),
        /// Whether every online node holds the model already.
        distributed: bool,
    },
    /// The event behind the command is recorded, and it asks for nothing that is not already so.
    Noted,
    /// A member was removed.
    Removed {
        /// Champions that every online node holds from now on; each is announced once.
        distributed: Vec<Distributed>,
    },
}

/// A champion that every online node holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distributed {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// The champion of that configuration.
    pub model: ModelId,
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// A part is too long, not a number, or otherwise invalid.
    #[error("invalid {0}")]
    Invalid(String),
    /// A collection has reached its bound.
    #[error("no room for more {0}")]
    Full(String),
    /// The cluster has no such node.
    #[error("node {0} is not registered")]
    UnknownNode(NodeId),
    /// The cluster has no such configuration.
    #[error("configuration {0} is not initialised")]
    UnknownConfig(ConfigKey),
    /// The cluster has no such model.
    #[error("model {0} is unknown")]
    UnknownModel(ModelId),
    /// The cluster has no such segment.
    #[error("segment {0} is unknown")]
    UnknownSegment(SegmentId),
    /// The report is about an earlier start of a process.
    #[error("observed start {observed:x} of the node, which now runs start {current:x}")]
    StaleBoot {
        /// Number of the registered start.
        current: u64,
        /// Number of the start in the command.
        observed: u64,
    },
    /// The leader is of an earlier term.
    #[error("term {term} is over: term {current} has a leader")]
    StaleTerm {
        /// Latest term that the cluster knows.
        current: u64,
        /// Term in the command.
        term: u64,
    },
    /// The configuration started from another network, which is this one.
    #[error("configuration was initialised with {0}")]
    ConfigExists(ModelId),
    /// Too few nodes hold the content.
    #[error("{have} online nodes hold it, {need} are needed")]
    TooFewHolders {
        /// Number of online holders.
        have: u64,
        /// Number of online holders that are required.
        need: u64,
    },
    /// The crossing is not the next one.
    #[error("crossing {given}, expected {expected}")]
    WrongCrossing {
        /// Number of the next crossing.
        expected: u64,
        /// Number in the command.
        given: u64,
    },
    /// There are fewer games than the threshold.
    #[error("{games} games, threshold {threshold}")]
    BelowThreshold {
        /// Number of games since the last crossing.
        games: u64,
        /// Number of games that are needed.
        threshold: u64,
    },
    /// Every crossing was trained on already.
    #[error("no threshold was crossed since the last training")]
    NothingToTrain,
    /// Another lease is in force.
    #[error("node {node} holds the {kind} lease, epoch {epoch}")]
    LeaseHeld {
        /// Whether the work is a training or an evaluation.
        kind: LeaseKind,
        /// Id of the node that holds it.
        node: NodeId,
        /// Epoch of that lease.
        epoch: u64,
    },
    /// The lease ended, or a later one was granted.
    #[error("epoch {epoch} of the lease is over (last epoch {current})")]
    StaleEpoch {
        /// The last epoch that was granted.
        current: u64,
        /// Epoch in the command.
        epoch: u64,
    },
    /// The lease belongs to another node.
    #[error("the lease is held by node {0}")]
    NotHolder(NodeId),
    /// The holder has renewed the lease since.
    #[error("the lease was renewed at {renewed_ms}")]
    RenewedSince {
        /// When the holder last renewed it, in milliseconds since the epoch.
        renewed_ms: u64,
    },
    /// The evaluation lease is for another model, or the command named none.
    #[error("the subject is not the leased candidate")]
    WrongSubject,
    /// The model is not a candidate of the configuration (any more).
    #[error("model {0} is no candidate")]
    NotCandidate(ModelId),
    /// A model with that hash exists with other data.
    #[error("model {0} exists already")]
    ModelExists(ModelId),
    /// The champion is another than the command expects.
    #[error("the champion is {0}")]
    ChampionMoved(ModelId),
    /// There is no evaluation, or only one against another champion.
    #[error("no evidence against the current champion")]
    NoEvidence,
    /// The evidence has too few games.
    #[error("evidence of {games} games, {need} are needed")]
    ShortEvidence {
        /// Number of games that were played.
        games: u32,
        /// Number of games that are needed.
        need: u32,
    },
    /// The candidate did not beat every baseline.
    #[error("the gauntlet was not passed")]
    GauntletFailed,
    /// The sequential test did not accept the candidate.
    #[error("the sequential test did not accept")]
    NotAccepted,
    /// The gain is too small.
    #[error("elo gain {delta} is below {min}")]
    EloTooLow {
        /// Measured gain in Elo points.
        delta: f64,
        /// Required gain in Elo points.
        min: f64,
    },
    /// There is no champion before the seeded network.
    #[error("there is no champion before the present one")]
    NothingBefore,
    /// The node drains: it gets no more work.
    #[error("node {0} is draining")]
    Draining(NodeId),
    /// The proposer may not propose the command; the text says who may.
    #[error("only {0} may propose this")]
    NotAllowed(String),
    /// The peer does not become a member.
    #[error("{0}")]
    NotAdmitted(NotAdmitted),
    /// The cluster has no such ticket.
    #[error("ticket {0} is unknown: `ringrift cluster ticket list` shows those that there are")]
    UnknownTicket(TicketId),
    /// The node is the only one.
    #[error("node {0} is the only node of the cluster, which would end with it")]
    LastNode(NodeId),
    /// The cluster cannot do without the node at present.
    #[error("node {0} cannot be removed now: {1}")]
    StillNeeded(NodeId, String),
    /// The node did not sign what the command says of the segment.
    #[error("node {0} gave no receipt for this segment")]
    NoReceipt(NodeId),
    /// A segment with that hash is registered with other data.
    #[error("segment {0} is registered with other data")]
    SegmentExists(SegmentId),
    /// The node has forged games: its games do not count, and it gets no more work.
    #[error("node {0} is distrusted, because it forged a game")]
    Distrusted(NodeId),
    /// The segment holds no games of this evaluation, or it is named twice.
    #[error("segment {0} holds no games of this evaluation")]
    NoEvidenceIn(SegmentId),
    /// The segments hold another number of games than the evidence counts.
    #[error("the segments hold {held} games, and the evidence counts {counted}")]
    OtherGames {
        /// Number of games in the segments.
        held: u64,
        /// Number of games that the evidence counts.
        counted: u64,
    },
    /// The node trained the model or evaluated it.
    #[error("node {0} had a part in the model or its evaluation")]
    NotIndependent(NodeId),
    /// Too few nodes have counted the games of the evidence again and come to the same.
    #[error("{confirmed} verifiers confirm the evidence and {denied} deny it, {need} are needed")]
    Unconfirmed {
        /// Number of verifiers that counted the same.
        confirmed: u64,
        /// Number of verifiers that counted otherwise.
        denied: u64,
        /// Number of confirmations that are needed.
        need: u64,
    },
    /// The node holds no lease of an evaluation of this model.
    #[error("no evaluation asks node {0} for these games")]
    NotAsked(NodeId),
    /// There is nothing to pardon.
    #[error("node {0} is neither distrusted nor shunned")]
    NothingToPardon(NodeId),
}
