//! Requests of this node and of its peers.
//!
//! Invariant: only members are served, apart from Raft, which has its own rules. The number of requests under
//! way to one peer is bounded, and every pending request is removed when its answer or its failure arrives.

use super::{Pending, Service};
use crate::{
    class::Class,
    codec::{PendingReply, Responded},
    drops::DropReason,
    error::RequestError,
    incoming::{IncomingRequest, Responder},
};
use libp2p::{
    PeerId,
    request_response::{Event as RequestEvent, Message, OutboundFailure, OutboundRequestId},
};
use tokio::sync::oneshot;

impl Service {
    pub(super) fn request(
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

    /// Whether a peer may ask for this. Raft decides for itself whom it answers, because joining is one of
    /// its requests; everything else is for members, once this node knows them.
    fn may_ask(&self, class: Class, peer: &PeerId) -> bool {
        match class {
            Class::Raft => true,
            Class::Control | Class::Blob => self.is_member(peer),
        }
    }

    pub(super) fn on_request_event(&mut self, class: Class, event: RequestEvent<Vec<u8>, PendingReply>) {
        match event {
            RequestEvent::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                let (answer, later) = oneshot::channel();
                let reply = Responder { class, answer };
                let incoming = IncomingRequest { class, from: self.name_of(&peer), bytes: request, reply };
                let response = if !self.may_ask(class, &peer) {
                    let _in = self.span_of(&peer).entered();
                    tracing::debug!(%peer, ?class, "a request of somebody who is no member is dropped");
                    self.outlets.drops.count(DropReason::RequestOfStranger);
                    PendingReply::Ready(Responded::Dropped)
                } else if self.outlets.requests[class.index()].try_send(incoming).is_ok() {
                    PendingReply::Later(later)
                } else {
                    self.outlets.drops.count(DropReason::RequestInboxFull);
                    PendingReply::Ready(Responded::Busy)
                };
                // An error means that the peer is gone.
                let _ = self.swarm.behaviour_mut().class(class).send_response(channel, response);
            }
            RequestEvent::Message { message: Message::Response { request_id, response }, .. } => {
                let result = match response {
                    PendingReply::Ready(Responded::Answer(bytes)) => Ok(bytes),
                    PendingReply::Ready(Responded::Busy) => Err(RequestError::Busy),
                    PendingReply::Ready(Responded::Dropped) | PendingReply::Later(_) => {
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
                let _in = self.span_of(&peer).entered();
                tracing::trace!(%peer, ?class, %error, "answer not delivered");
            }
            RequestEvent::ResponseSent { .. } => {}
        }
    }

    pub(super) fn finish(
        &mut self,
        class: Class,
        id: OutboundRequestId,
        result: Result<Vec<u8>, RequestError>,
    ) {
        if let Some(pending) = self.pending[class.index()].remove(&id) {
            if let Some(link) = self.links.get_mut(&pending.peer) {
                let in_flight = &mut link.in_flight[class.index()];
                *in_flight = in_flight.saturating_sub(1);
            }
            let _ = pending.reply.send(result); // a caller that gave up needs no answer
        }
    }
}
