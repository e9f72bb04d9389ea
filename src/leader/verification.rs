//! Whether the evidence about a candidate, or the latest round of a champion that is watched, is confirmed by
//! nodes that had no part in it, and which nodes are asked.
//!
//! Invariant: who is asked follows from the replicated state and how long the evidence has been there, so a
//! node that starts again goes on. That verifiers are slow says nothing of the evidence: it waits for them,
//! and others are asked, ever more. Only what was counted otherwise, or what nobody has counted for hours, is
//! evaluated again, a bounded number of times, and then rejected. While a candidate waits, no other of its
//! configuration is trained ([`super::training`]), so that few of them are under review.

use super::placement::rendezvous;
use cluster_state::{
    ClusterState, ConfigKey, ConfigState, Evidence, Model, ModelId, NodeId, Review, ReviewStanding,
    SegmentId, Terms,
};
use std::{collections::BTreeMap, time::Duration};

/// Hours after which evidence that too few have counted counts as contested, so that nothing waits for ever.
/// A verifier replays some hundred games, which takes seconds, but has to fetch them first: over a slow line
/// in several attempts of two minutes, each of which goes on where the one before it ended.
const PATIENCE_HOURS: u64 = 2;
/// After this time twice as many nodes are asked, because those that were asked first are silent; after twice
/// this time again twice as many, and so on.
const ASK_MORE: Duration = Duration::from_secs(10);
/// Number of nodes that are asked for each confirmation that is needed: one may be slow.
const ASKED_FOR_ONE: u64 = 2;
/// Number of evaluations of one candidate that may stay without confirmation.
pub const ROUNDS_MAX: u32 = 3;

/// What became of evidence that needs verifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// It is confirmed.
    Yes,
    /// Verifiers are at work, as this says.
    Waits(String),
    /// It is not confirmed, and nobody is left to do it.
    Contested(String),
}

/// Since when the evidence about each model has been there, by this node's clock.
#[derive(Debug, Default)]
pub struct Verification(BTreeMap<ModelId, (u64, u64)>);

impl Verification {
    /// How long this evidence about a model has been there, in milliseconds.
    fn age_ms(&mut self, state: &ClusterState, model: &Model, review: Option<&Review>, at_ms: u64) -> u64 {
        let open = |hash: &ModelId| {
            let of = |config: &ConfigState| config.champion == *hash || config.candidates.contains(hash);
            state.configs.values().any(|config| of(config))
        };
        self.0.retain(|hash, _| open(hash));
        let epoch = review.map_or(0, |review| review.epoch);
        let seen = self.0.entry(model.info.hash).or_insert((epoch, at_ms));
        // A clock that was set back begins anew.
        if seen.0 != epoch || seen.1 > at_ms {
            *seen = (epoch, at_ms);
        }
        at_ms - seen.1
    }

    /// Whether the evidence about a candidate is confirmed.
    pub fn verdict(&mut self, state: &ClusterState, model: &Model, at_ms: u64) -> Verified {
        self.judge(state, model, model.review.as_ref(), at_ms)
    }

    /// Whether the latest round of a champion that is watched is confirmed; yes before the first.
    pub fn round(&mut self, state: &ClusterState, config: &ConfigState, at_ms: u64) -> Verified {
        let champion = state.models.get(&config.champion);
        champion
            .zip(config.steering.round.as_ref())
            .map_or(Verified::Yes, |(model, round)| self.judge(state, model, Some(&round.review), at_ms))
    }

    fn judge(
        &mut self,
        state: &ClusterState,
        model: &Model,
        review: Option<&Review>,
        at_ms: u64,
    ) -> Verified {
        let age_ms = self.age_ms(state, model, review, at_ms);
        let standing = state.review_standing(model, review);
        if standing.is_confirmed() {
            Verified::Yes
        } else if standing.open == 0 || age_ms >= PATIENCE_HOURS * 3_600_000 {
            Verified::Contested(contested(&standing))
        } else {
            Verified::Waits(waits_for(&standing))
        }
    }

    /// Whether a candidate is to be evaluated again, because nobody confirms what an evaluation found.
    pub fn asks_for_another(
        &mut self,
        state: &ClusterState,
        config: &ConfigState,
        model: &Model,
        at_ms: u64,
    ) -> bool {
        let current = model.evidence.as_ref().is_some_and(|evidence| evidence.champion == config.champion);
        let rounds = model.review.as_ref().map_or(0, |review| review.rounds);
        current && rounds < ROUNDS_MAX && {
            match self.verdict(state, model, at_ms) {
                Verified::Contested(_) => true,
                Verified::Yes | Verified::Waits(_) => false,
            }
        }
    }

    /// What node `me` is asked to count again.
    pub fn due(&mut self, state: &ClusterState, me: NodeId, at_ms: u64) -> Vec<EvidenceToCount> {
        let mut due = Vec::new();
        for config in state.configs.values() {
            for (model, evidence, review) in open(state, config) {
                if self.is_asked(state, model, review, me, at_ms) {
                    due.push(EvidenceToCount {
                        config_key: config.config_key.clone(),
                        candidate: evidence.candidate,
                        champion: evidence.champion,
                        epoch: review.epoch,
                        lease: review.lease,
                        watched: evidence.candidate == config.champion,
                        terms: evidence.terms,
                        segments: evidence.segments.clone(),
                    });
                }
            }
        }
        due
    }

    /// Those who come first are asked first, and more for each that denied.
    fn is_asked(
        &mut self,
        state: &ClusterState,
        model: &Model,
        review: &Review,
        me: NodeId,
        at_ms: u64,
    ) -> bool {
        let age_ms = self.age_ms(state, model, Some(review), at_ms);
        let standing = state.review_standing(model, Some(review));
        let verifiers = || state.verifiers(model, Some(review));
        if review.checks.contains_key(&me) || standing.is_confirmed() || !verifiers().any(|node| node == me) {
            return false;
        }
        let place = |node: NodeId| (rendezvous(model.info.hash.as_ref(), node), node);
        let before = verifiers().filter(|node| place(*node) < place(me)).count() as u64;
        // 1 at first, 2 after one unit of time, 4 after 3, 8 after 7.
        let times = 1u64 << (age_ms / ASK_MORE.as_millis() as u64 + 1).ilog2();
        before < times.saturating_mul(ASKED_FOR_ONE * (standing.need + standing.denied))
    }
}

/// The evidence of a configuration on which something depends: that of its candidates against the present
/// champion, unless they are evaluated once more, and the latest round of the champion.
fn open<'a>(
    state: &'a ClusterState,
    config: &'a ConfigState,
) -> impl Iterator<Item = (&'a Model, &'a Evidence, &'a Review)> {
    let busy = config.evaluation.live.as_ref().and_then(|lease| lease.subject);
    let candidates = config.candidates.iter().filter_map(move |candidate| {
        let model = state.models.get(candidate).filter(|_| busy != Some(*candidate))?;
        let evidence = model.evidence.as_ref().filter(|evidence| evidence.champion == config.champion)?;
        Some((model, evidence, model.review.as_ref()?))
    });
    let round = config
        .steering
        .round
        .as_ref()
        .and_then(|round| Some((state.models.get(&config.champion)?, &round.evidence, &round.review)));
    candidates.chain(round)
}

/// Evidence that a node is asked to count again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceToCount {
    /// Key of the configuration.
    pub config_key: ConfigKey,
    /// The model that was evaluated: a candidate, or the champion that is watched.
    pub candidate: ModelId,
    /// The model that it was compared with.
    pub champion: ModelId,
    /// Epoch of the evaluation.
    pub epoch: u64,
    /// Id of its lease.
    pub lease: u64,
    /// Whether it was a round of a champion that is watched.
    pub watched: bool,
    /// What it was run by.
    pub terms: Terms,
    /// Segments that hold the games.
    pub segments: Vec<SegmentId>,
}

/// What evidence waits for, in words.
#[must_use]
pub fn waits_for(standing: &ReviewStanding) -> String {
    let missing = standing.need.max(standing.denied + u64::from(standing.denied > 0));
    let missing = missing.saturating_sub(standing.confirmed);
    let plural = if missing == 1 { "verifier" } else { "verifiers" };
    match standing.denied {
        0 => format!("{missing} {plural} to count its games, for {PATIENCE_HOURS} h at most"),
        denied => format!("{missing} {plural} to count its games: {denied} counted otherwise"),
    }
}

fn contested(standing: &ReviewStanding) -> String {
    let ReviewStanding { confirmed, denied, need, open: _ } = standing;
    format!(
        "its evidence is not confirmed: {confirmed} of {need} verifiers counted the same, {denied} otherwise"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{KEY, World, hash};
    use cluster_state::samples;

    /// Candidate `a`, which node 2 trained and node 3 evaluated.
    fn evaluated(nodes: u64) -> World {
        let mut world = World::with_nodes(nodes);
        world.train("a", 2);
        evaluate(&mut world, 3);
        world
    }

    fn evaluate(world: &mut World, node: u64) {
        let champion = world.state.config(KEY).unwrap().champion;
        world.evaluated(node, samples::evidence_of((hash("a"), champion), [0, 20, 30]));
    }

    fn verdict(verification: &mut Verification, world: &World) -> Verified {
        verification.verdict(&world.state, world.state.models.get(&hash("a")).unwrap(), world.now)
    }

    fn asked(verification: &mut Verification, world: &World) -> Vec<u64> {
        let ids = world.state.nodes.keys().map(|node| node.0);
        ids.filter(|id| !verification.due(&world.state, NodeId(*id), world.now).is_empty()).collect()
    }

    fn asks_for_another(verification: &mut Verification, world: &World) -> bool {
        let model = world.state.models.get(&hash("a")).unwrap();
        verification.asks_for_another(&world.state, world.state.config(KEY).unwrap(), model, world.now)
    }

    #[test]
    fn evidence_waits_until_two_others_confirm_it() {
        let mut world = evaluated(6);
        let its = &mut Verification::default();
        assert_eq!(
            verdict(its, &world),
            Verified::Waits("2 verifiers to count its games, for 2 h at most".into())
        );
        assert_eq!(asked(its, &world), [1, 4, 5, 6], "neither trainer nor evaluator");
        world.confirm("a", 1);
        assert_eq!(
            verdict(its, &world),
            Verified::Waits("1 verifier to count its games, for 2 h at most".into())
        );
        assert_eq!(asked(its, &world), [4, 5, 6]);
        world.deny("a", 5);
        let waits = "1 verifier to count its games: 1 counted otherwise";
        assert_eq!(verdict(its, &world), Verified::Waits(waits.into()));
        world.confirm("a", 4);
        assert_eq!(verdict(its, &world), Verified::Yes);
        assert_eq!(asked(its, &world), [0; 0], "it is settled");
    }

    #[test]
    fn slow_verifiers_are_no_verdict() {
        let mut world = evaluated(4);
        let its = &mut Verification::default();
        world.confirm("a", 1);
        let waits = Verified::Waits("1 verifier to count its games, for 2 h at most".into());
        for age_s in [0, 60, 180, 3600, 7199] {
            let at_ms = world.now + age_s * 1000;
            let found = its.verdict(&world.state, world.state.models.get(&hash("a")).unwrap(), at_ms);
            assert_eq!(found, waits, "{age_s} s");
        }
        assert_eq!(asked(its, &world), [4], "it is asked as long");
        world.now += 7199 * 1000;
        assert!(!asks_for_another(its, &world));
        world.confirm("a", 4);
        assert_eq!(verdict(its, &world), Verified::Yes);
    }

    #[test]
    fn a_few_are_asked_first_and_more_while_they_are_silent() {
        let mut world = evaluated(12);
        let its = &mut Verification::default();
        let first = asked(its, &world);
        assert_eq!(first.len(), 4);
        assert_eq!(
            asked(&mut Verification::default(), &world),
            first,
            "everybody agrees, also after a restart"
        );
        world.now += 9_999;
        assert_eq!(asked(its, &world), first);
        world.now += 1;
        let more = asked(its, &world);
        assert!(more.len() == 8 && first.iter().all(|node| more.contains(node)), "{more:?}");
        world.now += 19_999;
        assert_eq!(asked(its, &world), more);
        world.now += 1;
        assert_eq!(asked(its, &world).len(), 10);
        world.now += 7_000_000;
        assert_eq!(asked(its, &world).len(), 10);
        // A denial asks for more opinions.
        let mut world = evaluated(12);
        world.deny("a", first[0]);
        assert_eq!(asked(&mut Verification::default(), &world).len(), 5);
    }

    #[test]
    fn evidence_that_nobody_confirms_is_found_again_and_then_given_up() {
        let mut world = evaluated(3);
        let its = &mut Verification::default();
        assert!(!asks_for_another(its, &world));
        world.now += 7_199_999;
        assert!(!asks_for_another(its, &world), "the only verifier is silent");
        world.now += 1;
        assert!(asks_for_another(its, &world));
        evaluate(&mut world, 1);
        assert!(!asks_for_another(its, &world), "another verifier is asked");
        world.deny("a", 3);
        assert!(asks_for_another(its, &world), "nobody is left to confirm it");
        evaluate(&mut world, 1);
        world.deny("a", 3);
        assert!(!asks_for_another(its, &world), "the third time");
        let denied = "its evidence is not confirmed: 0 of 1 verifiers counted the same, 1 otherwise";
        assert_eq!(verdict(its, &world), Verified::Contested(denied.into()));
    }

    #[test]
    fn evidence_against_a_candidate_is_counted_again_as_well() {
        let its = &mut Verification::default();
        let mut world = World::with_nodes(4);
        world.train("a", 2);
        assert_eq!(asked(its, &world), [0; 0]);
        let champion = world.state.config(KEY).unwrap().champion;
        world.evaluated(3, samples::evidence_of((hash("a"), champion), [60, 0, 0]));
        assert_eq!(asked(its, &world), [1, 4]);
        world.grant(cluster_state::LeaseKind::Evaluation, 3, Some(hash("a")));
        assert_eq!(asked(its, &world), [0; 0], "it is evaluated once more");
        let mut world = World::with_nodes(2);
        world.train("a", 2);
        evaluate(&mut world, 1);
        assert_eq!(verdict(its, &world), Verified::Yes, "there is nobody else");
    }
}
