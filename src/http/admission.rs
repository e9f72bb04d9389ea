//! Who may be a member, over HTTP: tickets, removal, the secret, and where operators are believed.
//!
//! Invariant: a token or a secret that is made here goes into one answer or one command, and into no log.

use super::{
    front::{Front, Shared},
    operator::{Operator, Order},
    refused::Refused,
};
use crate::{
    api::admission::{
        IssuedTicket, Operators, Removal, Revocation, SecretOrder, SecretView, ShutOutView, TicketOrder,
        TicketView,
    },
    clock::now_ms,
    peer::Context,
};
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use cluster_state::{
    Admissions, ClusterState, TEXT_BYTES_MAX,
    admission::{Invitation, ShutOut, Ticket, TicketId, ticket_id, ticket_key},
    command::{IssueTicket, RemoveNode, RevokeTicket, SetOperators, SetSecret},
};
use std::{net::IpAddr, sync::Arc};
use wire::Hash;

pub(super) fn router() -> Router<Arc<Front>> {
    Router::new()
        .route("/v1/cluster/tickets", get(tickets).post(issue))
        .route("/v1/cluster/tickets/revoke", post(revoke))
        .route("/v1/cluster/removed", get(removed).post(remove))
        .route("/v1/cluster/secret", get(secret).post(rotate))
        .route("/v1/cluster/operators", get(operators).post(set_operators))
}

async fn issue(
    Operator(node): Operator,
    Order(order): Order<TicketOrder>,
) -> Result<Json<IssuedTicket>, Refused> {
    let TicketOrder { ttl_ms, uses, address, note } = order;
    let token: [u8; 32] = rand::random();
    let address = match address {
        Some(address) => with_peer(&address, &node.p2p.peer_id()),
        None => reachable(&node.p2p.listen_addrs())
            .ok_or_else(|| Refused::bad_request("this node has no address that others reach: give one"))?,
    };
    let ticket = Invitation { address, token }.to_string();
    // What a new node could not read is no ticket.
    ticket.parse::<Invitation>().map_err(Refused::bad_request)?;
    let (id, at_ms) = (ticket_id(&token), now_ms());
    let expires_ms = at_ms.saturating_add(ttl_ms);
    let command = IssueTicket { ticket: id, key: ticket_key(&token), uses, expires_ms, note, at_ms };
    node.propose_for_operator(command.into()).await?;
    tracing::info!(ticket = %id, uses, "an operator makes a ticket");
    Ok(Json(IssuedTicket { id: id.to_string(), ticket, uses, expires_ms }))
}

/// An address that ends in the peer id of this node.
fn with_peer(address: &str, peer_id: &str) -> String {
    if address.contains("/p2p/") { address.to_owned() } else { format!("{address}/p2p/{peer_id}") }
}

/// The address that a node of another host reaches most likely: the first one that is not of this host only.
fn reachable(addresses: &[String]) -> Option<String> {
    let is_local = |address: &&String| {
        let ip = address.split('/').nth(2).and_then(|ip| ip.parse::<IpAddr>().ok());
        ip.is_some_and(|ip| match ip {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
        })
    };
    addresses.iter().find(|address| !is_local(address)).or_else(|| addresses.first()).cloned()
}

async fn tickets(State(front): Shared) -> Result<Json<Vec<TicketView>>, Refused> {
    Ok(Json(views(&front.node()?.raft.local().admissions, now_ms())))
}

/// The tickets, the newest first.
fn views(admissions: &Admissions, now_ms: u64) -> Vec<TicketView> {
    let mut views: Vec<TicketView> =
        admissions.tickets.iter().map(|(id, ticket)| view(*id, ticket, now_ms)).collect();
    views.sort_by_key(|ticket| std::cmp::Reverse(ticket.issued_ms));
    views
}

fn view(id: TicketId, ticket: &Ticket, now_ms: u64) -> TicketView {
    let state = match (ticket.uses_left, ticket.expires_ms > now_ms) {
        (0, _) => "used up",
        (_, false) => "expired",
        (_, true) => "valid",
    };
    TicketView {
        id: id.to_string(),
        state: state.to_owned(),
        uses_left: ticket.uses_left,
        expires_ms: ticket.expires_ms,
        issued_ms: ticket.issued_ms,
        note: ticket.note.clone(),
    }
}

async fn revoke(
    Operator(node): Operator,
    Order(order): Order<Revocation>,
) -> Result<Json<TicketView>, Refused> {
    // A ticket that was issued a moment ago through another node counts as well.
    let state = current(&node).await?;
    let (id, ticket) = named(&state.admissions, &order.id)?;
    let revoked = view(id, &ticket, now_ms());
    node.propose_for_operator(RevokeTicket { ticket: id, at_ms: now_ms() }.into()).await?;
    tracing::info!(ticket = %id, "an operator revokes a ticket");
    Ok(Json(revoked))
}

/// The one ticket whose name begins like this.
fn named(admissions: &Admissions, name: &str) -> Result<(TicketId, Ticket), Refused> {
    let is_meant = |id: &TicketId| name.len() >= 4 && id.0.to_string().starts_with(name);
    let mut found = admissions.tickets.iter().filter(|(id, _)| is_meant(id));
    match (found.next(), found.next()) {
        (Some((id, ticket)), None) => Ok((*id, ticket.clone())),
        (Some(_), Some(_)) => {
            Err(Refused(StatusCode::CONFLICT, format!("{name} begins several tickets: say more of it")))
        }
        (None, _) => {
            let why = format!("there is no ticket {name:?}: `ringrift cluster ticket list` shows them");
            Err(Refused(StatusCode::NOT_FOUND, why))
        }
    }
}

async fn removed(State(front): Shared) -> Result<Json<Vec<ShutOutView>>, Refused> {
    Ok(Json(shut_out(&front.node()?.raft.local())))
}

/// Who was removed, the latest first.
fn shut_out(state: &ClusterState) -> Vec<ShutOutView> {
    let view = |(peer_id, it): (&String, &ShutOut)| ShutOutView {
        node: it.node,
        peer_id: peer_id.clone(),
        host: it.name.clone(),
        banned: it.ban,
        at_ms: it.at_ms,
        reason: it.why.clone(),
    };
    let mut views: Vec<ShutOutView> = state.admissions.shut_out.iter().map(view).collect();
    views.sort_by_key(|it| std::cmp::Reverse((it.at_ms, it.node)));
    views
}

async fn remove(Operator(node): Operator, Order(wanted): Order<Removal>) -> Result<Json<Removal>, Refused> {
    let Removal { node: id, ban, reason } = wanted.clone();
    let reason = if reason.is_empty() { "ordered".to_owned() } else { format!("ordered: {reason}") };
    if reason.len() > TEXT_BYTES_MAX {
        return Err(Refused::bad_request("the reason is too long"));
    }
    let secret = rand::random();
    node.propose_for_operator(RemoveNode { node: id, ban, secret, reason, at_ms: now_ms() }.into()).await?;
    tracing::info!(node = id.0, ban, "an operator removes a node");
    Ok(Json(wanted))
}

async fn secret(State(front): Shared) -> Result<Json<SecretView>, Refused> {
    Ok(Json(secret_view(&front.node()?.raft.local().admissions)))
}

fn secret_view(admissions: &Admissions) -> SecretView {
    let (number, since_ms) = admissions.secret.as_ref().map_or((0, 0), |it| (it.number, it.since_ms));
    SecretView { number, since_ms, admits: number > 0 && admissions.by_secret }
}

async fn rotate(
    Operator(node): Operator,
    Order(order): Order<SecretOrder>,
) -> Result<Json<SecretView>, Refused> {
    let (secret, by_secret) = match order.secret {
        Some(secret) => {
            let parsed: Result<Hash, _> = secret.parse();
            let no_secret = |_| Refused::bad_request("a secret is 64 hex digits");
            (parsed.map_err(no_secret)?.0, true)
        }
        None => (rand::random(), false),
    };
    node.propose_for_operator(SetSecret { secret, by_secret, at_ms: now_ms() }.into()).await?;
    let view = secret_view(&current(&node).await?.admissions);
    tracing::info!(number = view.number, "an operator replaces the secret");
    Ok(Json(view))
}

async fn operators(State(front): Shared) -> Result<Json<Operators>, Refused> {
    let nodes = front.node()?.raft.local().admissions.operators.iter().copied().collect();
    Ok(Json(Operators { nodes }))
}

async fn set_operators(
    Operator(node): Operator,
    Order(wanted): Order<Operators>,
) -> Result<Json<Operators>, Refused> {
    let nodes = wanted.nodes.clone();
    node.propose_for_operator(SetOperators { nodes, at_ms: now_ms() }.into()).await?;
    tracing::info!(nodes = ?wanted.nodes, "an operator says where operators are believed");
    Ok(Json(wanted))
}

/// The state with everything that was decided before this call.
async fn current(node: &Context) -> Result<Arc<ClusterState>, Refused> {
    let state = node.raft.linearizable().await;
    state.map_err(|error| Refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_ticket_names_an_address_that_others_reach() {
        let check = |addresses: &[&str], expected: Option<&str>| {
            let addresses: Vec<String> = addresses.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(reachable(&addresses).as_deref(), expected, "{addresses:?}");
        };
        check(&[], None);
        let (local, far) = ("/ip4/127.0.0.1/tcp/1/p2p/x", "/ip4/192.0.2.1/tcp/1/p2p/x");
        check(&[local], Some(local));
        check(&[local, "/ip6/::1/tcp/1/p2p/x", "/ip4/169.254.1.1/tcp/1/p2p/x", far], Some(far));
        check(&["/ip6/fe80::1/tcp/1/p2p/x", "/dns4/host/tcp/1/p2p/x"], Some("/dns4/host/tcp/1/p2p/x"));
        assert_eq!(with_peer("/ip4/192.0.2.1/tcp/1", "x"), far);
        assert_eq!(with_peer(far, "y"), far);
    }

    #[test]
    fn a_ticket_is_found_by_the_beginning_of_its_name() {
        let ticket = |uses_left, expires_ms| Ticket {
            key: [0; 32],
            uses_left,
            expires_ms,
            issued_ms: 0,
            note: String::new(),
        };
        let mut other = [0xab; 32];
        other[4] = 0;
        let ids = [[0xab; 32], other, [0xcd; 32]].map(|bytes| TicketId(Hash(bytes)));
        let tickets =
            BTreeMap::from([(ids[0], ticket(1, 50)), (ids[1], ticket(0, 50)), (ids[2], ticket(1, 10))]);
        let admissions = Admissions { tickets, ..Admissions::default() };
        let check = |name: &str, expected: Option<TicketId>| {
            assert_eq!(named(&admissions, name).ok().map(|(id, _)| id), expected, "{name}");
        };
        check("cdcdcdcd", Some(ids[2]));
        check("cdcd", Some(ids[2]));
        check("cdc", None); // too short to be meant
        check("", None);
        check("abababab", None); // two of them
        check("abababab00", Some(ids[1]));
        check("01234567", None);
        let states: Vec<String> = views(&admissions, 20).into_iter().map(|it| it.state).collect();
        assert_eq!(states, ["used up", "valid", "expired"]);
    }
}
