//! The one table of events: what each is called and carries, who emits it, and who handles it with what
//! effect.
//!
//! Invariant: an event without a line for its handlers does not compile; the line may say that there are
//! none. The order is the encoding, so a new event goes to the end. `ringrift events --map` prints this
//! table, and a test compares docs/event-flow.md with it.

use super::{
    component::{Component, HandlerEntry, HandlingMode},
    declare::events,
    payload::*,
};
use serde::{Deserialize, Serialize};

const MERGE: &str = "merges the segment into the canonical database, if this node holds it";
const COPY: &str = "looks for segments that lack copies";
const LEASES: &str = "the leader grants what training is due";
const EVALUATE: &str = "the leader grants what evaluation is due";
const FETCH: &str = "fetches and verifies the models that belong here";
const COUNT: &str = "the leader counts the games and says when a threshold is crossed";
const SIGNALS: &str = "the leader weighs anew what to ask of training and self-play";
const BUSY: &str = "the host is not idle";
const WORK: &str = "the leader looks at what work waits";
const SCORE: &str = "moves the health score";
const PAUSES: &str = "no new training while it lasts";
const TARGETS: &str = "the leader sets what self-play is to do";
const WEIGHTS: &str = "the leader sets the configuration's share of self-play";
const VIEW: &str = "updates the view of the cluster";

events! {
    /// A runner closed a batch of games.
    SelfplayComplete(Games) = "SELFPLAY_COMPLETE" {
        emitters [Selfplay]
        handlers [
            Consolidation: Own MERGE,
            Feedback: LeadersTurn SIGNALS,
            IdleShutdown: Own BUSY,
            Sync: Own "has the segments of this node acknowledged",
        ]
    }
    /// A segment of games is acknowledged: durable on enough nodes and registered.
    NewGamesAvailable(Games) = "NEW_GAMES_AVAILABLE" {
        emitters [Selfplay]
        handlers [
            Consolidation: Own MERGE,
            DataPipeline: LeadersTurn COUNT,
            Queue: LeadersTurn WORK,
            Replication: Own COPY,
            Training: LeadersTurn LEASES,
        ]
    }
    /// Enough new games for a training run.
    TrainingThresholdReached(TrainingThresholdReached) = "TRAINING_THRESHOLD_REACHED" {
        emitters [DataPipeline]
        handlers [
            Training: LeadersTurn LEASES,
        ]
    }
    /// A node holds the lease and trains.
    TrainingStarted(TrainingStarted) = "TRAINING_STARTED" {
        emitters [Training]
        handlers [
            Feedback: LeadersTurn SIGNALS,
            IdleShutdown: Own BUSY,
        ]
    }
    /// Some epochs are done.
    TrainingProgress(TrainingProgress) = "TRAINING_PROGRESS" {
        emitters [Training]
        handlers [
            Distribution: Own "fetches ahead what the coming candidate needs, from 80 % on",
        ]
    }
    /// A candidate exists.
    TrainingCompleted(TrainingCompleted) = "TRAINING_COMPLETED" {
        emitters [Training]
        handlers [
            DataPipeline: LeadersTurn COUNT,
            Distribution: Own FETCH,
            Feedback: LeadersTurn SIGNALS,
            FeedbackLoop: LeadersTurn "the leader has the candidate evaluated",
            Queue: LeadersTurn WORK,
        ]
    }
    /// A node holds the lease and plays the candidate's games.
    EvaluationStarted(EvaluationStarted) = "EVALUATION_STARTED" {
        emitters [Evaluation, FeedbackLoop, Regression]
        handlers [
            Sync: Own "has games that wait here acknowledged, before the verdict counts them",
        ]
    }
    /// The verdict on a candidate.
    EvaluationCompleted(EvaluationCompleted) = "EVALUATION_COMPLETED" {
        emitters [Evaluation, Gauntlet]
        handlers [
            AutoPromotion: LeadersTurn "the leader judges the evidence",
            Curriculum: LeadersTurn WEIGHTS,
            Feedback: LeadersTurn SIGNALS,
            FeedbackLoop: LeadersTurn "the leader closes the loop, or evaluates once more",
        ]
    }
    /// There is a new champion.
    ModelPromoted(ModelPromoted) = "MODEL_PROMOTED" {
        emitters [AutoPromotion, Promotion]
        handlers [
            Cache: Own "drops loaded models that play no more",
            Curriculum: LeadersTurn WEIGHTS,
            Distribution: Own FETCH,
            Feedback: LeadersTurn SIGNALS,
            Scheduler: LeadersTurn TARGETS,
        ]
    }
    /// Every live node holds and has verified the champion.
    ModelDistributionComplete(ModelDistributionComplete) = "MODEL_DISTRIBUTION_COMPLETE" {
        emitters [Distribution]
        handlers []
    }
    /// A node can be reached again.
    HostOnline(HostOnline) = "HOST_ONLINE" {
        emitters [NodeMonitor]
        handlers [
            Health: Own "the host counts as online",
            Replication: Own COPY,
            Watchdog: Own VIEW,
        ]
    }
    /// A node cannot be reached.
    HostOffline(HostOffline) = "HOST_OFFLINE" {
        emitters [NodeMonitor]
        handlers [
            Health: Own "the host counts as offline",
            NodeMonitor: LeadersTurn "the leader takes away the host's leases",
            Replication: Own COPY,
            Roles: LeadersTurn "the leader gives the host's work to others",
            Watchdog: Own VIEW,
        ]
    }
    /// A new Raft leader made its first entry.
    LeaderElected(LeaderElected) = "LEADER_ELECTED" {
        emitters [Roles]
        handlers [
            Roles: LeadersTurn "the leader's daemons take their turn at once",
        ]
    }
    /// A training run ended without a candidate.
    TrainingFailed(TrainingFailed) = "TRAINING_FAILED" {
        emitters [Training]
        handlers [
            Training: LeadersTurn LEASES,
        ]
    }
    /// An evaluation ended without a verdict.
    EvaluationFailed(EvaluationFailed) = "EVALUATION_FAILED" {
        emitters [Evaluation, Gauntlet]
        handlers [
            Evaluation: LeadersTurn EVALUATE,
        ]
    }
    /// More candidates wait than evaluation can take.
    EvaluationBackpressure(EvaluationBackpressure) = "EVALUATION_BACKPRESSURE" {
        emitters [Evaluation]
        handlers [
            DataPipeline: LeadersTurn "no thresholds are crossed while it lasts; counting goes on",
            Training: Proposes PAUSES,
        ]
    }
    /// Evaluation has caught up.
    EvaluationBackpressureReleased(EvaluationBackpressure) = "EVALUATION_BACKPRESSURE_RELEASED" {
        emitters [Evaluation]
        handlers [
            DataPipeline: LeadersTurn COUNT,
            Training: Proposes LEASES,
        ]
    }
    /// A candidate will not be promoted.
    PromotionRejected(PromotionRejected) = "PROMOTION_REJECTED" {
        emitters [AutoPromotion, Promotion]
        handlers [
            Feedback: LeadersTurn SIGNALS,
            Training: LeadersTurn LEASES,
        ]
    }
    /// An earlier champion is back.
    PromotionRolledBack(PromotionRolledBack) = "PROMOTION_ROLLED_BACK" {
        emitters [Training]
        handlers [
            Cache: Own "drops loaded models that play no more",
            Curriculum: LeadersTurn WEIGHTS,
            Distribution: Own FETCH,
            Training: LeadersTurn "the leader ends the pause once the champion has settled",
        ]
    }
    /// A model is on its way to every node.
    ModelDistributionStarted(ModelDistributionStarted) = "MODEL_DISTRIBUTION_STARTED" {
        emitters [Distribution]
        handlers []
    }
    /// A model did not reach every node.
    ModelDistributionFailed(ModelDistributionFailed) = "MODEL_DISTRIBUTION_FAILED" {
        emitters [Distribution]
        handlers [
            Health: Own "raises an alert",
        ]
    }
    /// The champion plays somewhat worse than it did.
    RegressionDetected(ChampionRegression) = "REGRESSION_DETECTED" {
        emitters [Regression]
        handlers [
            Feedback: LeadersTurn SIGNALS,
            Health: Own SCORE,
            Training: Proposes "the leader reduces the learning rate",
        ]
    }
    /// The champion plays much worse than it did.
    RegressionCritical(ChampionRegression) = "REGRESSION_CRITICAL" {
        emitters [Regression]
        handlers [
            Curriculum: LeadersTurn "the leader cuts the configuration's share at once",
            Health: Own "moves the health score and raises an alert",
            Supervisor: Own "restarts what trains or evaluates the configuration here",
            Training: Proposes "stops the running job at once, and starts none",
        ]
    }
    /// The champion plays as it did again.
    RegressionCleared(ChampionRegression) = "REGRESSION_CLEARED" {
        emitters [Regression]
        handlers [
            Curriculum: LeadersTurn WEIGHTS,
            Health: Own SCORE,
            Training: Proposes LEASES,
        ]
    }
    /// Training shall go back to an earlier checkpoint.
    TrainingRollbackNeeded(TrainingRollbackNeeded) = "TRAINING_ROLLBACK_NEEDED" {
        emitters [Regression]
        handlers [
            Training: Proposes "the leader brings the champion before back, once",
        ]
    }
    /// The weights of the configurations change at once.
    CurriculumEmergencyUpdate(CurriculumEmergencyUpdate) = "CURRICULUM_EMERGENCY_UPDATE" {
        emitters [Curriculum]
        handlers [
            Scheduler: LeadersTurn TARGETS,
        ]
    }
    /// Enough members can be reached again.
    P2pClusterHealthy(ClusterHealth) = "P2P_CLUSTER_HEALTHY" {
        emitters [Health]
        handlers [
            Autoscaler: Own "recommends again",
            Health: Own "an operator's word to the contrary ends",
            Scheduler: LeadersTurn "self-play here goes at full speed",
            Training: LeadersTurn LEASES,
        ]
    }
    /// A majority of the members cannot be reached.
    P2pClusterUnhealthy(ClusterHealth) = "P2P_CLUSTER_UNHEALTHY" {
        emitters [Health]
        handlers [
            Autoscaler: Own "recommends nothing while it lasts",
            Health: Own "takes an operator's word for it, for a while",
            Scheduler: LeadersTurn "self-play here slows down",
            Training: LeadersTurn PAUSES,
        ]
    }
    /// Games arrived on a node.
    DataSyncCompleted(DataSync) = "DATA_SYNC_COMPLETED" {
        emitters [Replication]
        handlers [
            Replication: Own COPY,
        ]
    }
    /// Games did not arrive on a node.
    DataSyncFailed(DataSyncFailed) = "DATA_SYNC_FAILED" {
        emitters [Replication]
        handlers [
            Sync: Own "tries again, later each time",
        ]
    }
    /// Work waits for a node.
    WorkQueued(Work) = "WORK_QUEUED" {
        emitters [Queue]
        handlers [
            Queue: LeadersTurn WORK,
        ]
    }
    /// A node holds the lease.
    WorkClaimed(Work) = "WORK_CLAIMED" {
        emitters [Evaluation, Training]
        handlers [
            IdleShutdown: Own BUSY,
        ]
    }
    /// The lease ended well.
    WorkCompleted(Work) = "WORK_COMPLETED" {
        emitters [Evaluation, Training]
        handlers [
            Queue: LeadersTurn WORK,
        ]
    }
    /// The holder gave up.
    WorkFailed(Work) = "WORK_FAILED" {
        emitters [Evaluation, Training]
        handlers [
            Queue: LeadersTurn WORK,
        ]
    }
    /// The lease was taken from a silent holder.
    WorkTimeout(Work) = "WORK_TIMEOUT" {
        emitters [NodeMonitor]
        handlers [
            Roles: LeadersTurn "the leader gives the work to others",
        ]
    }
    /// The work is wanted no more.
    WorkCancelled(Work) = "WORK_CANCELLED" {
        emitters [Evaluation, Training]
        handlers [
            Queue: LeadersTurn WORK,
        ]
    }
    /// Enough nodes have found that a node forged a game.
    ForgeryFound(ForgeryFound) = "FORGERY_FOUND" {
        emitters [Audit]
        handlers [
            Training: LeadersTurn "the leader gives the node no more work",
        ]
    }
}
