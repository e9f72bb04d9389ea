//! A cluster's state for table tests, made by applying commands.

use raft::{
    ClusterState, Command, Evidence, LeaseKind, ModelInfo, NodeId, Response, SelfplayTarget, Sprt,
    TrainingReport, state_machine,
};
use wire::Hash;

/// One configuration, `hex8_2p`, and a clock that stands at `now`.
pub(crate) struct World {
    pub(crate) state: ClusterState,
    pub(crate) now: u64,
    /// What was applied.
    pub(crate) journal: Vec<Command>,
    index: u64,
    segments: u32,
}

pub(crate) const KEY: &str = "hex8_2p";

/// A name for content.
pub(crate) fn hash(name: &str) -> Hash {
    Hash::of(name.as_bytes())
}

impl World {
    pub(crate) fn with_nodes(count: u64) -> Self {
        let mut world =
            Self { state: ClusterState::default(), now: 1_000_000, journal: vec![], index: 0, segments: 0 };
        for id in 1..=count {
            world.apply(Command::RegisterNode {
                peer_id: format!("peer-{id}"),
                name: format!("host-{id}"),
                addrs: vec![],
                http: String::new(),
                version: "0".into(),
                boot: id,
                at_ms: world.now,
            });
        }
        world.apply(Command::InitConfig {
            config_key: KEY.into(),
            champion: hash("untrained"),
            size: 1,
            threshold: 500,
            target: SelfplayTarget::default(),
            at_ms: world.now,
        });
        for node in 1..=count {
            world.held("untrained", node);
        }
        world
    }

    pub(crate) fn apply(&mut self, command: Command) -> Response {
        self.index += 1;
        let response = state_machine::apply(&mut self.state, self.index, &command);
        assert!(!matches!(response, Response::Refused(_)), "{command:?}: {response:?}");
        self.journal.push(command);
        response
    }

    pub(crate) fn lead(&mut self, node: NodeId, term: u64) {
        self.apply(Command::SetLeader { node, term, at_ms: self.now });
    }

    pub(crate) fn online(&mut self, node: NodeId, online: bool) {
        let observed_boot = self.state.nodes[&node].boot;
        let reason = "test".into();
        self.apply(Command::SetOnline { node, online, reason, observed_boot, at_ms: self.now });
    }

    pub(crate) fn offline(&mut self, node: NodeId) {
        self.online(node, false);
    }

    /// Registers a segment of `games` on every online node and returns its name.
    pub(crate) fn play(&mut self, games: u64) -> Hash {
        let holders = self.state.online().map(|node| node.id).collect();
        self.play_on(games, holders)
    }

    pub(crate) fn play_on(&mut self, games: u64, holders: Vec<NodeId>) -> Hash {
        self.segments += 1;
        let hash = hash(&format!("segment {}", self.segments));
        self.apply(Command::RegisterSegment {
            hash,
            config_key: KEY.into(),
            games,
            samples: games * 50,
            source: "selfplay".into(),
            model: self.state.config(KEY).unwrap().champion,
            holders,
            at_ms: self.now,
        });
        hash
    }

    pub(crate) fn cross(&mut self) {
        let crossing = self.state.config(KEY).unwrap().crossings + 1;
        self.apply(Command::ThresholdReached { config_key: KEY.into(), crossing, at_ms: self.now });
    }

    pub(crate) fn grant(&mut self, kind: LeaseKind, node: NodeId, subject: Option<Hash>) -> u64 {
        let config_key = KEY.into();
        let grant = Command::GrantLease { kind, config_key, node, subject, ttl_ms: 12_000, at_ms: self.now };
        match self.apply(grant) {
            Response::Lease(lease) => lease.epoch,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn held(&mut self, name: &str, node: NodeId) {
        self.apply(Command::ModelHeld { model: hash(name), node, at_ms: self.now });
    }

    /// Plays, crosses, trains on `node` and leaves a candidate called `name`.
    pub(crate) fn train(&mut self, name: &str, node: NodeId) {
        self.play(500);
        self.cross();
        self.train_now(name, node);
    }

    /// Trains on what was crossed before.
    pub(crate) fn train_now(&mut self, name: &str, node: NodeId) {
        let epoch = self.grant(LeaseKind::Training, node, None);
        let parent = self.state.config(KEY).unwrap().newest;
        let report =
            TrainingReport { epochs_trained: 1, final_loss: 1.0, val_loss: 1.0, samples: 9, seconds: 1.0 };
        self.apply(Command::CompleteTraining {
            config_key: KEY.into(),
            epoch,
            node,
            model: ModelInfo { hash: hash(name), size: 1, parent, step: epoch, generation: epoch },
            report,
            at_ms: self.now,
        });
    }

    /// An evaluation of `name` that passes, or fails, against the champion.
    pub(crate) fn evaluate(&mut self, name: &str, node: NodeId, passes: bool) {
        let champion = self.state.config(KEY).unwrap().champion;
        let epoch = self.grant(LeaseKind::Evaluation, node, Some(hash(name)));
        let evidence = Evidence {
            candidate: hash(name),
            champion,
            games: 100,
            wins: if passes { 80 } else { 50 },
            losses: if passes { 20 } else { 50 },
            elo_delta: if passes { 240.0 } else { 0.0 },
            elo_error: 30.0,
            sprt: if passes { Sprt::Accept } else { Sprt::Reject },
            win_rate_vs_random: 0.9,
            win_rate_vs_heuristic: 0.5,
            passed_gauntlet: passes,
            segments: vec![],
        };
        let config_key = KEY.into();
        self.apply(Command::CompleteEvaluation { config_key, epoch, node, evidence, at_ms: self.now });
    }

    pub(crate) fn promote(&mut self, name: &str) {
        self.apply(Command::Promote {
            config_key: KEY.into(),
            candidate: hash(name),
            expected_champion: self.state.config(KEY).unwrap().champion,
            elo_delta_min: 25.0,
            at_ms: self.now,
        });
    }
}
