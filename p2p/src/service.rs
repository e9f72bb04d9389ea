//! The task that owns the swarm.
//!
//! Invariant: a peer is used over one connection at a time, and both ends have agreed that it is fresh.
//! Gossipsub tells a peer its subscriptions only on the first of several connections (rust-libp2p#5097). If one end
//! believes in a connection that the other has lost (its process was killed, or a partition ate the FIN), a new
//! connection beside it would carry no gossip for ever. A peer dials only when it has no connection, so a second
//! connection always means that one end is wrong, or that both dialled at once. Either way everything to that peer
//! is closed and dialled anew, the smaller id first.

use crate::{
    GOSSIP_BYTES_MAX, PEERS_TOPIC,
    behaviour::{Behaviour, BehaviourEvent, HELLO_TIMEOUT},
    book::Book,
    bootstrap::Bootstrap,
    class::Class,
    codec::{Outcome, Response},
    error::RequestError,
    handle::{BootstrapStatus, Command, GossipMessage, IncomingRequest, PeerInfo, Reply},
    hello::{Hello, decode_announce, encode_announce, transport_part},
};
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::ConnectedPoint,
    gossipsub::{self, IdentTopic, MessageAcceptance},
    identify,
    multiaddr::Protocol,
    ping,
    request_response::{Event as RequestEvent, Message, OutboundFailure, OutboundRequestId},
    swarm::{ConnectionId, DialError, SwarmEvent, dial_opts::DialOpts},
};
use std::{
    collections::HashMap,
    io,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(30);
/// Several peers that connect together are announced to together.
const ANNOUNCE_DELAY: Duration = Duration::from_millis(300);
const TICK_MAX: Duration = Duration::from_secs(1);
const SHUTDOWN_DEADLINE: Duration = Duration::from_millis(500);

/// Where the service puts what it hears.
pub(crate) struct Outlets {
    pub(crate) requests: [mpsc::Sender<IncomingRequest>; Class::ALL.len()],
    pub(crate) gossip: mpsc::Sender<GossipMessage>,
    pub(crate) listen: watch::Sender<Vec<Multiaddr>>,
    pub(crate) peers: watch::Sender<Vec<PeerInfo>>,
    pub(crate) bootstrap: watch::Sender<Vec<BootstrapStatus>>,
}

/// A connected peer.
struct Link {
    /// The peer must have said hello by then.
    hello_by: Instant,
    hello: Option<(u64, Vec<Multiaddr>)>,
    dialled: Option<Multiaddr>,
    /// The other end is this same host.
    loopback: bool,
    rtt: Option<Duration>,
    closing: bool,
    in_flight: [usize; Class::ALL.len()],
}

struct Pending {
    peer: PeerId,
    reply: oneshot::Sender<Result<Vec<u8>, RequestError>>,
}

pub(crate) struct Service {
    swarm: Swarm<Behaviour>,
    boot: u64,
    book: Book,
    links: HashMap<PeerId, Link>,
    pending: [HashMap<OutboundRequestId, Pending>; Class::ALL.len()],
    bootstraps: Vec<Bootstrap>,
    bootstrap_dials: HashMap<ConnectionId, usize>,
    lookups: JoinSet<(usize, io::Result<Vec<Multiaddr>>)>,
    announce_at: Instant,
    outlets: Outlets,
}

impl Service {
    pub(crate) fn new(
        swarm: Swarm<Behaviour>,
        boot: u64,
        bootstraps: Vec<Bootstrap>,
        outlets: Outlets,
    ) -> Self {
        let own = *swarm.local_peer_id();
        Self {
            swarm,

            boot,
            book: Book::new(own),
            links: HashMap::new(),
            pending: Default::default(),
            bootstraps,
            bootstrap_dials: HashMap::new(),
            lookups: JoinSet::new(),
            announce_at: Instant::now() + ANNOUNCE_INTERVAL,
            outlets,
        }
    }

    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>, shutdown: CancellationToken) {
        loop {
            self.tick(Instant::now());
            let wake = self.next_wake(Instant::now());
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(command) = commands.recv() => self.on_command(command),
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                Some(Ok((index, found))) = self.lookups.join_next() => self.dial_bootstrap(index, found),
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
        drop(commands);
        self.close().await;
    }

    /// Tells every peer that we leave, instead of letting them find out.
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
        let hellos = self.links.values().filter(|l| l.hello.is_none()).map(|l| l.hello_by);
        let times = hellos
            .chain(self.book.next_due())
            .chain(self.bootstraps.iter().filter_map(Bootstrap::next_due))
            .chain([self.announce_at, now + TICK_MAX]);
        times.min().unwrap_or(now)
    }

    fn tick(&mut self, now: Instant) {
        let silent = |l: &Link| !l.closing && l.hello.is_none() && l.hello_by <= now;
        let silent: Vec<PeerId> = self.links.iter().filter(|(_, l)| silent(l)).map(|(p, _)| *p).collect();
        for peer in silent {
            tracing::debug!(%peer, "no hello in time");
            self.disconnect(peer);
        }
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

    // --- bootstrap addresses ---

    fn approach_bootstrap(&mut self, index: usize, now: Instant) {
        let bootstrap = &mut self.bootstraps[index];
        if let Some(peer) = bootstrap.peer {
            if self.links.contains_key(&peer) {
                bootstrap.reached(peer);
                return self.report_bootstrap();
            }
            if self.book.is_busy(&peer) {
                return bootstrap.postpone(now + Duration::from_millis(200)); // the book is dialling it
            }
            self.book.dialling(&peer);
        }
        bootstrap.dialling();
        let target = bootstrap.target.clone();
        self.lookups.spawn(async move { (index, target.resolve().await) });
    }

    fn dial_bootstrap(&mut self, index: usize, found: io::Result<Vec<Multiaddr>>) {
        let failures = self.bootstraps[index].status().failures as usize;
        let addr = found.and_then(|addrs| {
            let addr = addrs.get(failures % addrs.len().max(1)).cloned();
            addr.ok_or_else(|| io::Error::other("the name has no address"))
        });
        let dialled = addr.map_err(|e| DialFailure::Error(e.to_string())).and_then(|addr| {
            let opts = DialOpts::unknown_peer_id().address(addr).allocate_new_port().build();
            let id = opts.connection_id();
            self.swarm.dial(opts).map(|()| id).map_err(|e| DialFailure::of(&e))
        });
        match dialled {
            Ok(id) => {
                self.bootstrap_dials.insert(id, index);
            }
            Err(failure) => self.bootstrap_failed(index, failure),
        }
    }

    fn bootstrap_failed(&mut self, index: usize, failure: DialFailure) {
        let now = Instant::now();
        let bootstrap = &mut self.bootstraps[index];
        match failure {
            DialFailure::Own => bootstrap.is_own(),
            DialFailure::Error(error) => {
                tracing::debug!(addr = %bootstrap.status().addr, error, "bootstrap address not reached");
                bootstrap.failed(error, now, rand::random());
                if let Some(peer) = bootstrap.peer {
                    self.book.failed(&peer, now, rand::random());
                }
            }
        }
        self.report_bootstrap();
    }

    fn report_bootstrap(&self) {
        let status: Vec<_> = self.bootstraps.iter().map(Bootstrap::status).collect();
        self.outlets.bootstrap.send_if_modified(|old| {
            let changed = *old != status;
            *old = status;
            changed
        });
    }

    // --- the handle's wishes ---

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Request { class, peer, bytes, reply } => self.request(class, peer, bytes, reply),
            Command::Publish { topic, bytes } => self.publish(&topic, bytes),
            Command::AddPeer { peer, addrs } => self.book.learn(peer, &addrs, true, true, Instant::now()),
            Command::ForgetPeer { peer } => {
                self.book.forget(&peer);
                self.disconnect(peer);
            }
        }
    }

    fn request(
        &mut self,
        class: Class,
        peer: PeerId,
        bytes: Vec<u8>,
        reply: oneshot::Sender<Result<Vec<u8>, RequestError>>,
    ) {
        if reply.is_closed() {
            return; // the caller gave up while this waited
        }
        let refused = match self.links.get_mut(&peer) {
            None => RequestError::NotConnected,
            Some(link) if link.closing => RequestError::NotConnected,
            Some(link) if link.in_flight[class.index()] >= class.per_peer_max() => RequestError::Busy,
            Some(link) => {
                link.in_flight[class.index()] += 1;
                let id = self.swarm.behaviour_mut().class(class).send_request(&peer, bytes);
                self.pending[class.index()].insert(id, Pending { peer, reply });
                return;
            }
        };
        let _ = reply.send(Err(refused)); // a caller that gave up needs no answer
    }

    fn publish(&mut self, topic: &str, bytes: Vec<u8>) {
        if let Err(error) = self.swarm.behaviour_mut().gossip.publish(IdentTopic::new(topic), bytes) {
            tracing::trace!(topic, %error, "gossip not sent"); // gossip is a hint: see P2pHandle::publish
        }
    }

    /// Closes every connection to the peer.
    fn disconnect(&mut self, peer: PeerId) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.closing = true;
        }
        let _ = self.swarm.disconnect_peer_id(peer); // an error means that it is gone already
        self.report_peers();
    }

    // --- what the swarm says ---

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished {
                peer_id, connection_id, endpoint, num_established, ..
            } => {
                self.on_established(peer_id, connection_id, &endpoint, num_established.get());
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "peer disconnected");
                let now = Instant::now();
                self.links.remove(&peer_id);
                self.book.closed(&peer_id, now, rand::random());
                self.bootstraps.iter_mut().filter(|b| b.peer == Some(peer_id)).for_each(|b| b.lost(now));
                self.report_peers();
                self.report_bootstrap();
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.on_dial_error(connection_id, peer_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                self.outlets.listen.send_modify(|addrs| addrs.push(address));
                self.announce_at = Instant::now() + ANNOUNCE_DELAY;
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.outlets.listen.send_modify(|addrs| addrs.retain(|a| *a != address));
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener"),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::error!(?addresses, ?reason, "no longer listening");
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(from = %send_back_addr, %error, "connection refused");
            }
            _ => {} // the rest is told again in other words
        }
    }

    fn on_established(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
        established: u32,
    ) {
        let now = Instant::now();
        let dialled = match endpoint {
            ConnectedPoint::Dialer { address, .. } => transport_part(address),
            ConnectedPoint::Listener { .. } => None,
        };
        if let Some(index) = self.bootstrap_dials.remove(&connection) {
            self.bootstraps[index].reached(peer);
            self.report_bootstrap();
        }
        self.book.connected(peer, now);
        if let Some(addr) = &dialled {
            self.book.learn(peer, std::slice::from_ref(addr), false, true, now);
        }
        if established > 1 {
            tracing::debug!(%peer, "second connection: closing all to begin anew");
            return self.disconnect(peer);
        }
        let loopback = is_loopback(endpoint.get_remote_address());
        let is_dialer = endpoint.is_dialer();
        let link = Link {
            hello_by: now + 2 * HELLO_TIMEOUT,
            hello: None,
            dialled,
            loopback,
            rtt: None,
            closing: false,
            in_flight: [0; Class::ALL.len()],
        };
        self.links.insert(peer, link);
        if is_dialer {
            let hello = self.hello(&peer).encode();
            self.swarm.behaviour_mut().hello.send_request(&peer, hello);
        }
    }

    fn on_dial_error(&mut self, connection: ConnectionId, peer: Option<PeerId>, error: &DialError) {
        if let Some(index) = self.bootstrap_dials.remove(&connection) {
            self.bootstrap_failed(index, DialFailure::of(error));
        } else if let Some(peer) = peer {
            tracing::debug!(%peer, error = describe(error), "peer not reached");
            if let DialError::WrongPeerId { address, .. } | DialError::LocalPeerId { address } = error
                && let Some(addr) = transport_part(address)
            {
                self.book.drop_addr(&peer, &addr);
            }
            self.book.failed(&peer, Instant::now(), rand::random());
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                let acceptance = self.on_gossip(message);
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                gossip.report_message_validation_result(&message_id, &propagation_source, acceptance);
            }
            BehaviourEvent::Gossip(gossipsub::Event::SlowPeer { peer_id, .. }) => {
                tracing::debug!(peer = %peer_id, "gossip to a slow peer was dropped");
            }
            BehaviourEvent::Ping(ping::Event { peer, result, .. }) => match result {
                Ok(rtt) => {
                    if let Some(link) = self.links.get_mut(&peer) {
                        link.rtt = Some(rtt);
                    }
                    self.report_peers();
                }
                // The first failure in a row is not reported, so this is the second.
                Err(error) => {
                    tracing::debug!(%peer, %error, "peer does not answer pings");
                    self.disconnect(peer);
                }
            },
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                let addrs = self.usable(&peer_id, info.listen_addrs.iter().filter_map(transport_part));
                self.book.learn(peer_id, &addrs, false, true, Instant::now());
            }
            BehaviourEvent::Hello(event) => self.on_hello(event),
            BehaviourEvent::Raft(event) => self.on_request_event(Class::Raft, event),
            BehaviourEvent::Control(event) => self.on_request_event(Class::Control, event),
            BehaviourEvent::Blob(event) => self.on_request_event(Class::Blob, event),
            BehaviourEvent::Gossip(_) | BehaviourEvent::Identify(_) => {}
        }
    }

    // --- gossip ---

    fn on_gossip(&mut self, message: gossipsub::Message) -> MessageAcceptance {
        let Some(author) = message.source.filter(|_| message.data.len() <= GOSSIP_BYTES_MAX) else {
            return MessageAcceptance::Reject;
        };
        let topic = message.topic.into_string(); // only of topics we subscribed to, and those bear their names
        if topic == PEERS_TOPIC {
            let Some(addrs) = decode_announce(&message.data) else {
                return MessageAcceptance::Reject;
            };
            self.book.learn(author, &addrs, false, false, Instant::now());
        } else {
            let message = GossipMessage { topic, from: author.to_string(), bytes: message.data };
            if self.outlets.gossip.try_send(message).is_err() {
                tracing::debug!("gossip inbox full: message lost");
            }
        }
        MessageAcceptance::Accept
    }

    // --- hello ---

    fn hello(&self, to: &PeerId) -> Hello {
        let loopback = self.links.get(to).is_some_and(|l| l.loopback);
        let others = self.book.worth_telling().filter(|(peer, _)| peer != to);
        Hello {
            boot: self.boot,
            addrs: visible(&self.outlets.listen.borrow(), loopback),
            known: others.map(|(peer, addrs)| (peer, visible(&addrs, loopback))).collect(),
        }
    }

    fn on_hello(&mut self, event: RequestEvent<Vec<u8>, Response>) {
        match event {
            RequestEvent::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                let Some(hello) = Hello::decode(&request) else { return self.disconnect(peer) };
                let answer = Response::Ready(Outcome::Answer(self.hello(&peer).encode()));
                let _ = self.swarm.behaviour_mut().hello.send_response(channel, answer); // it is gone
                self.meet(peer, hello);
            }
            RequestEvent::Message { peer, message: Message::Response { response, .. }, .. } => {
                let hello = match response {
                    Response::Ready(Outcome::Answer(bytes)) => Hello::decode(&bytes),
                    Response::Ready(Outcome::Busy | Outcome::Dropped) | Response::Later(_) => None,
                };
                match hello {
                    Some(hello) => self.meet(peer, hello),
                    None => self.disconnect(peer),
                }
            }
            RequestEvent::OutboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "no hello");
                self.disconnect(peer);
            }
            RequestEvent::InboundFailure { .. } | RequestEvent::ResponseSent { .. } => {}
        }
    }

    /// A peer has said who it is: from now on it counts as connected.
    fn meet(&mut self, peer: PeerId, hello: Hello) {
        let now = Instant::now();
        let mut addrs = self.usable(&peer, hello.addrs.into_iter());
        let Some(link) = self.links.get_mut(&peer).filter(|l| !l.closing) else { return };
        if let Some(dialled) = &link.dialled
            && !addrs.contains(dialled)
        {
            addrs.insert(0, dialled.clone());
        }
        tracing::debug!(%peer, boot = hello.boot, "peer connected");
        link.hello = Some((hello.boot, addrs.clone()));
        self.book.replace(peer, &addrs, now);
        for (other, addrs) in hello.known {
            let addrs = self.usable(&peer, addrs.into_iter());
            self.book.learn(other, &addrs, false, true, now);
        }
        self.announce_at = self.announce_at.min(now + ANNOUNCE_DELAY);
        self.report_peers();
    }

    /// Loopback addresses mean something only to a peer on this same host.
    fn usable(&self, from: &PeerId, addrs: impl Iterator<Item = Multiaddr>) -> Vec<Multiaddr> {
        let loopback = self.links.get(from).is_some_and(|l| l.loopback);
        addrs.filter(|addr| loopback || !is_loopback(addr)).collect()
    }

    fn report_peers(&self) {
        let info = |(peer, link): (&PeerId, &Link)| {
            let (boot, _) = link.hello.as_ref().filter(|_| !link.closing)?;
            let addrs = self.book.addrs(peer).iter().map(Multiaddr::to_string).collect();
            Some(PeerInfo { peer_id: peer.to_string(), addrs, boot: *boot, rtt: link.rtt })
        };
        let mut peers: Vec<PeerInfo> = self.links.iter().filter_map(info).collect();
        peers.sort_by(|a, b| a.peer_id.cmp(&b.peer_id));
        self.outlets.peers.send_if_modified(|old| {
            let changed = *old != peers;
            *old = peers;
            changed
        });
    }

    // --- requests ---

    fn on_request_event(&mut self, class: Class, event: RequestEvent<Vec<u8>, Response>) {
        match event {
            RequestEvent::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                let (answer, later) = oneshot::channel();
                let reply = Reply { class, answer };
                let incoming = IncomingRequest { class, from: peer.to_string(), bytes: request, reply };
                let response = match self.outlets.requests[class.index()].try_send(incoming) {
                    Ok(()) => Response::Later(later),
                    Err(_) => Response::Ready(Outcome::Busy),
                };
                let _ = self.swarm.behaviour_mut().class(class).send_response(channel, response); // it is gone
            }
            RequestEvent::Message { message: Message::Response { request_id, response }, .. } => {
                let result = match response {
                    Response::Ready(Outcome::Answer(bytes)) => Ok(bytes),
                    Response::Ready(Outcome::Busy) => Err(RequestError::Busy),
                    Response::Ready(Outcome::Dropped) | Response::Later(_) => {
                        Err(RequestError::Failed("peer gave no answer".into()))
                    }
                };
                self.finish(class, request_id, result);
            }
            RequestEvent::OutboundFailure { request_id, error, .. } => {
                let error = match error {
                    OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => {
                        RequestError::NotConnected
                    }
                    OutboundFailure::Timeout => RequestError::Timeout,
                    OutboundFailure::UnsupportedProtocols | OutboundFailure::Io(_) => {
                        RequestError::Failed(error.to_string())
                    }
                };
                self.finish(class, request_id, Err(error));
            }
            RequestEvent::InboundFailure { peer, error, .. } => {
                tracing::trace!(%peer, ?class, %error, "answer not delivered");
            }
            RequestEvent::ResponseSent { .. } => {}
        }
    }

    fn finish(&mut self, class: Class, id: OutboundRequestId, result: Result<Vec<u8>, RequestError>) {
        if let Some(pending) = self.pending[class.index()].remove(&id) {
            if let Some(link) = self.links.get_mut(&pending.peer) {
                let in_flight = &mut link.in_flight[class.index()];
                *in_flight = in_flight.saturating_sub(1);
            }
            let _ = pending.reply.send(result); // a caller that gave up needs no answer
        }
    }
}

/// Addresses to tell a peer: loopback ones only on loopback, or when there are no others.
fn visible(addrs: &[Multiaddr], loopback: bool) -> Vec<Multiaddr> {
    let all = loopback || addrs.iter().all(is_loopback);
    addrs.iter().filter(|addr| all || !is_loopback(addr)).cloned().collect()
}

fn is_loopback(addr: &Multiaddr) -> bool {
    match addr.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
}

/// Why a bootstrap address was not reached.
enum DialFailure {
    Own,
    Error(String),
}

impl DialFailure {
    fn of(error: &DialError) -> Self {
        match error {
            // The swarm leaves out addresses that it listens on itself, and no other was given.
            DialError::NoAddresses | DialError::LocalPeerId { .. } => Self::Own,
            _ => Self::Error(describe(error)),
        }
    }
}

/// A dial's failure in words for people.
fn describe(error: &DialError) -> String {
    let DialError::Transport(causes) = error else { return error.to_string() };
    let deepest = |error: &dyn std::error::Error| {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = cause.to_string();
            source = cause.source();
        }
        text
    };
    let mut words: Vec<String> = causes.iter().map(|(_, cause)| deepest(cause)).collect();
    words.dedup();
    words.join("; ")
}
