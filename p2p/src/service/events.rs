//! What the swarm reports: connections, gossip, pings and requests.

use super::{ANNOUNCE_DELAY, PeerLink, Service};
use crate::{
    addrs::{Scope, transport_part},
    behaviour::{BehaviourEvent, HELLO_TIMEOUT},
    class::Class,
    door::ip,
    drops::DropReason,
    gossip::{GOSSIP_BYTES_MAX, PEERS_TOPIC},
    handle::{GossipMessage, JudgedLetter, Judgement, Letter},
    hello::decode_announce,
};
use libp2p::{
    PeerId,
    core::ConnectedPoint,
    gossipsub::{self, MessageAcceptance},
    identify, ping,
    swarm::{ConnectionId, ListenError, SwarmEvent},
};
use std::time::Instant;

/// Whether an event is of the traffic between peers, which changes nothing that is due at some time.
pub(super) fn is_traffic(event: &SwarmEvent<BehaviourEvent>) -> bool {
    match event {
        SwarmEvent::Behaviour(event) => match event {
            BehaviourEvent::Gossip(gossipsub::Event::Message { message, .. }) => {
                message.topic.as_str() != PEERS_TOPIC
            }
            BehaviourEvent::Gossip(_)
            | BehaviourEvent::Direct(_)
            | BehaviourEvent::Raft(_)
            | BehaviourEvent::Control(_)
            | BehaviourEvent::Blob(_) => true,
            BehaviourEvent::Limits(_)
            | BehaviourEvent::Ping(_)
            | BehaviourEvent::Identify(_)
            | BehaviourEvent::Hello(_) => false,
        },
        _ => false,
    }
}

impl Service {
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished {
                peer_id, connection_id, endpoint, num_established, ..
            } => {
                self.on_established(peer_id, connection_id, &endpoint, num_established.get());
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                let _in = self.span_of(&peer_id).entered();
                tracing::debug!(peer = %peer_id, ?cause, "peer disconnected");
                let now = Instant::now();
                self.links.remove(&peer_id);
                self.has_left(&peer_id);
                self.book.closed(&peer_id, now, rand::random());
                self.guest_has_left(&peer_id);
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
            SwarmEvent::ListenerError { error, .. } => self.outlets.lobby.refuse(&"nobody", &error),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::error!(?addresses, ?reason, "no longer listening");
            }
            // The door has counted it.
            SwarmEvent::IncomingConnectionError { error: ListenError::Transport(_), .. } => {}
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                self.outlets.lobby.refuse(&send_back_addr, &error);
            }
            _ => {} // libp2p's enum is open; its other events repeat what these say
        }
    }

    pub(super) fn on_established(
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
        if !self.keys.may_come(&peer) {
            return self.disconnect(peer); // it was shut out during its handshake
        }
        if established > 1 {
            let _in = self.span_of(&peer).entered();
            tracing::debug!(%peer, "second connection: all are closed, and dialled again");
            return self.disconnect(peer);
        }
        let remote = endpoint.get_remote_address();
        let scope = Scope::of_addr(remote).unwrap_or(Scope::Net);
        let is_dialer = endpoint.is_dialer();
        let link = PeerLink {
            name: peer.to_string(),
            hello_by: now + 2 * HELLO_TIMEOUT,
            hello: None,
            dialled,
            ip: ip(remote),
            scope,
            rtt: None,
            closing: false,
            in_flight: [0; Class::ALL.len()],
            span: tracing::debug_span!("connection", %peer, %connection, dialler = is_dialer),
        };
        self.links.insert(peer, link);
        if !self.receive(peer, now) {
            return;
        }
        if is_dialer {
            let hello = self.hello(&peer).encode();
            self.swarm.behaviour_mut().hello.send_request(&peer, hello);
        }
    }

    pub(super) fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                let letter = Letter { id: message_id, source: propagation_source, direct: false };
                self.on_gossip(letter, message);
            }
            BehaviourEvent::Direct(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                let letter = Letter { id: message_id, source: propagation_source, direct: true };
                self.on_direct(letter, message);
            }
            BehaviourEvent::Gossip(gossipsub::Event::SlowPeer { peer_id, .. })
            | BehaviourEvent::Direct(gossipsub::Event::SlowPeer { peer_id, .. }) => {
                tracing::debug!(peer = %peer_id, "gossip to a slow peer was dropped");
            }
            BehaviourEvent::Ping(ping::Event { peer, result, .. }) => match result {
                Ok(rtt) => {
                    if let Some(link) = self.links.get_mut(&peer) {
                        link.rtt = Some(rtt);
                    }
                    self.report_peers();
                }
                // libp2p does not report the first failure in a row, so this is the second.
                Err(error) => {
                    let _in = self.span_of(&peer).entered();
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
            BehaviourEvent::Gossip(_) | BehaviourEvent::Direct(_) | BehaviourEvent::Identify(_) => {}
        }
    }

    /// Takes a message on a direct topic. Its author sends it to each peer, so it goes no further, and from
    /// any other peer it is forged.
    fn on_direct(&mut self, letter: Letter, message: gossipsub::Message) {
        let direct = &mut self.swarm.behaviour_mut().direct;
        direct.report_message_validation_result(&letter.id, &letter.source, MessageAcceptance::Ignore);
        if self.is_of_stranger(&letter) {
            return;
        }
        if !is_authors_own(letter.source, &message) {
            self.outlets.drops.count(DropReason::GossipMalformed);
            return self.judge(JudgedLetter { letter, judgement: Judgement::Reject });
        }
        let author = letter.source;
        self.deliver(letter, message.topic.into_string(), author, message.data);
    }

    /// Hands a message to this node, which judges it; if its author said too much or the inbox is full, the
    /// message is lost.
    fn deliver(&mut self, letter: Letter, topic: String, author: PeerId, bytes: Vec<u8>) {
        let lost = JudgedLetter { letter: letter.clone(), judgement: Judgement::Ignore };
        if self.book.is_shut_out(&author) {
            self.outlets.drops.count(DropReason::GossipShutOut);
            return self.judge(lost); // a member that does not know it yet has passed it on
        }
        if !self.rates.allow(author, Instant::now()) {
            tracing::debug!(%author, "more gossip than an author may send");
            self.outlets.drops.count(DropReason::GossipRate);
            return self.judge(lost);
        }
        let outlet = if letter.direct { &self.outlets.direct } else { &self.outlets.gossip };
        let verdicts = self.verdicts.0.clone();
        let message = GossipMessage { topic, from: self.name_of(&author), bytes, letter, verdicts };
        if outlet.try_send(message).is_err() {
            tracing::debug!("gossip inbox full: message lost");
            self.outlets.drops.count(DropReason::GossipInboxFull);
            self.judge(lost);
        }
    }

    pub(super) fn on_gossip(&mut self, letter: Letter, message: gossipsub::Message) {
        if self.is_of_stranger(&letter) {
            return;
        }
        let Some(author) = message.source.filter(|_| message.data.len() <= GOSSIP_BYTES_MAX) else {
            self.outlets.drops.count(DropReason::GossipMalformed);
            return self.judge(JudgedLetter { letter, judgement: Judgement::Reject });
        };
        let topic = message.topic.into_string(); // this node subscribed to it, and its hash is its name
        if topic == PEERS_TOPIC {
            let judgement = self.on_announce(author, &message.data);
            return self.judge(JudgedLetter { letter, judgement });
        }
        self.deliver(letter, topic, author, message.data);
    }

    /// Whether a message comes from somebody who is no member, and so is lost.
    fn is_of_stranger(&mut self, letter: &Letter) -> bool {
        let is_stranger = !self.is_member(&letter.source);
        if is_stranger {
            self.outlets.drops.count(DropReason::GossipOfStranger);
            self.judge(JudgedLetter { letter: letter.clone(), judgement: Judgement::Ignore });
        }
        is_stranger
    }

    /// Takes the addresses that a peer announces. They go on only if it is known as a member.
    fn on_announce(&mut self, author: PeerId, bytes: &[u8]) -> Judgement {
        let Some(addrs) = decode_announce(bytes) else { return Judgement::Reject };
        let now = Instant::now();
        match &self.members {
            Some(members) if !members.contains(&author) => Judgement::Ignore,
            _ if self.book.is_shut_out(&author) => Judgement::Ignore,
            _ if !self.rates.allow(author, now) => Judgement::Ignore,
            members => {
                let judgement = if members.is_some() { Judgement::Accept } else { Judgement::Ignore };
                self.book.learn(author, &self.elsewhere(addrs), false, false, now);
                judgement
            }
        }
    }

    /// Tells gossipsub what became of a message. It has forgotten a direct one already, which has to be no
    /// more than its author's: who sends wrong ones is heard less.
    pub(super) fn judge(
        &mut self,
        JudgedLetter { letter: Letter { id, source, direct }, judgement }: JudgedLetter,
    ) {
        if direct {
            if judgement == Judgement::Reject {
                self.rates.fine(source, Instant::now());
            }
            return;
        }
        let acceptance = match judgement {
            Judgement::Accept => MessageAcceptance::Accept,
            Judgement::Ignore => MessageAcceptance::Ignore,
            Judgement::Reject => MessageAcceptance::Reject,
        };
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(&id, &source, acceptance);
    }
}

/// Whether a direct message comes from the peer that it names as its author, and is not too large.
fn is_authors_own(from: PeerId, message: &gossipsub::Message) -> bool {
    message.source == Some(from) && message.data.len() <= GOSSIP_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_message_is_its_authors_own() {
        let [one, other] = [PeerId::random(), PeerId::random()];
        let own = |source, bytes| {
            let topic = gossipsub::IdentTopic::new("events").hash();
            let message = gossipsub::Message { source, data: vec![0; bytes], sequence_number: None, topic };
            is_authors_own(one, &message)
        };
        assert!(own(Some(one), 0) && own(Some(one), GOSSIP_BYTES_MAX));
        assert!(!own(Some(other), 5), "said in the name of another");
        assert!(!own(None, 5), "nobody's");
        assert!(!own(Some(one), GOSSIP_BYTES_MAX + 1), "too large");
    }
}
