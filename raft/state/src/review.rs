//! Reviews: other nodes count the games of an evaluation again before they can make a model champion, reject
//! it, or show that a champion is worse than the one before it.
//!
//! Invariant: a node reviews neither a model that it trained nor an evaluation of its own, and it answers
//! once for each evaluation. Those who count otherwise block what would follow until more confirm it than
//! deny it, so neither one liar that confirms nor one that denies decides alone.

use crate::{
    config::ConfigState, evidence::Tallies, id::NodeId, model::Model, state::ClusterState, steering::Watch,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Number of verifiers that evidence needs where the cluster has as many.
pub const VERIFIERS: u64 = 2;
/// Maximum number of answers that are kept about one evaluation.
pub const CHECKS_MAX: usize = 16;

/// What a verifier found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// It counted the same.
    Confirmed,
    /// It counted otherwise.
    Denied {
        /// What it counted; none if the segments do not hold whole sets of games between these players.
        counted: Option<Tallies>,
    },
}

/// The latest evaluation of a model, and what others found who counted its games again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Id of the node that evaluated the model.
    pub evaluated_by: NodeId,
    /// Epoch of the evaluation.
    pub epoch: u64,
    /// Id of the lease, from which the seeds of the games follow.
    pub lease: u64,
    /// Number of evaluations that the model has had.
    pub rounds: u32,
    /// The answer of each verifier.
    pub checks: BTreeMap<NodeId, Check>,
}

/// How many verifiers agree with an evaluation, and how many it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReviewStanding {
    /// Number of verifiers that counted the same.
    pub confirmed: u64,
    /// Number of verifiers that counted otherwise.
    pub denied: u64,
    /// Number of confirmations that are needed.
    pub need: u64,
    /// Number of online nodes that may still answer.
    pub open: u64,
}

impl ReviewStanding {
    /// Whether the evidence is confirmed.
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        self.confirmed >= self.need && (self.denied == 0 || self.confirmed > self.denied)
    }
}

impl Model {
    /// Whether a node had no part in the model and in this evaluation of it.
    #[must_use]
    pub fn is_independent(&self, review: Option<&Review>, node: NodeId) -> bool {
        self.trained_by != Some(node) && review.is_none_or(|review| review.evaluated_by != node)
    }
}

impl ClusterState {
    /// The nodes that may be asked to review this evaluation of `model`: those that are online, stay, are
    /// trusted, and had no part in it.
    pub fn verifiers<'a>(
        &'a self,
        model: &'a Model,
        review: Option<&'a Review>,
    ) -> impl Iterator<Item = NodeId> {
        let stays = self.online().filter(|node| node.draining.is_none() && self.is_trusted(node.id));
        stays.map(|node| node.id).filter(move |node| model.is_independent(review, *node))
    }

    /// How the review of this evaluation of `model` stands. It needs [`VERIFIERS`], or as many as there are:
    /// none in a cluster of a trainer and an evaluator.
    #[must_use]
    pub fn review_standing(&self, model: &Model, review: Option<&Review>) -> ReviewStanding {
        let none = BTreeMap::new();
        let checks = review.map_or(&none, |review| &review.checks);
        let (mut confirmed, mut denied) = (0, 0);
        for (_, check) in checks.iter().filter(|(node, _)| self.is_trusted(**node)) {
            match check {
                Check::Confirmed => confirmed += 1,
                Check::Denied { .. } => denied += 1,
            }
        }
        let need = (self.verifiers(model, review).count() as u64).min(VERIFIERS);
        let open = self.verifiers(model, review).filter(|node| !checks.contains_key(node)).count() as u64;
        ReviewStanding { confirmed, denied, need, open }
    }

    /// How the review of the latest round of a configuration's champion stands; none before the first.
    #[must_use]
    pub fn round_standing(&self, config: &ConfigState) -> Option<ReviewStanding> {
        let round = config.steering.round.as_ref()?;
        let champion = self.models.get(&config.champion)?;
        Some(self.review_standing(champion, Some(&round.review)))
    }

    /// The games of a configuration's champion against the one before it that count: those of the latest
    /// round are among them if others have confirmed it.
    #[must_use]
    pub fn watched(&self, config: &ConfigState) -> Option<Watch> {
        let before = config.steering.watch;
        let standing = self.round_standing(config);
        let round = config.steering.round.as_ref().filter(|_| standing.is_some_and(|it| it.is_confirmed()));
        round.map_or(before, |round| Some(round.added_to(before)))
    }
}
