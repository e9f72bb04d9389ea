//! The task that owns the swarm.
//!
//! Invariant: a peer is used over one connection at a time, and both ends have agreed that this connection is
//! fresh.
//!
//! Gossipsub tells a peer its subscriptions only on the first of several connections (rust-libp2p#5097). One
//! end may believe in a connection that the other end has lost, because its process was killed or a partition
//! dropped the FIN. A new connection beside that one would carry no gossip for ever. A peer dials only when
//! it has no connection, so a second connection always means that one end is wrong, or that both dialled at
//! the same moment. In both cases every connection to that peer is closed, and the peers dial again, the one
//! with the smaller id first. Another process with the same identity is no second connection: `presence`
//! keeps it out.

mod dialling;
mod events;
mod guests;
mod meeting;
mod presence;
mod requests;

use crate::{
    addrs::{Scope, is_loopback, visible},
    behaviour::Behaviour,
    book::Book,
    bootstrap::Bootstrap,
    class::Class,
    drops::Drops,
    error::{EntryRefusal, RequestError},
    gossip::PEERS_TOPIC,
    handle::{BootstrapStatus, GossipMessage, JudgedLetter, PeerInfo, ServiceCommand},
    handshake::Question,
    hello::encode_announce,
    incoming::IncomingRequest,
    keys::KeyRing,
    lobby::Lobby,
    rates::Rates,
};
use futures::StreamExt;
use guests::Guests;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    gossipsub::IdentTopic,
    request_response::OutboundRequestId,
    swarm::{ConnectionId, dial_opts::DialOpts},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::Span;

/// The pause between two announcements of this node's addresses.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(30);
/// The delay of an announcement after a peer has connected, so that peers that connect together share one.
const ANNOUNCE_DELAY: Duration = Duration::from_millis(300);
/// The longest time between two looks at what is due.
const TICK_MAX: Duration = Duration::from_secs(1);
/// How long the peers may take to close their connections at shutdown.
const SHUTDOWN_DEADLINE: Duration = Duration::from_millis(500);

/// The most verdicts about gossip that wait.
const VERDICTS_CAPACITY: usize = 4096;

/// The channels into which the service puts what arrives.
pub(crate) struct Outlets {
    pub(crate) requests: [mpsc::Sender<IncomingRequest>; Class::ALL.len()],
    pub(crate) gossip: mpsc::Sender<GossipMessage>,
    pub(crate) direct: mpsc::Sender<GossipMessage>,
    pub(crate) listen: watch::Sender<Vec<Multiaddr>>,
    pub(crate) peers: watch::Sender<Vec<PeerInfo>>,
    pub(crate) bootstrap: watch::Sender<Vec<BootstrapStatus>>,
    /// The peers that do not let this node in.
    pub(crate) refusals: watch::Sender<BTreeMap<String, EntryRefusal>>,
    /// Where refused connections are counted.
    pub(crate) lobby: Arc<Lobby>,
    /// Where what is dropped is counted.
    pub(crate) drops: Arc<Drops>,
}

/// A connected peer.
struct PeerLink {
    /// The peer's id as text.
    name: String,
    /// The peer must have sent its hello by then.
    hello_by: Instant,
    /// The `boot` and the addresses of the peer's hello.
    hello: Option<(u64, Vec<Multiaddr>)>,
    dialled: Option<Multiaddr>,
    /// The address of the other end, and from where it can be reached.
    ip: IpAddr,
    scope: Scope,
    rtt: Option<Duration>,
    closing: bool,
    in_flight: [usize; Class::ALL.len()],
    /// Names the connection in every log line about it.
    span: Span,
}

struct Pending {
    peer: PeerId,
    reply: oneshot::Sender<Result<Vec<u8>, RequestError>>,
}

/// Who this process is, and what its handshakes ask.
pub(crate) struct Own {
    pub(crate) boot: u64,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) questions: mpsc::Receiver<Question>,
    pub(crate) members_max: usize,
}

pub(crate) struct Service {
    swarm: Swarm<Behaviour>,
    boot: u64,
    keys: Arc<KeyRing>,
    questions: mpsc::Receiver<Question>,
    probes: HashMap<PeerId, presence::Probe>,
    book: Book,
    links: HashMap<PeerId, PeerLink>,
    pending: [HashMap<OutboundRequestId, Pending>; Class::ALL.len()],
    bootstraps: Vec<Bootstrap>,
    direct_topics: Vec<String>,
    bootstrap_dials: HashMap<ConnectionId, usize>,
    lookups: JoinSet<(usize, io::Result<Vec<Multiaddr>>)>,
    announce_at: Instant,
    /// The peers of the members; none while this node does not know them, and then anybody is served.
    members: Option<HashSet<PeerId>>,
    members_max: usize,
    guests: Guests,
    rates: Rates,
    verdicts: (mpsc::Sender<JudgedLetter>, mpsc::Receiver<JudgedLetter>),
    outlets: Outlets,
}

impl Service {
    pub(crate) fn new(
        swarm: Swarm<Behaviour>,
        Own { boot, keys, questions, members_max }: Own,
        bootstraps: Vec<Bootstrap>,
        direct_topics: Vec<String>,
        outlets: Outlets,
    ) -> Self {
        let own = *swarm.local_peer_id();
        Self {
            swarm,
            boot,
            keys,
            questions,
            probes: HashMap::new(),
            book: Book::new(own, members_max),
            links: HashMap::new(),
            pending: Default::default(),
            bootstraps,
            direct_topics,
            bootstrap_dials: HashMap::new(),
            lookups: JoinSet::new(),
            announce_at: Instant::now() + ANNOUNCE_INTERVAL,
            members: None,
            members_max,
            guests: Guests::default(),
            rates: Rates::new(members_max),
            verdicts: mpsc::channel(VERDICTS_CAPACITY),
            outlets,
        }
    }

    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<ServiceCommand>,
        shutdown: CancellationToken,
    ) {
        let mut wake = Instant::now();
        // Whether something happened that may have changed what is due.
        let mut changed = true;
        loop {
            if changed || wake <= Instant::now() {
                self.tick(Instant::now());
                wake = self.next_wake(Instant::now());
            }
            changed = true;
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(command) = commands.recv() => {
                    changed = !command.is_traffic();
                    self.on_command(command);
                }
                event = self.swarm.select_next_some() => {
                    changed = !events::is_traffic(&event);
                    self.on_swarm_event(event);
                }
                Some(Ok((index, found))) = self.lookups.join_next() => self.dial_bootstrap(index, found),
                Some(verdict) = self.verdicts.1.recv() => {
                    changed = false;
                    self.judge(verdict);
                }
                Some(question) = self.questions.recv() => self.on_question(question),
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
        drop(commands);
        self.close().await;
    }

    /// Closes every connection in an orderly way, so that the peers need not wait for pings to fail.
    async fn close(mut self) {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer); // an error means that it is gone already
        }
        let closed = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        let _ = tokio::time::timeout(SHUTDOWN_DEADLINE, closed).await;
        self.outlets.peers.send_replace(Vec::new());
    }

    // --- time ---

    fn next_wake(&self, now: Instant) -> Instant {
        let hellos = self.links.values().filter(|l| !l.closing && l.hello.is_none()).map(|l| l.hello_by);
        let probes = self.probes.values().filter(|probe| probe.request.is_some()).map(|probe| probe.until);
        let times = hellos
            .chain(probes)
            .chain(self.guests.next_due())
            .chain(self.book.next_due())
            .chain(self.bootstraps.iter().filter_map(Bootstrap::next_due))
            .chain([self.announce_at, now + TICK_MAX]);
        times.min().unwrap_or(now)
    }

    fn tick(&mut self, now: Instant) {
        let silent = |l: &PeerLink| !l.closing && l.hello.is_none() && l.hello_by <= now;
        let silent: Vec<PeerId> = self.links.iter().filter(|(_, l)| silent(l)).map(|(p, _)| *p).collect();
        for peer in silent {
            tracing::debug!(%peer, "no hello in time");
            self.disconnect(peer);
        }
        self.close_the_silent(now);
        self.close_the_overdue(now);
        for index in 0..self.bootstraps.len() {
            if self.bootstraps[index].is_due(now) {
                self.approach_bootstrap(index, now);
            }
        }
        for (peer, addrs) in self.book.due(now) {
            let opts = DialOpts::peer_id(peer).addresses(addrs).allocate_new_port().build();
            if let Err(error) = self.swarm.dial(opts) {
                tracing::debug!(%peer, %error, "cannot dial");
                self.book.failed(&peer, now, rand::random());
            }
        }
        if self.announce_at <= now {
            self.announce_at = now + ANNOUNCE_INTERVAL;
            self.announce();
        }
    }

    fn announce(&mut self) {
        let addrs = visible(&self.outlets.listen.borrow(), false);
        if !addrs.is_empty() {
            self.publish(PEERS_TOPIC, encode_announce(&addrs));
        }
    }

    // --- commands of the handles ---

    fn on_command(&mut self, command: ServiceCommand) {
        match command {
            ServiceCommand::Request { class, peer, bytes, reply } => self.request(class, peer, bytes, reply),
            ServiceCommand::Publish { topic, bytes } => self.publish(&topic, bytes),
            ServiceCommand::AddPeer { peer, addrs } => {
                self.book.learn(peer, &self.elsewhere(addrs), true, true, Instant::now())
            }
            ServiceCommand::Members { peers } => self.set_members(peers),
            ServiceCommand::ShutOut { peers } => self.shut_out(peers),
            ServiceCommand::ForgetPeer { peer } => {
                self.book.forget(&peer);
                self.disconnect(peer);
            }
        }
    }

    /// Closes the connections of peers that are newly shut out, and dials none that is.
    fn shut_out(&mut self, peers: HashSet<PeerId>) {
        let newly: Vec<PeerId> = peers.iter().filter(|peer| !self.book.is_shut_out(peer)).copied().collect();
        self.book.shut_out(peers);
        for peer in newly {
            self.disconnect(peer);
        }
        // One that has come in with a newer ticket may be let in again by now, and need not be dialled.
        for (peer, link) in &self.links {
            if !link.closing && !self.book.is_busy(peer) {
                self.book.connected(*peer, Instant::now());
            }
        }
    }

    fn publish(&mut self, topic: &str, bytes: Vec<u8>) {
        let direct = self.direct_topics.iter().any(|known| known == topic);
        let behaviour = self.swarm.behaviour_mut();
        let gossip = if direct { &mut behaviour.direct } else { &mut behaviour.gossip };
        if let Err(error) = gossip.publish(IdentTopic::new(topic), bytes) {
            tracing::trace!(topic, %error, "gossip not sent"); // gossip is a hint: see P2pHandle::publish
        }
    }

    /// The id of a peer as text.
    fn name_of(&self, peer: &PeerId) -> String {
        self.links.get(peer).map_or_else(|| peer.to_string(), |link| link.name.clone())
    }

    /// The span of the connection to a peer; one that is off if the peer is not connected.
    fn span_of(&self, peer: &PeerId) -> Span {
        self.links.get(peer).map_or_else(Span::none, |link| link.span.clone())
    }

    /// The addresses that mean the same host here as at whoever named them. If this node listens on loopback
    /// alone, its cluster is on this host.
    fn elsewhere(&self, mut addrs: Vec<Multiaddr>) -> Vec<Multiaddr> {
        let here = self.outlets.listen.borrow().iter().all(is_loopback);
        let from = if here { Scope::Host } else { Scope::Net };
        addrs.retain(|addr| from.admits(addr));
        addrs
    }

    /// Closes every connection to the peer.
    fn disconnect(&mut self, peer: PeerId) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.closing = true;
        }
        let _ = self.swarm.disconnect_peer_id(peer); // an error means that it is gone already
        self.report_peers();
    }
}
