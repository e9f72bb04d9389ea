//! Handles the commands about members and the leader.
//!
//! Invariant: a peer keeps its id, ids are never reused, and a report about an earlier start of a process or
//! about an earlier term changes nothing. Who is no member becomes one only if it is admitted.

use super::{admissions, bounds::NODES_MAX, lookup::Outcome, promotion};
use crate::{
    command::{RegisterNode, SetDraining, SetLeader, SetOnline},
    id::NodeId,
    node::{Draining, Leader, Node},
    response::{Refusal, Response},
    state::ClusterState,
};
use std::sync::Arc;

pub(super) fn register(state: &mut ClusterState, command: &RegisterNode) -> Outcome {
    let known = state.node_of_peer(&command.peer_id).cloned();
    let came_online = known.as_ref().is_none_or(|n| !n.online || n.boot != command.boot);
    let id = match &known {
        Some(node) => node.id,
        None if state.nodes.len() >= NODES_MAX => return Err(Refusal::Full("nodes".into())),
        None => NodeId(state.last_node_id.0 + 1),
    };
    let admitted = admissions::admit(state, command).map_err(Refusal::NotAdmitted)?;
    if known.is_none() {
        admissions::admitted(state, command, &admitted);
    }
    let stayed = known.as_ref().filter(|_| !came_online);
    let node = Node {
        id,
        peer_id: command.peer_id.clone(),
        name: command.name.clone(),
        addrs: command.addrs.clone(),
        http: command.http.clone(),
        version: command.version.clone(),
        boot: command.boot,
        online: true,
        reason: stayed.map_or_else(|| "registered".into(), |node| node.reason.clone()),
        since_ms: stayed.map_or(command.at_ms, |node| node.since_ms),
        joined_ms: known.as_ref().map_or(command.at_ms, |node| node.joined_ms),
        admitted,
        // A node that starts again wants to work, so it drains no longer.
        draining: stayed.and_then(|node| node.draining.clone()),
        standing: known.as_ref().map(|node| node.standing.clone()).unwrap_or_default(),
    };
    state.last_node_id = state.last_node_id.max(id);
    if known.as_ref() != Some(&node) {
        Arc::make_mut(&mut state.nodes).insert(id, Arc::new(node));
    }
    Ok(Response::Node { id, came_online })
}

pub(super) fn set_online(state: &mut ClusterState, command: &SetOnline) -> Outcome {
    let &SetOnline { node: id, online, observed_boot, at_ms, .. } = command;
    let node = state.nodes.get(&id).ok_or(Refusal::UnknownNode(id))?;
    if node.boot != observed_boot {
        return Err(Refusal::StaleBoot { current: node.boot, observed: observed_boot });
    }
    if node.online == online {
        return Ok(Response::Unchanged);
    }
    let node = Node { online, reason: command.reason.clone(), since_ms: at_ms, ..Node::clone(node) };
    Arc::make_mut(&mut state.nodes).insert(id, Arc::new(node));
    let distributed = if online { Vec::new() } else { promotion::newly_distributed(state) };
    Ok(Response::Online { distributed })
}

pub(super) fn set_leader(state: &mut ClusterState, command: &SetLeader) -> Outcome {
    let &SetLeader { node, term, at_ms } = command;
    if !state.nodes.contains_key(&node) {
        return Err(Refusal::UnknownNode(node));
    }
    match &state.leader {
        Some(leader) if leader.term == term && leader.node == node => return Ok(Response::Unchanged),
        Some(leader) if leader.term >= term => {
            return Err(Refusal::StaleTerm { current: leader.term, term });
        }
        Some(_) | None => {}
    }
    let elections = state.leader.as_ref().map_or(0, |leader| leader.elections) + 1;
    state.leader = Some(Leader { node, term, since_ms: at_ms, elections });
    Ok(Response::Done)
}

pub(super) fn set_draining(state: &mut ClusterState, command: &SetDraining) -> Outcome {
    let id = command.node;
    let node = state.nodes.get(&id).ok_or(Refusal::UnknownNode(id))?;
    if node.draining.is_some() == command.draining {
        return Ok(Response::Unchanged);
    }
    let draining =
        command.draining.then(|| Draining { cause: command.cause.clone(), reason: command.reason.clone() });
    let node = Node { draining, ..Node::clone(node) };
    Arc::make_mut(&mut state.nodes).insert(id, Arc::new(node));
    Ok(Response::Done)
}
