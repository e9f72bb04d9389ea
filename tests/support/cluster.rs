//! A cluster of a few peers.

use super::{Network, Peer, Place, SOON, until, when};
use ringrift::{api::status::Status, local::is_whole};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits until no other test runs a cluster.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    // A test that failed has ended its cluster, so a poisoned lock does not matter.
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Running peers; they end before their folders are removed and before the next cluster starts.
pub(crate) struct Cluster {
    pub(crate) peers: Vec<Peer>,
    pub(crate) root: TempDir,
    /// The network of the peers, if it is not this host's loopback interface.
    pub(crate) network: Option<Network>,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Starts the peers: the first founds the cluster, and the others join with the line that it prints.
    pub(crate) fn start(count: usize, settings: &str) -> Self {
        Self::start_in(None, count, settings)
    }

    /// Does the same as [`Self::start`], with more settings for the peer that joins last.
    pub(crate) fn start_with_last(count: usize, settings: &str, last: &str) -> Self {
        let each = |n| if n == count { format!("{settings}{last}") } else { settings.to_owned() };
        Self::start_each(None, (1..=count).map(each).collect())
    }

    /// Does the same as [`Self::start`], in a network of namespaces or not.
    pub(crate) fn start_in(network: Option<Network>, count: usize, settings: &str) -> Self {
        Self::start_each(network, vec![settings.to_owned(); count])
    }

    fn start_each(network: Option<Network>, settings: Vec<String>) -> Self {
        let turn = turn();
        let root = tempfile::tempdir().expect("a folder");
        let mut peers: Vec<Peer> = (1..)
            .zip(&settings)
            .map(|(n, settings)| Peer::new(root.path(), &format!("n{n}"), settings))
            .collect();
        for (index, peer) in peers.iter_mut().enumerate() {
            if network.is_some() {
                peer.put(Place::of(index));
            }
        }
        peers[0].start(None);
        let join = peers[0].join_line();
        for peer in &mut peers[1..] {
            peer.start(Some(&join));
        }
        let cluster = Self { peers, root, network, _turn: turn };
        cluster.whole();
        cluster
    }

    /// Waits until every peer says that every peer is online, votes as it should, and follows a leader.
    pub(crate) fn whole(&self) {
        let count = self.peers.len();
        let complete =
            |s: &Status| is_whole(s, count) && s.nodes.iter().all(|node| node.connected || !node.online);
        for peer in &self.peers {
            peer.until_status("the cluster is whole", complete);
        }
    }

    /// Returns the index of the peer that leads.
    pub(crate) fn leader(&self) -> usize {
        until("somebody leads", SOON, || {
            let running = self.peers.iter().filter(|peer| peer.is_running());
            let leaders = running.filter_map(|peer| peer.status().ok().filter(|status| !status.stale));
            let host = leaders.filter_map(|status| status.leader).map(|leader| leader.host).next();
            let index = self.peers.iter().position(|peer| Some(&peer.name) == host.as_ref());
            index.ok_or_else(|| format!("{host:?}"))
        })
    }

    /// Returns the number of acknowledged games, as the peer at `index` knows it.
    pub(crate) fn games(&self, index: usize) -> Result<u64, String> {
        let status = self.peers[index].status()?;
        let games: u64 = status.configs.iter().map(|config| config.games_total).sum();
        when(!status.stale, games, || "stale".to_owned())
    }
}
