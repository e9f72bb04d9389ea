//! Peers tell each other who they are and whom they know.

use super::{ANNOUNCE_DELAY, Link, Service};
use crate::{
    codec::{Outcome, Response},
    handle::PeerInfo,
    hello::Hello,
};
use libp2p::{
    Multiaddr, PeerId,
    multiaddr::Protocol,
    request_response::{Event as RequestEvent, Message},
};
use std::time::Instant;

impl Service {
    pub(super) fn hello(&self, to: &PeerId) -> Hello {
        let loopback = self.links.get(to).is_some_and(|l| l.loopback);
        let others = self.book.worth_telling().filter(|(peer, _)| peer != to);
        Hello {
            boot: self.boot,
            addrs: visible(&self.outlets.listen.borrow(), loopback),
            known: others.map(|(peer, addrs)| (peer, visible(&addrs, loopback))).collect(),
        }
    }

    pub(super) fn on_hello(&mut self, event: RequestEvent<Vec<u8>, Response>) {
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
    pub(super) fn meet(&mut self, peer: PeerId, hello: Hello) {
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
    pub(super) fn usable(&self, from: &PeerId, addrs: impl Iterator<Item = Multiaddr>) -> Vec<Multiaddr> {
        let loopback = self.links.get(from).is_some_and(|l| l.loopback);
        addrs.filter(|addr| loopback || !is_loopback(addr)).collect()
    }

    pub(super) fn report_peers(&self) {
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
}

/// Addresses to tell a peer: loopback ones only on loopback, or when there are no others.
pub(super) fn visible(addrs: &[Multiaddr], loopback: bool) -> Vec<Multiaddr> {
    let all = loopback || addrs.iter().all(is_loopback);
    addrs.iter().filter(|addr| all || !is_loopback(addr)).cloned().collect()
}

pub(super) fn is_loopback(addr: &Multiaddr) -> bool {
    match addr.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
}
