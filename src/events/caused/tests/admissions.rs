//! Who may be a member is in the state; that one goes, with its work, is an event.

use super::life::{KEY, Life};
use crate::events::{Event, caused::*};
use cluster_state::{
    Source,
    admission::REMOVED,
    command::{PardonNode, SetOperators, SetSecret, ThresholdReached},
    samples,
};

pub(super) fn admissions(life: &mut Life) {
    life.check(SetSecret { secret: [1; 32], by_secret: true, at_ms: 1 }.into(), &[]);
    life.check(samples::issue(2, 3), &[]);
    let revoke = samples::commands().into_iter().find(|command| matches!(command, Command::RevokeTicket(_)));
    life.check(revoke.unwrap(), &[]);
    life.check(SetOperators { nodes: vec![NodeId(1)], at_ms: 1 }.into(), &[]);
    let pardon = PardonNode { node: NodeId(1), epoch: Some(7), reason: "r".into(), at_ms: 1 };
    life.check(pardon.into(), &[]);

    // Node 2 goes while it trains.
    let crossing = life.state.config(KEY).unwrap().crossings + 1;
    life.segment("games-last", Source::Selfplay, &["NEW_GAMES_AVAILABLE"]);
    let reached = ThresholdReached { config_key: KEY.into(), crossing, at_ms: 90_000 };
    life.check(reached.into(), &["TRAINING_THRESHOLD_REACHED", "WORK_QUEUED"]);
    life.grant(LeaseKind::Training, None, 91_000, "TRAINING_STARTED");
    let granted = life.state.config(KEY).unwrap().training.live.as_ref().unwrap().id;
    assert_eq!(follows(&samples::remove(2, false, 9), &life.state), Some(granted));
    let mut twin = life.state.clone();
    life.check(samples::remove(2, false, 9), &["HOST_OFFLINE", "TRAINING_FAILED", "WORK_TIMEOUT"]);

    // One that was away before does not go once more.
    let observed_boot = twin.nodes[&NodeId(2)].boot;
    let (online, reason) = (false, "no heartbeat".to_owned());
    let gone = cluster_state::command::SetOnline { node: NodeId(2), online, reason, observed_boot, at_ms: 1 };
    cluster_state::state_machine::apply(&mut twin, life.index, &gone.into());
    life.state = twin;
    let (_, events) = life.events(&samples::remove(2, false, 9));
    assert_eq!(events.iter().map(Event::name).collect::<Vec<_>>(), ["TRAINING_FAILED", "WORK_TIMEOUT"]);
    let text = serde_json::to_string(&events).unwrap();
    assert!(text.contains(REMOVED), "{text}");
}
