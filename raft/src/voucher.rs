//! Asks others who votes, while this node does not know it.
//!
//! Invariant: what is answered counts only as [`crate::trust`] says. A node asks when somebody sends whom it
//! does not follow, and from time to time as long as it is away, because whom it shuts out cannot send.

use crate::{
    handle::HandleShared,
    rpc::{self, Reply, Request, Voters},
    trust::{Ballot, judge},
};
use cluster_state::state_machine;
use futures::future::join_all;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(200);
/// Pause between two rounds while nobody sends.
const LOOK: Duration = Duration::from_secs(1);
/// The most members that are asked in one round.
const ASKED_MAX: usize = 64;

/// Asks who votes now until the shutdown.
pub(crate) async fn run(shared: Arc<HandleShared>, shutdown: CancellationToken) {
    let work = async {
        loop {
            let sent = tokio::time::timeout(LOOK, shared.unknown_sender.notified()).await.is_ok();
            let (is_away, _) = shared.trust.view(Instant::now());
            if sent || is_away {
                learn(&shared).await;
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    // The work never ends by itself.
    let _: Option<()> = shutdown.run_until_cancelled(work).await;
}

async fn learn(shared: &HandleShared) {
    let own = shared.own_voters();
    let answers = ask(shared, own.values().cloned().collect()).await;
    let (is_away, _) = shared.trust.view(Instant::now());
    let waited = !is_away || shared.trust.has_waited(Instant::now());
    let others = if waited {
        let others = shared.members().into_iter().filter(|peer| !own.values().any(|it| it == peer));
        ask(shared, others.collect()).await
    } else {
        BTreeMap::new()
    };
    let ballot = Ballot {
        me: shared.node_id(),
        configs: &shared.own_configs(),
        own: &own,
        answers: &answers,
        others: &others,
        waited,
    };
    let verdict = judge(&ballot);
    tracing::debug!(?verdict, answers = answers.len(), others = others.len(), waited, "who votes now");
    shared.trust.hear(verdict, Instant::now());
}

/// The answers of these peers.
async fn ask(shared: &HandleShared, peers: Vec<String>) -> BTreeMap<String, Voters> {
    let Ok(request) = rpc::encode_request(&Request::Voters) else { return BTreeMap::new() };
    let peers = peers.into_iter().filter(|peer| *peer != shared.peer_id).take(ASKED_MAX);
    let asked = peers.map(|peer| {
        let request = request.clone();
        async move {
            let answer = shared.transport.call(&peer, request, PATIENCE).await.ok()?;
            match rpc::decode_reply(&answer) {
                Ok(Reply::Voters(voters)) if voters.len() <= state_machine::NODES_MAX => Some((peer, voters)),
                Ok(_) | Err(_) => None,
            }
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}
