//! The exchange of hellos, in which peers tell each other who they are and whom they know.
//!
//! Invariant: a peer counts as connected only after its hello has arrived.

use super::{ANNOUNCE_DELAY, PeerLink, Service};
use crate::{
    addrs::{Scope, visible},
    codec::{PendingReply, Responded},
    handle::PeerInfo,
    hello::{ADDRS_MAX, Hello},
};
use libp2p::{
    Multiaddr, PeerId,
    request_response::{Event as RequestEvent, Message},
};
use std::time::Instant;

impl Service {
    pub(super) fn hello(&self, to: &PeerId) -> Hello {
        let loopback = self.links.get(to).is_some_and(|l| l.scope == Scope::Host);
        let others = self.book.worth_telling().filter(|(peer, _)| peer != to && self.is_member(peer));
        Hello {
            boot: self.boot,
            addrs: visible(&self.outlets.listen.borrow(), loopback),
            known: others.map(|(peer, addrs)| (peer, visible(&addrs, loopback))).collect(),
        }
    }

    pub(super) fn on_hello(&mut self, event: RequestEvent<Vec<u8>, PendingReply>) {
        match event {
            RequestEvent::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                let Some(hello) = Hello::decode(&request) else { return self.disconnect(peer) };
                let answer = PendingReply::Ready(Responded::Answer(self.hello(&peer).encode()));
                // An error means that the peer is gone.
                let _ = self.swarm.behaviour_mut().hello.send_response(channel, answer);
                self.meet(peer, hello);
            }
            RequestEvent::Message { peer, message: Message::Response { request_id, response }, .. } => {
                let hello = match response {
                    PendingReply::Ready(Responded::Answer(bytes)) => Hello::decode(&bytes),
                    PendingReply::Ready(Responded::Busy | Responded::Dropped) | PendingReply::Later(_) => {
                        None
                    }
                };
                match hello {
                    Some(hello) => {
                        self.shows_life(peer, request_id, hello.boot);
                        self.meet(peer, hello);
                    }
                    None => self.disconnect(peer),
                }
            }
            RequestEvent::OutboundFailure { peer, error, .. } => {
                let _in = self.span_of(&peer).entered();
                tracing::debug!(%peer, %error, "no hello");
                self.disconnect(peer);
            }
            RequestEvent::InboundFailure { .. } | RequestEvent::ResponseSent { .. } => {}
        }
    }

    /// Takes the hello of a peer, which counts as connected from now on.
    pub(super) fn meet(&mut self, peer: PeerId, hello: Hello) {
        let now = Instant::now();
        let mut addrs = self.usable(&peer, hello.addrs.into_iter());
        let Some(link) = self.links.get_mut(&peer).filter(|l| !l.closing) else { return };
        if let Some(dialled) = &link.dialled
            && !addrs.contains(dialled)
        {
            addrs.insert(0, dialled.clone());
            addrs.truncate(ADDRS_MAX);
        }
        link.span.in_scope(|| tracing::debug!(%peer, boot = hello.boot, "peer connected"));
        link.hello = Some((hello.boot, addrs.clone()));
        self.forget_refusal(&peer);
        self.book.replace(peer, &addrs, now);
        for (other, addrs) in hello.known {
            if !self.is_member(&other) {
                continue; // if it becomes one, the cluster will name it
            }
            let addrs = self.usable(&peer, addrs.into_iter());
            self.book.hear_of(other, &addrs, peer, now);
        }
        self.announce_at = self.announce_at.min(now + ANNOUNCE_DELAY);
        self.report_peers();
    }

    /// Leaves out addresses of a narrower scope than that of the peer that named them.
    pub(super) fn usable(&self, from: &PeerId, addrs: impl Iterator<Item = Multiaddr>) -> Vec<Multiaddr> {
        let scope = self.links.get(from).map_or(Scope::Net, |link| link.scope);
        addrs.filter(|addr| scope.admits(addr)).collect()
    }

    pub(super) fn report_peers(&self) {
        let info = |(peer, link): (&PeerId, &PeerLink)| {
            let (boot, _) = link.hello.as_ref().filter(|_| !link.closing)?;
            let addrs = self.book.addrs(peer).iter().map(Multiaddr::to_string).collect();
            Some(PeerInfo {
                peer_id: peer.to_string(),
                addrs,
                boot: *boot,
                local: link.scope == Scope::Host,
                rtt: link.rtt,
            })
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
