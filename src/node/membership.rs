//! How a node becomes a member of its cluster, and keeps the cluster's record of it true.

use super::{
    error::NodeError,
    options::{NodeOptions, Ready},
    stages::Listening,
    status::Fresh,
    transport::PeerTransport,
};
use crate::{clock::now_ms, peer::Context};
use cluster_state::{Admission, ClusterState, NodeId};
use p2p::P2pHandle;
use raft::{JoinError, NodeInfo, RaftHandle, Voters};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The id of the node that founds a cluster.
pub(super) const FOUNDER: NodeId = NodeId(1);
/// Longest attempt to join.
const JOIN: Duration = Duration::from_secs(10);
/// Pause between two attempts to register this node in the cluster.
const REGISTER_PAUSE: Duration = Duration::from_millis(500);

/// Returns this node's id: the one it already has, 1 for the founder, or one that the cluster assigns, with
/// the voters that it should listen to first. None means that the node was stopped while it waited.
pub(super) async fn membership(
    options: &NodeOptions,
    Listening { folder, p2p, waiting, me, boot, .. }: &Listening,
    shutdown: &CancellationToken,
) -> Result<Option<(NodeId, Voters)>, NodeError> {
    if let Some((id, _)) = raft::stored_node(&folder.join("raft.db"))? {
        return Ok(Some((id, Voters::new())));
    }
    if options.bootstrap.is_empty() {
        return Ok(Some((FOUNDER, Voters::new())));
    }
    let transport = PeerTransport(p2p.clone());
    let info = node_info(options, me, p2p, *boot);
    let mut peers = p2p.peers();
    let mut logged_at = Instant::now();
    loop {
        let connected: Vec<String> =
            peers.borrow_and_update().iter().map(|peer| peer.peer_id.clone()).collect();
        if connected.is_empty() {
            let why = format!("no peer at {} can be reached yet; still trying", options.bootstrap.join(", "));
            if logged_at.elapsed() > Duration::from_secs(5) {
                tracing::warn!("{why}");
                logged_at = Instant::now();
            }
            waiting.send_replace(why);
            tokio::select! {
                () = shutdown.cancelled() => return Ok(None),
                changed = peers.changed() => if changed.is_err() { return Ok(None) },
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            continue;
        }
        let join = RaftHandle::join(&transport, &connected, &info, &Admission::Known, JOIN);
        match shutdown.run_until_cancelled(join).await {
            None => return Ok(None),
            Some(Ok((id, voters))) => {
                tracing::info!(node = id.0, "joined");
                return Ok(Some((id, voters)));
            }
            Some(Err(JoinError::NoLeader(why))) => {
                tracing::warn!(why, "no leader lets this node in yet; still trying");
                waiting.send_replace(format!("no leader lets this node in yet ({why}); still trying"));
            }
            Some(Err(error @ JoinError::Refused(_))) => return Err(error.into()),
        }
    }
}

pub(super) fn node_info(options: &NodeOptions, me: &Ready, p2p: &P2pHandle, boot: u64) -> raft::NodeInfo {
    raft::NodeInfo {
        peer_id: me.peer_id.clone(),
        name: options.name.clone(),
        addrs: p2p.listen_addrs(),
        http: format!("http://{}", me.http),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot,
    }
}

/// Whether node `me` should be registered. A joined node waits until it knows that it is a member. The
/// founder may have been killed after it founded the cluster and before it registered; it need not wait,
/// because no other node can come before it.
fn should_register(state: &ClusterState, me: NodeId, info: &NodeInfo) -> bool {
    match state.nodes.get(&me) {
        Some(known) => {
            (known.boot, &known.addrs, &known.http, &known.name, &known.version)
                != (info.boot, &info.addrs, &info.http, &info.name, &info.version)
        }
        None => me == FOUNDER,
    }
}

/// Keeps the cluster's record of this node correct, and this node's address book equal to the cluster's.
pub(super) async fn introduce(node: Context, options: NodeOptions, fresh: Fresh) {
    let mut state = node.raft.applied();
    let me = Ready { peer_id: node.p2p.peer_id(), addrs: Vec::new(), http: node.http };
    loop {
        let current = state.borrow_and_update().clone();
        // A node that has just joined learns from its log who the members are.
        if !current.nodes.is_empty() {
            let members = current.nodes.values().map(|other| other.peer_id.clone()).collect();
            node.p2p.set_members(&members).await;
        }
        for other in current.nodes.values().filter(|other| other.id != node.id) {
            node.p2p.add_peer(&other.peer_id, &other.addrs).await;
        }
        let info = node_info(&options, &me, &node.p2p, node.boot);
        if should_register(&current, node.id, &info) {
            match node.shutdown.run_until_cancelled(node.propose(info.register(now_ms()))).await {
                None => return,
                Some(Ok(_)) => {}
                Some(Err(error)) => tracing::warn!(%error, "not registered yet"),
            }
            // This pause also follows a success, because the registration may take a while until it shows in
            // this node's state.
            let pause = tokio::time::sleep(REGISTER_PAUSE);
            if node.shutdown.run_until_cancelled(pause).await.is_none() {
                return;
            }
            continue;
        }
        match node.shutdown.run_until_cancelled(state.changed()).await {
            Some(Ok(())) => {
                fresh.now();
            }
            Some(Err(_)) | None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;

    #[test]
    fn a_node_registers_until_the_cluster_knows_it_as_it_is() {
        let world = World::with_nodes(2);
        let known = &world.state.nodes[&NodeId(2)];
        let same = NodeInfo {
            peer_id: known.peer_id.clone(),
            name: known.name.clone(),
            addrs: known.addrs.clone(),
            http: known.http.clone(),
            version: known.version.clone(),
            boot: known.boot,
        };
        let restarted = NodeInfo { boot: 77, ..same.clone() };
        assert!(!should_register(&world.state, NodeId(2), &same));
        assert!(should_register(&world.state, NodeId(2), &restarted));
        let nobody = ClusterState::default();
        assert!(should_register(&nobody, FOUNDER, &same), "killed between founding and registering");
        assert!(!should_register(&nobody, NodeId(2), &same), "not caught up");
    }
}
