//! Hosts that come and go, and who leads.

use super::{AppliedCommand, node_name, promotion, seconds};
use crate::events::{Event, HostOffline, HostOnline, LeaderElected};
use cluster_state::{
    Response,
    command::{RegisterNode, SetLeader, SetOnline},
};

pub(super) fn registered(command: &RegisterNode, applied: &AppliedCommand<'_>) -> Vec<Event> {
    let Response::Node { id, came_online: true } = applied.response else { return Vec::new() };
    vec![Event::HostOnline(HostOnline {
        node_id: node_name(*id),
        host: command.name.clone(),
        timestamp: seconds(command.at_ms),
    })]
}

/// With a host that went, those that are left may all hold their champion.
pub(super) fn online(command: &SetOnline, applied: &AppliedCommand<'_>) -> Vec<Event> {
    let Response::Online { distributed } = applied.response else { return Vec::new() };
    let timestamp = seconds(command.at_ms);
    let host = applied.state.nodes.get(&command.node).map(|node| node.name.clone()).unwrap_or_default();
    let node_id = node_name(command.node);
    let host = if command.online {
        Event::HostOnline(HostOnline { node_id, host, timestamp })
    } else {
        Event::HostOffline(HostOffline { node_id, host, reason: command.reason.clone(), timestamp })
    };
    let everywhere =
        distributed.iter().map(|it| promotion::distributed(&it.config_key, it.model, applied, timestamp));
    std::iter::once(host).chain(everywhere).collect()
}

pub(super) fn leader(command: &SetLeader, applied: &AppliedCommand<'_>) -> Vec<Event> {
    if !applied.is_done() {
        return Vec::new();
    }
    vec![Event::LeaderElected(LeaderElected {
        leader_id: node_name(command.node),
        node_id: node_name(command.node),
        term: command.term,
        previous_leader_id: applied.before.leader.as_ref().map(|leader| node_name(leader.node)),
        timestamp: seconds(command.at_ms),
    })]
}
