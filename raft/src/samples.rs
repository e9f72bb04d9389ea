//! One value of everything that is written or sent, for tests.

use crate::{
    command::{
        Command, Evidence, Feedback, LeaseKind, ModelInfo, SelfplayTarget, Severity, Sprt, TrainingReport,
    },
    error::ReadError,
    response::{Refusal, Response},
    rpc::{NodeInfo, Reply, Request, SnapshotPiece},
    state::Promotion,
    types::{Entry, LogId, Member, Membership, TypeConfig, Vote},
};
use openraft::{
    EntryPayload,
    raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse},
};
use serde::{Serialize, Serializer, ser::SerializeTuple};
use std::collections::BTreeMap;
use wire::Hash;

pub(crate) const CONFIG: &str = "hex8_2p";

pub(crate) fn hash(n: u8) -> Hash {
    Hash([n; 32])
}

pub(crate) fn target() -> SelfplayTarget {
    SelfplayTarget { weight: 0.5, simulations: 32, paused: true, reason: "why".into() }
}

pub(crate) fn report() -> TrainingReport {
    TrainingReport { epochs_trained: 2, final_loss: 0.5, val_loss: 0.25, samples: 9, seconds: 1.5 }
}

pub(crate) fn evidence(candidate: Hash, champion: Hash) -> Evidence {
    Evidence {
        candidate,
        champion,
        games: 40,
        wins: 30,
        losses: 8,
        elo_delta: 100.0,
        elo_error: 20.0,
        sprt: Sprt::Accept,
        win_rate_vs_random: 1.0,
        win_rate_vs_heuristic: 0.75,
        passed_gauntlet: true,
        segments: vec![hash(7)],
    }
}

pub(crate) fn model(own: Hash, parent: Hash) -> ModelInfo {
    ModelInfo { hash: own, size: 5, parent, step: 6, generation: 1 }
}

pub(crate) fn register(n: u64, boot: u64) -> Command {
    Command::RegisterNode {
        peer_id: format!("peer-{n}"),
        name: "host".into(),
        addrs: vec!["/ip4/127.0.0.1/tcp/1".into()],
        http: "http://127.0.0.1:2".into(),
        version: "0.1.0".into(),
        boot,
        at_ms: 3,
    }
}

/// One of each, in the order of the enum.
pub(crate) fn commands() -> Vec<Command> {
    let config_key = || CONFIG.to_owned();
    let kind = LeaseKind::Evaluation;
    vec![
        register(1, 2),
        Command::SetOnline { node: 1, online: true, reason: "r".into(), observed_boot: 2, at_ms: 3 },
        Command::SetLeader { node: 1, term: 2, at_ms: 3 },
        Command::InitConfig {
            config_key: config_key(),
            champion: hash(1),
            size: 2,
            threshold: 3,
            target: target(),
            at_ms: 4,
        },
        Command::RegisterSegment {
            hash: hash(1),
            config_key: config_key(),
            games: 2,
            samples: 3,
            source: "selfplay".into(),
            model: hash(4),
            holders: vec![5, 6],
            at_ms: 7,
        },
        Command::AddSegmentHolder { hash: hash(1), node: 2, at_ms: 3 },
        Command::ThresholdReached { config_key: config_key(), crossing: 1, at_ms: 2 },
        Command::GrantLease {
            kind,
            config_key: config_key(),
            node: 1,
            subject: Some(hash(2)),
            ttl_ms: 3,
            at_ms: 4,
        },
        Command::RenewLease { kind, config_key: config_key(), epoch: 1, node: 2, at_ms: 3 },
        Command::ExpireLease {
            kind,
            config_key: config_key(),
            epoch: 1,
            last_renewed_ms: 2,
            reason: "r".into(),
            at_ms: 3,
        },
        Command::FailLease { kind, config_key: config_key(), epoch: 1, node: 2, error: "e".into(), at_ms: 3 },
        Command::CompleteTraining {
            config_key: config_key(),
            epoch: 1,
            node: 2,
            model: model(hash(3), hash(4)),
            report: report(),
            at_ms: 5,
        },
        Command::CompleteEvaluation {
            config_key: config_key(),
            epoch: 1,
            node: 2,
            evidence: evidence(hash(3), hash(4)),
            at_ms: 5,
        },
        Command::Promote {
            config_key: config_key(),
            candidate: hash(1),
            expected_champion: hash(2),
            elo_delta_min: 3.0,
            at_ms: 4,
        },
        Command::Reject { config_key: config_key(), candidate: hash(1), reason: "r".into(), at_ms: 2 },
        Command::ModelHeld { model: hash(1), node: 2, at_ms: 3 },
        Command::SetTarget { config_key: config_key(), target: target(), at_ms: 1 },
        Command::ReportRegression {
            config_key: config_key(),
            champion: Some(hash(1)),
            severity: Some(Severity::Critical),
            elo_drop: 150.0,
            games: 2,
            reason: "r".into(),
            trigger: Some(hash(3)),
            at_ms: 4,
        },
        Command::Rollback {
            config_key: config_key(),
            expected_champion: Some(hash(1)),
            reason: "r".into(),
            triggered_by: "t".into(),
            trigger: None,
            at_ms: 2,
        },
        Command::SetBackpressure {
            config_key: config_key(),
            active: true,
            depth: 1,
            threshold: 2,
            release_threshold: 3,
            trigger: None,
            at_ms: 4,
        },
        Command::SetFeedback {
            config_key: config_key(),
            feedback: Feedback { learning_rate: 0.5, exploration: 1.5, simulations: 2.0, reason: "r".into() },
            at_ms: 1,
        },
        Command::SetLearningRate { config_key: config_key(), scale: 0.5, reason: "r".into(), at_ms: 1 },
        Command::SetCurriculum {
            config_key: config_key(),
            weight: 0.5,
            reason: "r".into(),
            emergency: true,
            at_ms: 1,
        },
        Command::CancelLease { kind, config_key: config_key(), epoch: 1, reason: "r".into(), at_ms: 2 },
        Command::SetDraining { node: 1, draining: true, reason: "r".into(), at_ms: 2 },
        Command::Appoint {
            config_key: config_key(),
            model: hash(1),
            expected_champion: hash(2),
            reason: "r".into(),
            at_ms: 3,
        },
    ]
}

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    openraft::testing::log_id::<TypeConfig>(term, 1, index)
}

pub(crate) fn membership() -> Membership {
    let members = BTreeMap::from([(1, Member { peer_id: "peer-1".into() })]);
    let membership = openraft::Membership::new(vec![[1].into()], members).unwrap();
    Membership::new(Some(log_id(1, 0)), membership)
}

pub(crate) fn entries() -> Vec<Entry> {
    vec![
        Entry { log_id: log_id(1, 3), payload: EntryPayload::Blank },
        Entry {
            log_id: log_id(1, 4),
            payload: EntryPayload::Normal(Command::SetLeader { node: 1, term: 2, at_ms: 3 }),
        },
        Entry { log_id: log_id(1, 5), payload: EntryPayload::Membership(membership().membership().clone()) },
    ]
}

pub(crate) fn append() -> AppendEntriesRequest<TypeConfig> {
    AppendEntriesRequest {
        vote: Vote::new_committed(1, 1),
        prev_log_id: Some(log_id(1, 2)),
        entries: entries(),
        leader_commit: Some(log_id(1, 2)),
    }
}

pub(crate) fn piece() -> SnapshotPiece {
    SnapshotPiece {
        vote: Vote::new_committed(1, 1),
        last_log_id: Some(log_id(1, 2)),
        membership: membership(),
        total: 3,
        offset: 0,
        data: vec![1, 2, 3],
    }
}

/// One of each, in the order of the enum.
pub(crate) fn requests() -> Vec<Request> {
    let info = NodeInfo {
        peer_id: "peer-2".into(),
        name: "host".into(),
        addrs: vec!["/a".into()],
        http: "h".into(),
        version: "v".into(),
        boot: 4,
    };
    vec![
        Request::Append { to: 1, rpc: append() },
        Request::Vote { to: 1, rpc: VoteRequest::new(Vote::new(2, 1), Some(log_id(1, 2))) },
        Request::PreVote { to: 1, rpc: VoteRequest::new(Vote::new(2, 1), None) },
        Request::Snapshot { to: 1, piece: piece() },
        Request::Transfer {
            to: 1,
            rpc: TransferLeaderRequest::new(Vote::new_committed(1, 1), 1, Some(log_id(1, 2))),
        },
        Request::Propose { command: commands().swap_remove(2), wait_ms: 5 },
        Request::ReadIndex { wait_ms: 6 },
        Request::Join { info, at_ms: 7 },
    ]
}

/// One of each, in the order of the enum.
pub(crate) fn replies() -> Vec<Reply> {
    vec![
        Reply::Append(AppendEntriesResponse::HigherVote(Vote::new(3, 2))),
        Reply::Vote(VoteResponse::new(Vote::new(2, 1), Some(log_id(1, 2)), true)),
        Reply::SnapshotPart,
        Reply::Snapshot(Vote::new_committed(1, 1)),
        Reply::Transfer(Ok(())),
        Reply::Proposed(Response::Refused(Refusal::NotCandidate(hash(1)))),
        Reply::ReadIndex(8),
        Reply::Joined(9),
        Reply::NotLeader(Some("peer".into())),
        Reply::Timeout,
        Reply::ReadFailed(ReadError::NoLeader),
        Reply::Refused("r".into()),
        Reply::Failed("f".into()),
    ]
}

/// The answers that no reply above carries and that came after the first version.
pub(crate) fn responses() -> Vec<Response> {
    let promotion = Promotion {
        generation: 1,
        model: hash(1),
        previous: hash(2),
        previous_elo: 3.0,
        new_elo: 2.0,
        elo_delta: -1.0,
        reason: "r".into(),
        at_ms: 4,
        log_index: 5,
    };
    vec![
        Response::RolledBack { promotion, versions: (2, 1), distributed: true },
        Response::Noted,
        Response::Refused(Refusal::NothingBefore),
        Response::Refused(Refusal::Draining(1)),
    ]
}

/// A frame with this body, whatever it means: its checksum is right.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    struct Raw<'a>(&'a [u8]);
    impl Serialize for Raw<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut tuple = serializer.serialize_tuple(self.0.len())?;
            for byte in self.0 {
                tuple.serialize_element(byte)?;
            }
            tuple.end()
        }
    }
    wire::encode(kind, &Raw(body), usize::MAX).unwrap()
}

/// The body of a frame.
pub(crate) fn body(frame: &[u8]) -> &[u8] {
    &frame[8..frame.len() - 4]
}
