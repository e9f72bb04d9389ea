//! A command with more events than any other.

use super::*;
use cluster_state::{
    Lease, LeaseKind,
    command::{InitConfig, ModelHeld},
    samples::{hash, remove, target},
    state_machine::{CONFIGS_MAX, apply},
};

/// A cluster of two of which node 2 works for every configuration, and node 1 alone has each champion.
fn busy() -> ClusterState {
    let mut state = ClusterState::default();
    let init = InitConfig {
        config_key: "hex8_2p".parse().unwrap(),
        champion: hash(1),
        size: 2,
        threshold: 3,
        target: target(),
        at_ms: 4,
    };
    let held = ModelHeld { model: hash(1), node: NodeId(1), at_ms: 5 };
    for (index, command) in (1..).zip([register(1), register(2), init.into(), held.into()]) {
        let response = apply(&mut state, index, &command);
        assert!(!matches!(response, cluster_state::Response::Refused(_)), "{response:?}");
    }
    let first = state.config("hex8_2p").unwrap().clone();
    let configs = Arc::make_mut(&mut state.configs);
    configs.clear();
    for number in 0..CONFIGS_MAX as u64 {
        let mut config = first.clone();
        config.config_key = format!("made{number}_2p").parse().unwrap();
        config.distributed = false;
        let lease = |kind| Lease {
            id: number,
            kind,
            config_key: config.config_key.clone(),
            node: NodeId(2),
            epoch: 1,
            subject: None,
            crossing: 1,
            granted_ms: 1,
            renewed_ms: 1,
            ttl_ms: 1,
        };
        config.training.live = Some(lease(LeaseKind::Training));
        config.evaluation.live = Some(lease(LeaseKind::Evaluation));
        configs.insert(config.config_key.clone(), Arc::new(config));
    }
    state
}

#[test]
fn no_event_of_a_command_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, "a");
    let mut state = busy();
    let mut hook = EventHook::new(GAMES_PLANNED, Subscriptions::default());
    hook.on_open(&state);
    let removal = remove(2, false, 3);
    let response = apply(&mut state, 9, &removal);
    let mut connection = connect(&folder.path().join("a.db")).unwrap();
    let tx = connection.transaction().unwrap();
    hook.on_apply(&tx, 9, &removal, &response, &state).unwrap();
    tx.commit().unwrap();
    let told = events(&log);
    // The host, two ends of each of two leases, and a champion that is everywhere.
    assert_eq!(told.len(), 1 + 5 * CONFIGS_MAX);
    for (key, config) in state.configs.iter() {
        assert!(config.distributed && config.training.live.is_none() && config.evaluation.live.is_none());
        let name = format!("{:?}", key.as_str());
        let of = told.iter().filter(|event| format!("{event:?}").contains(&name));
        assert_eq!(of.count(), 5, "{key}");
    }
    // The next command's numbers come after all of these.
    let last = log.since(0, 1000).unwrap().pop().unwrap().sequence;
    assert!(last < EventId::raft(10, 0).sequence);
}
