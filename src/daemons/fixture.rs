//! A cluster's state for table tests, made by applying commands.

use cluster_state::{
    ClusterState, Command, DrainCause, EndCause, Evidence, Feedback, LeaseKind, ModelId, ModelInfo, NodeId,
    Response, SegmentId, SelfplayTarget, Severity, Source, Sprt, TrainingReport,
    command::{
        CancelLease, CompleteEvaluation, CompleteTraining, ConfirmEvidence, FailLease, GrantLease,
        InitConfig, ModelHeld, Promote, RegisterNode, RegisterSegment, Reject, ReportRegression,
        SetBackpressure, SetCurriculum, SetDraining, SetFeedback, SetLeader, SetOnline, ThresholdReached,
    },
    samples, state_machine,
};
use wire::Hash;

/// A cluster with one configuration, `hex8_2p`, and a clock that stands at `now`.
pub(crate) struct World {
    pub(crate) state: ClusterState,
    pub(crate) now: u64,
    /// The commands that were applied.
    pub(crate) journal: Vec<Command>,
    index: u64,
    segments: u32,
}

pub(crate) const KEY: &str = "hex8_2p";

/// An id of content, of any kind.
pub(crate) fn hash<Id: From<Hash>>(name: &str) -> Id {
    Hash::of(name.as_bytes()).into()
}

impl World {
    pub(crate) fn with_nodes(count: u64) -> Self {
        Self::with_champion(count, "untrained")
    }

    /// [`Self::with_nodes`], whose first champion has another name.
    pub(crate) fn with_champion(count: u64, champion: &str) -> Self {
        let mut world =
            Self { state: ClusterState::default(), now: 1_000_000, journal: vec![], index: 0, segments: 0 };
        for id in 1..=count {
            world.apply(Command::RegisterNode(RegisterNode {
                peer_id: samples::peer_id(id),
                name: format!("host-{id}"),
                addrs: vec![],
                http: String::new(),
                version: "0".into(),
                boot: id,
                admission: cluster_state::Admission::Known,
                at_ms: world.now,
            }));
        }
        world.init(KEY, champion);
        for node in 1..=count {
            world.held(champion, node);
        }
        world
    }

    fn init(&mut self, key: &str, champion: &str) {
        self.apply(Command::InitConfig(InitConfig {
            config_key: key.into(),
            champion: hash(champion),
            size: 1,
            threshold: 500,
            target: SelfplayTarget::default(),
            at_ms: self.now,
        }));
    }

    /// Adds another configuration.
    pub(crate) fn add_config(&mut self, key: &str) {
        self.init(key, &format!("untrained {key}"));
    }

    pub(crate) fn apply(&mut self, command: Command) -> Response {
        self.index += 1;
        let response = state_machine::apply(&mut self.state, self.index, &command);
        assert!(!matches!(response, Response::Refused(_)), "{command:?}: {response:?}");
        self.journal.push(command);
        response
    }

    pub(crate) fn lead(&mut self, node: u64, term: u64) {
        self.apply(Command::SetLeader(SetLeader { node: NodeId(node), term, at_ms: self.now }));
    }

    pub(crate) fn online(&mut self, node: u64, online: bool) {
        let observed_boot = self.state.nodes[&NodeId(node)].boot;
        let reason = "test".into();
        self.apply(Command::SetOnline(SetOnline {
            node: NodeId(node),
            online,
            reason,
            observed_boot,
            at_ms: self.now,
        }));
    }

    pub(crate) fn offline(&mut self, node: u64) {
        self.online(node, false);
    }

    pub(crate) fn drain(&mut self, node: u64, draining: bool) {
        self.apply(Command::SetDraining(SetDraining {
            node: NodeId(node),
            draining,
            cause: DrainCause::Ordered,
            reason: "maintenance".into(),
            at_ms: self.now,
        }));
    }

    /// Registers a segment of `games` on every online node and returns its id.
    pub(crate) fn play(&mut self, games: u64) -> SegmentId {
        let holders = self.state.online().map(|node| node.id.0).collect();
        self.play_on(games, holders)
    }

    pub(crate) fn play_on(&mut self, games: u64, holders: Vec<u64>) -> SegmentId {
        let champion = self.state.config(KEY).unwrap().champion;
        self.register(KEY, games, Source::Selfplay, champion, holders)
    }

    /// [`Self::play`], of another configuration.
    pub(crate) fn play_in(&mut self, key: &str, games: u64) -> SegmentId {
        let holders = self.state.online().map(|node| node.id.0).collect();
        let champion = self.state.config(key).unwrap().champion;
        self.register(key, games, Source::Selfplay, champion, holders)
    }

    fn register(
        &mut self,
        key: &str,
        games: u64,
        source: Source,
        model: ModelId,
        holders: Vec<u64>,
    ) -> SegmentId {
        self.segments += 1;
        let hash = hash(&format!("segment {}", self.segments));
        let segment = RegisterSegment {
            hash,
            config_key: key.into(),
            games,
            samples: games * 50,
            bytes: games * 900,
            source,
            model,
            receipts: vec![],
            at_ms: self.now,
        };
        self.apply(Command::RegisterSegment(samples::signed_by(segment, holders)));
        hash
    }

    pub(crate) fn cross(&mut self) {
        self.cross_in(KEY);
    }

    pub(crate) fn cross_in(&mut self, key: &str) {
        let crossing = self.state.config(key).unwrap().crossings + 1;
        self.apply(Command::ThresholdReached(ThresholdReached {
            config_key: key.into(),
            crossing,
            at_ms: self.now,
        }));
    }

    pub(crate) fn grant(&mut self, kind: LeaseKind, node: u64, subject: Option<ModelId>) -> u64 {
        self.grant_in(KEY, kind, node, subject)
    }

    pub(crate) fn grant_in(
        &mut self,
        key: &str,
        kind: LeaseKind,
        node: u64,
        subject: Option<ModelId>,
    ) -> u64 {
        let config_key = key.into();
        let grant = Command::GrantLease(GrantLease {
            kind,
            config_key,
            node: NodeId(node),
            subject,
            ttl_ms: 12_000,
            at_ms: self.now,
        });
        match self.apply(grant) {
            Response::Lease(lease) => lease.epoch,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn held(&mut self, name: &str, node: u64) {
        self.apply(Command::ModelHeld(ModelHeld { model: hash(name), node: NodeId(node), at_ms: self.now }));
    }

    /// Plays, crosses the threshold, trains on `node` and leaves a candidate called `name`.
    pub(crate) fn train(&mut self, name: &str, node: u64) {
        self.play(500);
        self.cross();
        self.train_now(name, node);
    }

    /// Trains on the games of a threshold that was crossed before.
    pub(crate) fn train_now(&mut self, name: &str, node: u64) {
        self.train_in(KEY, name, node);
    }

    pub(crate) fn train_in(&mut self, key: &str, name: &str, node: u64) {
        let epoch = self.grant_in(key, LeaseKind::Training, node, None);
        let parent = self.state.config(key).unwrap().newest;
        let report =
            TrainingReport { epochs_trained: 1, final_loss: 1.0, val_loss: 1.0, samples: 9, seconds: 1.0 };
        self.apply(Command::CompleteTraining(CompleteTraining {
            config_key: key.into(),
            epoch,
            node: NodeId(node),
            model: ModelInfo { hash: hash(name), size: 1, parent, step: epoch, generation: epoch },
            report,
            at_ms: self.now,
        }));
    }

    /// Evaluates `name` on `node` against the champion; it passes or fails, and all who had no part in it
    /// confirm that.
    pub(crate) fn evaluate(&mut self, name: &str, node: u64, passes: bool) {
        let champion = self.state.config(KEY).unwrap().champion;
        let sets = if passes { [0, 20, 30] } else { [50, 10, 5] };
        self.evaluated(node, samples::evidence_of((hash(name), champion), sets));
        let model = self.state.models.get(&hash(name)).unwrap();
        let others: Vec<_> = self.state.verifiers(model, model.review.as_ref()).collect();
        others.into_iter().for_each(|node| self.confirm(name, node.0));
    }

    /// Node `node` counts the same as the latest evaluation of `name`.
    pub(crate) fn confirm(&mut self, name: &str, node: u64) {
        let model = self.state.models.get(&hash(name)).unwrap();
        let (evidence, epoch) = (model.evidence.as_ref().unwrap(), model.review.as_ref().unwrap().epoch);
        let answer = samples::confirmation(hash(name), epoch, node, evidence);
        self.apply(answer);
    }

    /// Node `node` counts the same as the latest round of the watch.
    pub(crate) fn confirm_round(&mut self, node: u64) {
        let config = self.state.config(KEY).unwrap();
        let round = config.steering.round.as_ref().unwrap();
        let answer = samples::confirmation(config.champion, round.review.epoch, node, &round.evidence);
        self.apply(answer);
    }

    /// Node `node` counts otherwise.
    pub(crate) fn deny(&mut self, name: &str, node: u64) {
        let epoch = self.state.models.get(&hash(name)).unwrap().review.as_ref().unwrap().epoch;
        self.apply(Command::ConfirmEvidence(ConfirmEvidence {
            config_key: KEY.into(),
            candidate: hash(name),
            epoch,
            node: NodeId(node),
            counted: None,
            at_ms: self.now,
        }));
    }

    /// Evaluates `name` on `node` until its games are used up without a verdict, at about this Elo
    /// difference.
    pub(crate) fn evaluate_in_vain(&mut self, name: &str, node: u64, elo_delta: f64) {
        self.evaluate(name, node, false);
        self.claim(name, |evidence| {
            evidence.elo_delta = elo_delta;
            evidence.sprt = Sprt::Inconclusive;
        });
    }

    /// Completes an evaluation on `node` with this evidence, whose games are registered before.
    pub(crate) fn evaluated(&mut self, node: u64, evidence: Evidence) {
        let (config_key, subject) = (KEY.into(), Some(evidence.candidate));
        let epoch = self.grant(LeaseKind::Evaluation, node, subject);
        let others = self.state.online().map(|other| other.id.0).filter(|other| *other != node);
        let holders = [node].into_iter().chain(others).collect();
        let games = evidence.against.games();
        let segment = self.register(KEY, games, Source::Evaluation, evidence.candidate, holders);
        self.apply(Command::CompleteEvaluation(CompleteEvaluation {
            config_key,
            epoch,
            node: NodeId(node),
            evidence: Evidence { segments: vec![segment], ..evidence },
            at_ms: self.now,
        }));
    }

    /// Changes the evidence about `name` in the state, for what no games would give.
    pub(crate) fn claim(&mut self, name: &str, change: impl FnOnce(&mut Evidence)) {
        let model = self.state.models.get_mut(&hash(name)).unwrap();
        change(model.evidence.as_mut().unwrap());
    }

    pub(crate) fn promote(&mut self, name: &str) {
        self.apply(Command::Promote(Promote {
            config_key: KEY.into(),
            candidate: hash(name),
            expected_champion: self.state.config(KEY).unwrap().champion,
            elo_delta_min: 25.0,
            at_ms: self.now,
        }));
    }

    pub(crate) fn reject(&mut self, name: &str) {
        let reason = "test".into();
        self.apply(Command::Reject(Reject {
            config_key: KEY.into(),
            candidate: hash(name),
            reason,
            at_ms: self.now,
        }));
    }

    /// Records that the champion regressed, or with no severity that it no longer does.
    pub(crate) fn regress(&mut self, severity: Option<Severity>, elo_drop: f64) {
        self.apply(Command::ReportRegression(ReportRegression {
            config_key: KEY.into(),
            champion: None,
            severity,
            elo_drop,
            games: 40,
            reason: "test".into(),
            trigger: None,
            at_ms: self.now,
        }));
    }

    /// Starts an evaluation that its holder gives up.
    pub(crate) fn fail_evaluation(&mut self, name: &str, node: u64) {
        let epoch = self.grant(LeaseKind::Evaluation, node, Some(hash(name)));
        self.apply(Command::FailLease(FailLease {
            kind: LeaseKind::Evaluation,
            config_key: KEY.into(),
            epoch,
            node: NodeId(node),
            error: "disk full".into(),
            at_ms: self.now,
        }));
    }

    /// Records that evaluation cannot keep up, or that it can again.
    pub(crate) fn press(&mut self, active: bool) {
        self.apply(Command::SetBackpressure(SetBackpressure {
            config_key: KEY.into(),
            active,
            depth: 9,
            threshold: 4,
            release_threshold: 2,
            trigger: None,
            at_ms: self.now,
        }));
    }

    pub(crate) fn weigh(&mut self, key: &str, weight: f64, reason: &str) {
        let (config_key, reason) = (key.into(), reason.into());
        self.apply(Command::SetCurriculum(SetCurriculum {
            config_key,
            weight,
            reason,
            emergency: false,
            at_ms: self.now,
        }));
    }

    /// Records that feedback asks for a deeper search.
    pub(crate) fn deepen(&mut self, simulations: f64, reason: &str) {
        let feedback = Feedback { simulations, reason: reason.into(), ..Feedback::default() };
        self.apply(Command::SetFeedback(SetFeedback { config_key: KEY.into(), feedback, at_ms: self.now }));
    }

    pub(crate) fn cancel(&mut self, kind: LeaseKind, epoch: u64, cause: EndCause, reason: &str) {
        let (config_key, reason) = (KEY.into(), reason.into());
        self.apply(Command::CancelLease(CancelLease {
            kind,
            config_key,
            epoch,
            cause,
            reason,
            at_ms: self.now,
        }));
    }
}
