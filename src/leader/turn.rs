//! One turn of the leader: every decider is asked, in a fixed order, what to propose.
//!
//! Invariant: a node that leads decides nothing before its own announcement was applied: only then is its
//! state not older than its leadership. No clock, no I/O: the same state, view and times give the same
//! commands.

use super::{
    curriculum, data_pipeline,
    evaluation::EvaluationDecider,
    feedback,
    feedback_loop::FeedbackLoopDecider,
    node_monitor::{LeaseAges, NodeMonitorDecider},
    promotion::PromotionDecider,
    queue::QueueDecider,
    regression::{self, RegressionDecider},
    roles, scheduler,
    training::TrainingDecider,
};
use crate::{api::health::ClusterView, learner::settings::EvaluationConfig};
use cluster_state::{ClusterState, Command, NodeId};
use std::time::{Duration, Instant};

/// The settings that deciders go by.
#[derive(Clone, Debug)]
pub struct LeaderSettings {
    /// Of evaluation and promotion.
    pub evaluation: EvaluationConfig,
    /// Simulations of a fully searched decision in self-play.
    pub simulations: u32,
    /// How long leases may be held.
    pub ages: LeaseAges,
}

/// What a turn looks at besides the replicated state.
pub struct Turn<'a> {
    /// This node, which leads as far as Raft says.
    pub me: NodeId,
    /// The term that it leads.
    pub term: u64,
    /// The cluster as this node sees it.
    pub view: &'a ClusterView,
    /// Whether this node is connected to the peer of this id.
    pub connected: &'a dyn Fn(&str) -> bool,
    /// The clock that durations are measured by.
    pub now: Instant,
    /// The clock that commands carry, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// What the deciders remember.
#[derive(Debug, Default)]
pub struct Deciders {
    monitor: NodeMonitorDecider,
    training: TrainingDecider,
    evaluation: EvaluationDecider,
    feedback_loop: FeedbackLoopDecider,
    promotion: PromotionDecider,
    queue: QueueDecider,
    watching: RegressionDecider,
}

impl Deciders {
    /// What this node proposes in this turn.
    pub fn decide(
        &mut self,
        state: &ClusterState,
        turn: &Turn<'_>,
        settings: &LeaderSettings,
    ) -> Vec<Command> {
        let &Turn { me, term, view, connected, now, at_ms } = turn;
        let announcement = roles::decide(state, me, term, at_ms);
        if !announcement.is_empty() || state.leader.as_ref().is_none_or(|leader| leader.node != me) {
            return announcement;
        }
        let mut commands = self.monitor.decide(state, view, me, connected, now, at_ms);
        commands.extend(self.monitor.overdue(state, &settings.ages, now, at_ms));
        // Who is said to be offline gets no work.
        let reachable = view.through(state);
        let evaluation = &settings.evaluation;
        commands.extend(data_pipeline::decide(state, at_ms));
        commands.extend(self.promotion.decide(state, evaluation, at_ms));
        commands.extend(self.feedback_loop.decide(state, evaluation, at_ms));
        commands.extend(self.training.decide(&reachable, view, at_ms));
        commands.extend(self.evaluation.decide(&reachable, evaluation, at_ms));
        commands.extend(feedback::decide(state, at_ms));
        commands.extend(curriculum::decide(state, at_ms));
        commands.extend(regression::decide(state, at_ms));
        let every = Duration::from_secs(evaluation.watch_seconds);
        commands.extend(self.watching.decide(&reachable, every, at_ms));
        commands.extend(scheduler::decide(state, settings.simulations, at_ms));
        self.queue.arrange(state, commands, at_ms)
    }
}

/// The deciders of one term after the other. What an earlier leadership remembered is old, so each term
/// begins with fresh ones, and where this node does not lead there are none.
#[derive(Debug, Default)]
pub struct Leadership(Option<(u64, Deciders)>);

impl Leadership {
    /// The deciders of this term.
    pub fn deciders(&mut self, leads: bool, term: u64) -> Option<&mut Deciders> {
        if !leads || self.0.as_ref().is_some_and(|(of, _)| *of != term) {
            self.0 = None;
        }
        leads.then(|| &mut self.0.get_or_insert_with(|| (term, Deciders::default())).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;

    #[test]
    fn a_new_leader_decides_afresh_and_an_old_one_no_more() {
        let mut leadership = Leadership::default();
        let fresh = format!("{:?}", Deciders::default());
        let mut world = World::with_nodes(2);
        world.play(500);
        world.cross();
        world.grant(cluster_state::LeaseKind::Training, 2, None);
        // Remembers a lease and a host that is contradicted.
        let decide = |deciders: &mut Deciders| {
            deciders.monitor.decide(
                &world.state,
                &ClusterView::default(),
                NodeId(1),
                |_| false,
                Instant::now(),
                0,
            );
            format!("{deciders:?}")
        };
        assert!(leadership.deciders(false, 3).is_none());
        let remembers = decide(leadership.deciders(true, 4).unwrap());
        assert_ne!(remembers, fresh);
        assert_eq!(format!("{:?}", leadership.deciders(true, 4).unwrap()), remembers, "the same leadership");
        assert_eq!(format!("{:?}", leadership.deciders(true, 5).unwrap()), fresh, "elected again");
        decide(leadership.deciders(true, 5).unwrap());
        assert!(leadership.deciders(false, 6).is_none(), "another leads");
        assert_eq!(
            format!("{leadership:?}"),
            format!("{:?}", Leadership::default()),
            "nothing of it is left"
        );
        assert_eq!(format!("{:?}", leadership.deciders(true, 7).unwrap()), fresh);
    }
}
