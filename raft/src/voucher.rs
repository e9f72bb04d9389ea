//! Voters that this node has not heard of yet.
//!
//! Invariant: what a voter of this node's own log says about the voters is believed; only while none of them
//! answers is the majority of the other members believed that do. A node that was away while the voters
//! changed would otherwise listen to nobody.

use crate::{
    handle::HandleShared,
    rpc::{self, Reply, Request, Voters},
};
use cluster_state::NodeId;
use futures::future::join_all;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(200);
/// The most members that are asked in one round.
const ASKED_MAX: usize = 64;

/// Asks who votes now, each time that a message came from a voter that this node does not know.
pub(crate) async fn run(shared: Arc<HandleShared>, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(shared.unknown_sender.notified()).await.is_some() {
        if shutdown.run_until_cancelled(learn(&shared)).await.is_none() {
            return;
        }
        if shutdown.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
            return;
        }
    }
}

async fn learn(shared: &HandleShared) {
    let voters = shared.own_voters();
    let answers = ask(shared, voters.values().cloned().collect()).await;
    let named = if answers.is_empty() {
        let others = shared.members().into_iter().filter(|peer| !voters.values().any(|it| it == peer));
        majority(ask(shared, others.collect()).await)
    } else {
        answers.into_iter().flatten().collect()
    };
    if named.is_empty() {
        tracing::warn!("an unknown voter leads, and no member that this node knows says who votes now");
    } else {
        tracing::debug!(?named, "who votes now");
        shared.vouch(named);
    }
}

/// The answers of these peers.
async fn ask(shared: &HandleShared, peers: Vec<String>) -> Vec<Voters> {
    let Ok(request) = rpc::encode_request(&Request::Voters) else { return Vec::new() };
    let peers = peers.into_iter().filter(|peer| *peer != shared.peer_id).take(ASKED_MAX);
    let asked = peers.map(|peer| {
        let request = request.clone();
        async move { shared.transport.call(&peer, request, PATIENCE).await }
    });
    let answers = join_all(asked).await.into_iter().flatten();
    let voters = answers.filter_map(|bytes| match rpc::decode_reply(&bytes) {
        Ok(Reply::Voters(voters)) => Some(voters),
        Ok(_) | Err(_) => None,
    });
    voters.collect()
}

/// The voters that more than half of the answers name.
fn majority(answers: Vec<Voters>) -> Voters {
    let need = answers.len() / 2 + 1;
    let mut counts: BTreeMap<(NodeId, String), usize> = BTreeMap::new();
    for voter in answers.into_iter().flatten() {
        *counts.entry(voter).or_default() += 1;
    }
    counts.into_iter().filter(|(_, count)| *count >= need).map(|(voter, _)| voter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_half_must_agree() {
        let said = |voters: &[(u64, &str)]| -> Voters {
            voters.iter().map(|(id, peer)| (NodeId(*id), (*peer).to_owned())).collect()
        };
        assert_eq!(majority(vec![]), said(&[]));
        assert_eq!(majority(vec![said(&[(2, "b")])]), said(&[(2, "b")]));
        assert_eq!(majority(vec![said(&[(2, "b")]), said(&[(2, "x")])]), said(&[]));
        let answers =
            vec![said(&[(2, "b"), (3, "c")]), said(&[(2, "b"), (9, "liar")]), said(&[(2, "b"), (3, "c")])];
        assert_eq!(majority(answers), said(&[(2, "b"), (3, "c")]));
    }
}
