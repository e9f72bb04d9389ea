//! The payloads of events: they agree with the state, and they fit.

use super::life::{KEY, hash, started};
use crate::events::caused::*;
use crate::events::{
    EvaluationStarted, Event, Games, TrainingThresholdReached, Work,
    envelope::{Envelope, EventId},
};
use cluster_state::command::{
    GrantLease, ModelHeld, RegisterNode, RegisterSegment, SetOnline, ThresholdReached,
};
use cluster_state::{ModelId, SegmentId, Source, samples};

#[test]
fn payloads_say_what_the_state_says() {
    let mut life = started();
    let command = RegisterSegment {
        hash: SegmentId(hash("games")),
        config_key: KEY.into(),
        games: 600,
        samples: 6000,
        bytes: 60_000,
        source: Source::Selfplay,
        model: ModelId(hash("untrained")),
        receipts: vec![],
        at_ms: 3_500,
    };
    let (_, events) = life.events(&Command::RegisterSegment(samples::signed_by(command, [2, 1])));
    let expected = Games {
        config_key: KEY.into(),
        node_id: "node-2".into(),
        game_count: 600,
        total_games: 600,
        db_path: "data/games/canonical_hex8_2p.db".into(),
        segment: SegmentId(hash("games")),
        timestamp: 3.5,
    };
    assert_eq!(events, [Event::NewGamesAvailable(expected)]);

    let (_, events) = life.events(&Command::ThresholdReached(ThresholdReached {
        config_key: KEY.into(),
        crossing: 1,
        at_ms: 4_000,
    }));
    let expected = TrainingThresholdReached {
        config_key: KEY.into(),
        node_id: "node-1".into(),
        crossing: 1,
        game_count: 600,
        threshold: 500,
        timestamp: 4.0,
    };
    let queued = Work {
        config_key: KEY.into(),
        node_id: "node-1".into(),
        work_id: "training:hex8_2p:1".into(),
        work_type: "training".into(),
        error: String::new(),
        timestamp: 4.0,
    };
    assert_eq!(events, [Event::TrainingThresholdReached(expected), Event::WorkQueued(queued)]);

    life.train(2, "a");
    let kind = LeaseKind::Evaluation;
    let subject = Some(hash("a"));
    let command = Command::GrantLease(GrantLease {
        kind,
        config_key: KEY.into(),
        node: NodeId(3),
        subject,
        ttl_ms: 1,
        at_ms: 7_000,
    });
    let (_, events) = life.events(&command);
    let expected = EvaluationStarted {
        config_key: KEY.into(),
        node_id: "node-3".into(),
        job_id: "evaluation:hex8_2p:1".into(),
        model_id: ModelId(hash("a")),
        model_path: "models/candidate_hex8_2p.safetensors".into(),
        games_planned: 400,
        timestamp: 7.0,
    };
    assert_eq!(events[..1], [Event::EvaluationStarted(expected)]);
}

#[test]
fn in_the_largest_cluster_every_event_fits_its_envelope() {
    let mut life = started();
    let nodes = cluster_state::state_machine::NODES_MAX as u64;
    for id in 4..=nodes {
        let command = Command::RegisterNode(RegisterNode {
            peer_id: samples::peer_id(id),
            name: "h".repeat(cluster_state::TEXT_BYTES_MAX),
            addrs: vec![],
            http: String::new(),
            version: String::new(),
            boot: id,
            admission: cluster_state::Admission::Known,
            at_ms: 1,
        });
        assert!(matches!(life.events(&command).0, Response::Node { .. }));
    }
    for node in 1..=nodes {
        life.events(&Command::ModelHeld(ModelHeld {
            model: ModelId(hash("untrained")),
            node: NodeId(node),
            at_ms: 1,
        }));
    }
    let fits = |event: &Event| {
        let id = EventId::raft(1, 0);
        let causes = vec![id.clone()];
        let event = event.clone();
        Envelope { id, at_ms: 1, flow_previous: None, causes, injected: false, event }.encode().is_ok()
    };
    fn now(state: &ClusterState) -> AppliedCommand<'_> {
        AppliedCommand { response: &Response::Done, before: state, state, games_planned: GAMES_PLANNED }
    }
    let started = promotion::moved(&KEY.into(), false, &now(&life.state), 1.0);
    assert!(started.len() == 1 && started.iter().all(fits), "{started:?}");
    // Who is away is named as such, and not among those that hold it.
    for node in 1..=nodes / 2 {
        let reason = "no heartbeat".to_owned();
        let observed_boot = node;
        life.events(&Command::SetOnline(SetOnline {
            node: NodeId(node),
            online: false,
            reason,
            observed_boot,
            at_ms: 1,
        }));
    }
    let complete = promotion::distributed(&KEY.into(), ModelId(hash("untrained")), &now(&life.state), 1.0);
    assert!(fits(&complete));
    let Event::ModelDistributionComplete(complete) = complete else { panic!("{complete:?}") };
    assert_eq!((complete.target_hosts.len(), complete.offline_hosts.len()), (HOSTS_MAX, HOSTS_MAX));
    assert_eq!(
        (complete.target_hosts[0].as_str(), complete.offline_hosts[0].as_str()),
        ("node-513", "node-1")
    );
}
