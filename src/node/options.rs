//! What a node is started with, and what it says once it listens.

use crate::config::Config;
use std::{net::SocketAddr, path::PathBuf};

/// How to start a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its data folder.
    pub data_dir: PathBuf,
    /// Where to join; empty founds a cluster, unless the folder belongs to one.
    pub bootstrap: Vec<String>,
    /// Where to listen for peers, as multiaddresses; empty: as last time,
    /// or a free port of the loopback interface.
    pub listen: Vec<String>,
    /// Where to answer people.
    pub http: SocketAddr,
    /// Name and secret of the cluster; peers with another are refused in the handshake.
    pub cluster: String,
    /// The host's name.
    pub name: String,
    /// Settings.
    pub config: Config,
}

/// A node that listens.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Its libp2p id.
    pub peer_id: String,
    /// Where others can join.
    pub addrs: Vec<String>,
    /// Where it answers people.
    pub http: SocketAddr,
}

impl Options {
    /// The cluster's name, without its secret.
    pub(super) fn cluster_name(&self) -> String {
        self.cluster.split('/').next().unwrap_or_default().to_owned()
    }
}
