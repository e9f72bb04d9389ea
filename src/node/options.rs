//! The options with which a node is started, and what it reports once it listens.

use crate::config::Settings;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The node's data folder.
    pub data_dir: PathBuf,
    /// Addresses at which the node joins. If there are none, it founds a cluster, unless its folder belongs
    /// to one.
    pub bootstrap: Vec<String>,
    /// Multiaddresses at which the node listens for peers. If there are none, it takes those of last time, or
    /// a free port of the loopback interface.
    pub listen: Vec<String>,
    /// Address of the HTTP interface.
    pub http: SocketAddr,
    /// Name of the cluster; peers of another one are refused in the handshake.
    pub cluster: String,
    /// The secret of the cluster, if it was given. A founder that was given none makes one, and then only
    /// tickets admit.
    pub secret: Option<[u8; 32]>,
    /// The tokens of the tickets with which the node joins, unless it is a member.
    pub tickets: Vec<[u8; 32]>,
    /// The ticket that a founder makes for the first hosts.
    pub first_ticket: TicketTerms,
    pub name: String,
    pub config: Settings,
}

/// What a ticket is good for.
#[derive(Clone, Copy, Debug)]
pub struct TicketTerms {
    /// How many nodes it admits.
    pub uses: u32,
    /// How long it does.
    pub ttl: Duration,
}

/// What a node reports once it listens.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The node's libp2p id.
    pub peer_id: String,
    /// Addresses at which others can join.
    pub addrs: Vec<String>,
    /// Address of the HTTP interface.
    pub http: SocketAddr,
    /// Whether the node founds a cluster.
    pub founds: bool,
}

/// What a node has to say to whoever started it.
#[derive(Clone, Debug)]
pub enum Told {
    /// It listens.
    Listens(Ready),
    /// It has founded a cluster that admits with tickets; each of these lets others join, at another of its
    /// addresses.
    Invites(Vec<String>),
}
