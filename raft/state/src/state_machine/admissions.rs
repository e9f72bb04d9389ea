//! Handles the commands about who may be a member, and decides who becomes one.
//!
//! Invariant: a peer that is no member becomes one only by what [`admit`] accepts, and each use of a ticket
//! counts once. With a removal, everything that the removed member may know stops to admit: the secret is
//! replaced and no ticket is left.

use super::{leases, lookup::Outcome, promotion};
use crate::{
    admission::{
        self, Admission, Admitted, NotAdmitted, PREVIOUS_MAX, SHUT_OUT_MAX, Secret, ShutOut, TICKETS_MAX,
        Ticket,
    },
    cause::EndCause,
    command::{IssueTicket, RegisterNode, RemoveNode, RevokeTicket, SetOperators, SetSecret},
    id::NodeId,
    key::ConfigKey,
    lease::LeaseKind,
    response::{Refusal, Response},
    state::ClusterState,
};
use std::{collections::BTreeSet, sync::Arc};

/// How a peer becomes a member, or why it does not. `state` is the state before the command.
///
/// # Errors
/// Returns [`NotAdmitted`] with what to do.
pub fn admit(state: &ClusterState, command: &RegisterNode) -> Result<Admitted, NotAdmitted> {
    let RegisterNode { peer_id, admission, at_ms, .. } = command;
    if let Some(member) = state.node_of_peer(peer_id) {
        return Ok(member.admitted.clone());
    }
    let admissions = &state.admissions;
    let shut_out = admissions.shut_out.get(peer_id);
    if shut_out.is_some_and(|it| it.ban) {
        return Err(NotAdmitted::Banned);
    }
    let Some(secret) = &admissions.secret else {
        return Ok(if state.nodes.is_empty() { Admitted::Founder } else { Admitted::Open });
    };
    match admission {
        Admission::Known | Admission::Secret(_) if shut_out.is_some() => Err(NotAdmitted::Removed),
        Admission::Known => Err(NotAdmitted::NothingShown),
        Admission::Secret(_) if !admissions.by_secret => Err(NotAdmitted::TicketsOnly),
        Admission::Secret(proof) if *proof == admission::secret_proof(&secret.bytes, peer_id) => {
            Ok(Admitted::Secret)
        }
        Admission::Secret(_) => Err(NotAdmitted::WrongSecret),
        // A removal revokes every ticket, so this one was issued later.
        Admission::Ticket { ticket: id, signature } => {
            let ticket = admissions.tickets.get(id).ok_or(NotAdmitted::UnknownTicket)?;
            if ticket.uses_left == 0 {
                Err(NotAdmitted::UsedUp)
            } else if ticket.expires_ms <= *at_ms {
                Err(NotAdmitted::Expired)
            } else if !admission::is_signed_for(*id, peer_id, signature) {
                Err(NotAdmitted::WrongSignature)
            } else {
                Ok(Admitted::Ticket(id.to_string()))
            }
        }
    }
}

/// Records that a peer which was no member has become one.
pub(super) fn admitted(state: &mut ClusterState, command: &RegisterNode, how: &Admitted) {
    let by_ticket = match (how, &command.admission) {
        (Admitted::Ticket(_), Admission::Ticket { ticket, .. }) => Some(*ticket),
        (
            Admitted::Ticket(_) | Admitted::Founder | Admitted::Secret | Admitted::Open | Admitted::Other(_),
            _,
        ) => None,
    };
    let was_shut_out = state.admissions.shut_out.contains_key(&command.peer_id);
    if by_ticket.is_none() && !was_shut_out {
        return;
    }
    let admissions = Arc::make_mut(&mut state.admissions);
    admissions.shut_out.remove(&command.peer_id);
    if let Some(ticket) = by_ticket.and_then(|id| admissions.tickets.get_mut(&id)) {
        ticket.uses_left = ticket.uses_left.saturating_sub(1);
    }
}

pub(super) fn set_secret(state: &mut ClusterState, command: &SetSecret) -> Outcome {
    let &SetSecret { secret, by_secret, at_ms } = command;
    let admissions = &state.admissions;
    if admissions.secret.as_ref().is_some_and(|present| present.bytes == secret) {
        if admissions.by_secret == by_secret {
            return Ok(Response::Unchanged);
        }
        Arc::make_mut(&mut state.admissions).by_secret = by_secret;
        return Ok(Response::Done);
    }
    replace_secret(state, secret, by_secret, at_ms)?;
    Ok(Response::Done)
}

/// Makes `secret` the secret; the one before it opens the door to members only from now on.
fn replace_secret(
    state: &mut ClusterState,
    bytes: [u8; 32],
    by_secret: bool,
    since_ms: u64,
) -> Result<(), Refusal> {
    // An earlier secret would let in who learned it then, and a late repetition would bring it back.
    if state.admissions.previous.iter().any(|earlier| earlier.bytes == bytes) {
        return Err(Refusal::Invalid("secret: the cluster had it before".into()));
    }
    let admissions = Arc::make_mut(&mut state.admissions);
    let number = admissions.secret.as_ref().map_or(0, |present| present.number).saturating_add(1);
    if let Some(present) = admissions.secret.replace(Secret { bytes, since_ms, number }) {
        admissions.previous.insert(0, present);
        admissions.previous.truncate(PREVIOUS_MAX);
    }
    admissions.by_secret = by_secret;
    Ok(())
}

pub(super) fn issue_ticket(state: &mut ClusterState, command: &IssueTicket) -> Outcome {
    let &IssueTicket { ticket: id, key, uses, expires_ms, ref note, at_ms } = command;
    if state.admissions.tickets.contains_key(&id) {
        return Ok(Response::Unchanged);
    }
    let mut tickets = state.admissions.tickets.clone();
    if tickets.len() >= TICKETS_MAX {
        tickets.retain(|_, ticket| ticket.uses_left > 0 && ticket.expires_ms > at_ms);
    }
    if tickets.len() >= TICKETS_MAX {
        return Err(Refusal::Full("tickets".into()));
    }
    // Members tell by the times whether a removed peer comes with a later ticket.
    let removals = state.admissions.shut_out.values().map(|it| it.at_ms.saturating_add(1));
    let issued_ms = removals.max().unwrap_or(0).max(at_ms);
    tickets.insert(id, Ticket { key, uses_left: uses, expires_ms, issued_ms, note: note.clone() });
    Arc::make_mut(&mut state.admissions).tickets = tickets;
    Ok(Response::Done)
}

pub(super) fn revoke_ticket(state: &mut ClusterState, command: &RevokeTicket) -> Outcome {
    if !state.admissions.tickets.contains_key(&command.ticket) {
        return Err(Refusal::UnknownTicket(command.ticket));
    }
    Arc::make_mut(&mut state.admissions).tickets.remove(&command.ticket);
    Ok(Response::Done)
}

pub(super) fn set_operators(state: &mut ClusterState, command: &SetOperators) -> Outcome {
    let nodes: BTreeSet<NodeId> = command.nodes.iter().copied().collect();
    if let Some(stranger) = nodes.iter().find(|id| !state.nodes.contains_key(id)) {
        return Err(Refusal::UnknownNode(*stranger));
    }
    if state.admissions.operators == nodes {
        return Ok(Response::Unchanged);
    }
    Arc::make_mut(&mut state.admissions).operators = nodes;
    Ok(Response::Done)
}

pub(super) fn remove_node(state: &mut ClusterState, command: &RemoveNode) -> Outcome {
    let &RemoveNode { node: id, ban, secret, ref reason, at_ms } = command;
    let Some(node) = state.nodes.get(&id).map(Arc::clone) else {
        return removed_before(state, id, ban);
    };
    if state.nodes.len() == 1 {
        return Err(Refusal::LastNode(id));
    }
    // Without it, every member would be believed again.
    if state.admissions.operators.iter().eq([&id]) {
        let why = "operators are believed at this node only: name another one first".to_owned();
        return Err(Refusal::StillNeeded(id, why));
    }
    let shut_out = room_to_shut_out(state)?;
    if state.admissions.secret.as_ref().is_some_and(|present| present.bytes == secret) {
        return Err(Refusal::Invalid("secret: a removal needs a new one".into()));
    }
    replace_secret(state, secret, false, at_ms)?;
    let admissions = Arc::make_mut(&mut state.admissions);
    if let Some(oldest) = shut_out {
        admissions.shut_out.remove(&oldest);
    }
    admissions.tickets.clear();
    admissions.operators.remove(&id);
    let entry = ShutOut { node: id, name: node.name.clone(), ban, at_ms, why: reason.clone() };
    admissions.shut_out.insert(node.peer_id.clone(), entry);
    Arc::make_mut(&mut state.nodes).remove(&id);
    end_leases(state, id);
    forget_holder(state, id);
    Ok(Response::Removed { distributed: promotion::newly_distributed(state) })
}

/// The answer about a node that is no member: who was removed before can still be banned.
fn removed_before(state: &mut ClusterState, id: NodeId, ban: bool) -> Outcome {
    let found = state.admissions.shut_out.iter().find(|(_, it)| it.node == id);
    let (peer, known) = found.ok_or(Refusal::UnknownNode(id))?;
    if known.ban || !ban {
        return Ok(Response::Unchanged);
    }
    let peer = peer.clone();
    if let Some(known) = Arc::make_mut(&mut state.admissions).shut_out.get_mut(&peer) {
        known.ban = true;
    }
    Ok(Response::Done)
}

/// The peer that has to be forgotten so that there is room for one more: the one that was removed first, and
/// never a banned one.
fn room_to_shut_out(state: &ClusterState) -> Result<Option<String>, Refusal> {
    let shut_out = &state.admissions.shut_out;
    if shut_out.len() < SHUT_OUT_MAX {
        return Ok(None);
    }
    let removed = shut_out.iter().filter(|(_, it)| !it.ban);
    match removed.min_by_key(|(_, it)| it.node) {
        Some((peer, _)) => Ok(Some(peer.clone())),
        None => Err(Refusal::Full("banned peers".into())),
    }
}

/// Ends the leases that the node holds, as if it had been silent for too long.
fn end_leases(state: &mut ClusterState, id: NodeId) {
    let held: Vec<(ConfigKey, LeaseKind)> = held_by(state, id).collect();
    let configs = Arc::make_mut(&mut state.configs);
    for (config_key, kind) in held {
        if let Some(config) = configs.get_mut(&config_key) {
            let slot = Arc::make_mut(config).lease_mut(kind);
            leases::end_badly(slot, EndCause::Expired, format!("expired: {}", admission::REMOVED));
        }
    }
}

fn held_by(state: &ClusterState, id: NodeId) -> impl Iterator<Item = (ConfigKey, LeaseKind)> {
    let kinds = [LeaseKind::Training, LeaseKind::Evaluation];
    let slots = state.configs.iter().flat_map(move |(key, config)| kinds.map(|kind| (key, config, kind)));
    slots
        .filter(move |(_, config, kind)| {
            config.lease(*kind).live.as_ref().is_some_and(|lease| lease.node == id)
        })
        .map(|(key, _, kind)| (key.clone(), kind))
}

/// Takes the node off the holders of models and segments.
fn forget_holder(state: &mut ClusterState, id: NodeId) {
    let models: Vec<_> =
        state.models.iter().filter(|(_, it)| it.holders.contains(&id)).map(|(hash, _)| *hash).collect();
    for hash in models {
        if let Some(model) = state.models.get_mut(&hash) {
            model.holders.remove(&id);
        }
    }
    let segments: Vec<_> =
        state.segments.iter().filter(|(_, it)| it.holders.contains(&id)).map(|(hash, _)| *hash).collect();
    for hash in segments {
        if let Some(segment) = state.segments.get_mut(&hash) {
            segment.holders.remove(&id);
        }
    }
}
