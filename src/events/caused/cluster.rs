//! Hosts that come and go, and who leads.

use super::{AppliedCommand, leases, node_name, promotion, seconds};
use crate::events::{Event, HostOffline, HostOnline, LeaderElected};
use cluster_state::{
    Distributed, Response, admission,
    command::{RegisterNode, RemoveNode, SetLeader, SetOnline},
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
    std::iter::once(host).chain(everywhere(distributed, applied, timestamp)).collect()
}

fn everywhere(
    distributed: &[Distributed],
    applied: &AppliedCommand<'_>,
    timestamp: f64,
) -> impl Iterator<Item = Event> {
    distributed.iter().map(move |it| promotion::distributed(&it.config_key, it.model, applied, timestamp))
}

/// A removed host goes, and its leases end. A host that was offline went before.
pub(super) fn removed(command: &RemoveNode, applied: &AppliedCommand<'_>) -> Vec<Event> {
    let Response::Removed { distributed } = applied.response else { return Vec::new() };
    let timestamp = seconds(command.at_ms);
    let known = applied.before.nodes.get(&command.node).filter(|node| node.online);
    let offline = known.map(|node| {
        Event::HostOffline(HostOffline {
            node_id: node_name(command.node),
            host: node.name.clone(),
            reason: admission::REMOVED.to_owned(),
            timestamp,
        })
    });
    let told = offline.into_iter().chain(leases::removed(command, applied));
    told.chain(everywhere(distributed, applied, timestamp)).collect()
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
