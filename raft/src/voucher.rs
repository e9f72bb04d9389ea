//! Voters that this node has not heard of yet.
//!
//! Invariant: only what a voter vouches for, that this node knows already, is added to the voters that it
//! listens to. A node that was away while the voters changed would otherwise listen to nobody.

use crate::{
    handle::HandleShared,
    rpc::{self, Reply, Request},
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Longest wait for one voter's answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(200);

/// Asks the known voters who votes now, each time that a message came from an unknown one.
pub(crate) async fn run(shared: Arc<HandleShared>, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(shared.unknown_sender.notified()).await.is_some() {
        if shutdown.run_until_cancelled(ask(&shared)).await.is_none() {
            return;
        }
        if shutdown.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
            return;
        }
    }
}

async fn ask(shared: &HandleShared) {
    let Ok(request) = rpc::encode_request(&Request::Voters) else { return };
    for peer in shared.own_voters().into_values().filter(|peer| *peer != shared.peer_id) {
        let answer = shared.transport.call(&peer, request.clone(), PATIENCE).await;
        if let Ok(Ok(Reply::Voters(voters))) = answer.map(|bytes| rpc::decode_reply(&bytes)) {
            tracing::debug!(peer, ?voters, "who votes now");
            return shared.vouch(voters);
        }
    }
}
