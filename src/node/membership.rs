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
use p2p::{BootstrapStatus, EntryRefusal, P2pHandle, PeerInfo};
use raft::{JoinError, NodeInfo, RaftHandle, Voters};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// The id of the node that founds a cluster.
pub(super) const FOUNDER: NodeId = NodeId(1);
/// Longest attempt to join.
const JOIN: Duration = Duration::from_secs(10);
/// Pause between two lines of the log about peers that cannot be reached.
const TELL: Duration = Duration::from_secs(5);
/// How long every peer at the given addresses may refuse a node that wants to join, until it ends. A peer
/// that has just been started may not know each ticket yet.
const REFUSED: Duration = Duration::from_secs(5);
/// Pause between two attempts to register this node in the cluster.
const REGISTER_PAUSE: Duration = Duration::from_millis(500);

/// Returns this node's id: the one it already has, 1 for the founder, or one that the cluster assigns, with
/// the voters that it should listen to first. None means that the node was stopped while it waited.
pub(super) async fn membership(
    options: &NodeOptions,
    Listening { p2p, waiting, me, boot, own_keys, stored, .. }: &Listening,
    shutdown: &CancellationToken,
) -> Result<Option<(NodeId, Voters)>, NodeError> {
    if let Some(id) = stored {
        return Ok(Some((*id, Voters::new())));
    }
    if options.bootstrap.is_empty() {
        return Ok(Some((FOUNDER, Voters::new())));
    }
    let transport = PeerTransport(p2p.clone());
    let info = node_info(options, me, p2p, *boot);
    let mut shown = own_keys.shown(&me.peer_id).into_iter().peekable();
    let mut search = BootstrapSearch::default();
    let hosts = Hosts::of(&options.bootstrap);
    loop {
        let believed = |all: &Vec<PeerInfo>| hosts.among(all.iter().map(|peer| peer.peer_id.as_str()));
        let asked = believed(&p2p.peers().borrow());
        if asked.is_empty() {
            waiting.send_replace(search.goes_on(&options.bootstrap, &p2p.bootstrap().borrow())?);
            let mut peers = p2p.peers();
            let arrives = peers.wait_for(|all| !believed(all).is_empty());
            let pause = tokio::time::timeout(Duration::from_secs(1), arrives);
            match shutdown.run_until_cancelled(pause).await {
                None | Some(Ok(Err(_))) => return Ok(None),
                Some(Ok(Ok(_)) | Err(_)) => continue,
            }
        }
        let admission = shown.peek().cloned().unwrap_or(Admission::Known);
        let join = RaftHandle::join(&transport, &asked, &info, &admission, JOIN);
        match shutdown.run_until_cancelled(join).await {
            None => return Ok(None),
            Some(Ok((id, voters))) => {
                tracing::info!(node = id.0, "joined");
                return Ok(Some((id, voters)));
            }
            Some(Err(JoinError::NoLeader(why))) => {
                // A peer that does not know yet that the ticket has expired sends it on to the leader.
                refused_by_a_member(&p2p.refusals().borrow())?;
                tracing::warn!(why, "no leader lets this node in yet; still trying");
                waiting.send_replace(format!("no leader lets this node in yet ({why}); still trying"));
            }
            Some(Err(error @ JoinError::Refused(_))) => {
                shown.next();
                if shown.peek().is_none() {
                    return Err(error.into());
                }
            }
        }
    }
}

/// Whom a node believes that it has joined: the peers that its tickets and addresses name, and the leader
/// that one of these names. Whoever else is connected could answer that it has joined, with itself as the
/// voter.
struct Hosts(Option<BTreeSet<String>>);

impl Hosts {
    /// An address without a peer id says that whoever answers there is believed.
    fn of(addresses: &[String]) -> Self {
        let named = |address: &String| {
            let (_, peer) = address.rsplit_once("/p2p/")?;
            (!peer.contains('/')).then(|| peer.to_owned())
        };
        Self(addresses.iter().map(named).collect())
    }

    fn among<'a>(&self, connected: impl Iterator<Item = &'a str>) -> Vec<String> {
        let is_believed = |peer: &&str| self.0.as_ref().is_none_or(|named| named.contains(*peer));
        connected.filter(is_believed).map(str::to_owned).collect()
    }
}

/// The search for a peer through which a node can join.
#[derive(Default)]
struct BootstrapSearch {
    told: Option<Instant>,
    refused_since: Option<Instant>,
}

impl BootstrapSearch {
    /// What the node waits for, as a sentence; an error once it has been refused everywhere for too long.
    fn goes_on(&mut self, addresses: &[String], bootstraps: &[BootstrapStatus]) -> Result<String, NodeError> {
        match refused_everywhere(bootstraps) {
            None => self.refused_since = None,
            Some((address, refusal)) => {
                if self.refused_since.get_or_insert_with(Instant::now).elapsed() >= REFUSED {
                    return Err(NodeError::NotLetIn { address, refusal });
                }
            }
        }
        let why = format!("no peer at {} can be reached yet; still trying", addresses.join(", "));
        if self.told.get_or_insert_with(Instant::now).elapsed() > TELL {
            tracing::warn!("{why}");
            self.told = Some(Instant::now());
        }
        Ok(why)
    }
}

/// An error if a peer that has proved its id does not let the node in. A node that is no member yet loses
/// nothing by believing it.
fn refused_by_a_member(refusals: &BTreeMap<String, EntryRefusal>) -> Result<(), NodeError> {
    match refusals.iter().next() {
        None => Ok(()),
        Some((peer, refusal)) => Err(NodeError::NotLetIn { address: peer.clone(), refusal: refusal.clone() }),
    }
}

/// The first of the addresses with what was said there, if none of them lets this node in.
fn refused_everywhere(bootstraps: &[BootstrapStatus]) -> Option<(String, EntryRefusal)> {
    let refused = |status: &BootstrapStatus| Some((status.addr.clone(), status.refusal.clone()?));
    let all: Option<Vec<_>> = bootstraps.iter().map(refused).collect();
    all?.into_iter().next()
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
    let me = Ready { peer_id: node.p2p.peer_id(), addrs: Vec::new(), http: node.http, founds: false };
    loop {
        let current = state.borrow_and_update().clone();
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
    fn a_node_that_is_refused_everywhere_gives_up_and_one_that_is_not_goes_on() {
        let addresses = ["a".to_owned(), "b".to_owned()];
        let status = |addr: &String, refusal| BootstrapStatus {
            addr: addr.clone(),
            reached: false,
            failures: 3,
            last_error: Some("refused".to_owned()),
            refusal,
        };
        let check = |refusals: [Option<EntryRefusal>; 2], waited: Duration| {
            let bootstraps: Vec<_> =
                addresses.iter().zip(refusals).map(|(a, refusal)| status(a, refusal)).collect();
            let mut search =
                BootstrapSearch { refused_since: Instant::now().checked_sub(waited), told: None };
            search.goes_on(&addresses, &bootstraps).map_err(|error| error.to_string())
        };
        let [unknown, closed] =
            [Some(EntryRefusal::UnknownKey), Some(EntryRefusal::Closed("used up".to_owned()))];
        assert!(check([None, None], REFUSED).is_ok());
        assert!(check([unknown.clone(), None], REFUSED).is_ok(), "the other may be started later");
        assert!(check([unknown.clone(), closed.clone()], Duration::ZERO).is_ok());
        let error = check([closed, unknown], REFUSED).unwrap_err();
        assert_eq!(error, "a does not let this node in: used up");
    }

    #[test]
    fn a_joining_node_asks_only_whom_its_tickets_name() {
        let check = |addresses: &[&str], asked: &[&str]| {
            let addresses: Vec<String> = addresses.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(Hosts::of(&addresses).among(["a", "b", "evil"].into_iter()), asked, "{addresses:?}");
        };
        check(&["/ip4/192.0.2.1/tcp/7400/p2p/a"], &["a"]);
        check(&["/ip4/192.0.2.1/tcp/7400/p2p/a", "/dns4/x/tcp/7400/p2p/b"], &["a", "b"]);
        check(&["/ip4/192.0.2.1/tcp/7400/p2p/c"], &[]);
        // With the secret, whoever answers at a bare address is believed.
        check(&["/ip4/192.0.2.1/tcp/7400/p2p/a", "/ip4/192.0.2.2/tcp/7400"], &["a", "b", "evil"]);
    }

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
