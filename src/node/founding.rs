//! What a founder does besides joining its own cluster: it gives it a secret, and invites the first hosts.
//!
//! Invariant: the secret that the cluster gets lies in the founder's data folder before, so a founder that is
//! killed in between goes on where it was. A ticket is told once and kept nowhere.

use super::{
    admission::OwnKeys,
    membership::FOUNDER,
    options::{NodeOptions, Ready, Told},
};
use crate::{clock::now_ms, peer::Context};
use cluster_state::{
    Command,
    admission::{Invitation, ticket_id, ticket_key},
    command::{IssueTicket, SetSecret},
};
use std::{sync::Arc, time::Duration};

/// Whom a node tells what whoever started it should know.
pub(super) type Tell = Arc<dyn Fn(&Told) + Send + Sync>;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(300);
/// What the first ticket is for.
const NOTE: &str = "made when the cluster was founded";

/// Gives the cluster of a founder its secret, unless it has one, and then tells a ticket if this start has
/// founded the cluster and nothing else admits. Ends with the shutdown, as every task of a node.
pub(super) async fn found(node: Context, options: NodeOptions, own: OwnKeys, me: Ready, tell: Tell) {
    if node.id == FOUNDER
        && let Some(secret) = own.kept()
    {
        let by_secret = options.secret.is_some();
        let shutdown = node.shutdown.clone();
        let work = async {
            give_secret(&node, secret, by_secret).await;
            if me.founds && !by_secret {
                invite(&node, &options, &me, &tell).await;
            }
        };
        if shutdown.run_until_cancelled(work).await.is_none() {
            return;
        }
    }
    node.shutdown.cancelled().await;
}

async fn give_secret(node: &Context, secret: [u8; 32], by_secret: bool) {
    let mut state = node.raft.applied();
    loop {
        let current = state.borrow_and_update().clone();
        if current.admissions.secret.is_some() {
            return;
        }
        // A node that is not registered may propose nothing.
        if current.nodes.contains_key(&node.id) && node.raft.metrics().borrow().is_leader() {
            let command = SetSecret { secret, by_secret, at_ms: now_ms() };
            if let Err(error) = node.propose(Command::SetSecret(command)).await {
                tracing::warn!(%error, "the cluster has no secret yet");
            }
        }
        let _ = tokio::time::timeout(PAUSE, state.changed()).await; // a pause, or news
    }
}

async fn invite(node: &Context, options: &NodeOptions, me: &Ready, tell: &Tell) {
    let token: [u8; 32] = rand::random();
    loop {
        let now = now_ms();
        let ttl = u64::try_from(options.first_ticket.ttl.as_millis()).unwrap_or(u64::MAX);
        let command = IssueTicket {
            ticket: ticket_id(&token),
            key: ticket_key(&token),
            uses: options.first_ticket.uses,
            expires_ms: now.saturating_add(ttl),
            note: NOTE.to_owned(),
            at_ms: now,
        };
        match node.propose_for_operator(Command::IssueTicket(command)).await {
            Ok(_) => break,
            Err(error) => tracing::warn!(%error, "there is no ticket for other hosts yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    let invitation = |address: &String| Invitation { address: address.clone(), token }.to_string();
    tell(&Told::Invites(me.addrs.iter().map(invitation).collect()));
}
