//! Two processes with one identity: whoever is connected and alive stays, and the other is turned away.
//!
//! Invariant: while a process answers under the id of a peer, no other process comes in under it. A process
//! that does not answer within [`PROBE`] is closed first, so a restart after a loss of power is no duplicate.

use super::Service;
use crate::handshake::Question;
use libp2p::{PeerId, request_response::OutboundRequestId};
use std::time::{Duration, Instant};

/// How long the connected process may take to show that it is alive. The handshake of the newcomer lasts that
/// long, too, and has a timeout of its own.
const PROBE: Duration = Duration::from_secs(2);
/// The most newcomers that wait under one id. More are turned away.
const WAITING_MAX: usize = 8;

/// A connected process that has to show that it is alive.
pub(super) struct Probe {
    /// The hello to which it has to answer; none while its connection closes.
    pub(super) request: Option<OutboundRequestId>,
    pub(super) until: Instant,
    waiting: Vec<Question>,
}

impl Service {
    /// Answers whether a process may come in, now or once the connected one has spoken.
    pub(super) fn on_question(&mut self, question: Question) {
        let peer = question.peer;
        if peer == *self.swarm.local_peer_id() {
            let _ = question.answer.send(question.boot == self.boot); // a dialler that gave up needs no answer
            return;
        }
        let link = self.links.get(&peer);
        let same =
            |link: &super::PeerLink| link.hello.as_ref().is_some_and(|(boot, _)| *boot == question.boot);
        let Some(link) = link.filter(|link| !same(link)) else {
            let _ = question.answer.send(true);
            return;
        };
        let closing = link.closing;
        if let Some(probe) = self.probes.get_mut(&peer) {
            let newcomer = if probe.waiting.len() < WAITING_MAX { &mut probe.waiting } else { return };
            newcomer.push(question);
            return;
        }
        let request = (!closing).then(|| {
            let hello = self.hello(&peer).encode();
            self.swarm.behaviour_mut().hello.send_request(&peer, hello)
        });
        let probe = Probe { request, until: Instant::now() + PROBE, waiting: vec![question] };
        self.probes.insert(peer, probe);
    }

    /// The connected process has answered a hello: those that wait under its id are other processes, unless
    /// it has dialled twice.
    pub(super) fn shows_life(&mut self, peer: PeerId, request: OutboundRequestId, boot: u64) {
        if self.probes.get(&peer).is_some_and(|probe| probe.request == Some(request))
            && let Some(probe) = self.probes.remove(&peer)
        {
            for question in probe.waiting {
                if question.boot != boot {
                    tracing::warn!(%peer, "a second process with the identity of this peer was refused");
                }
                let _ = question.answer.send(question.boot == boot);
            }
        }
    }

    /// The last connection of the process has ended, so another may come in.
    pub(super) fn has_left(&mut self, peer: &PeerId) {
        for question in self.probes.remove(peer).map(|probe| probe.waiting).unwrap_or_default() {
            let _ = question.answer.send(true);
        }
    }

    /// Closes the processes that have not shown in time that they are alive.
    pub(super) fn close_the_silent(&mut self, now: Instant) {
        let silent = |probe: &Probe| probe.request.is_some() && probe.until <= now;
        let silent: Vec<PeerId> = self.probes.iter().filter(|(_, p)| silent(p)).map(|(p, _)| *p).collect();
        for peer in silent {
            tracing::debug!(%peer, "no sign of life while another process waits: closed");
            if let Some(probe) = self.probes.get_mut(&peer) {
                probe.request = None;
            }
            self.disconnect(peer);
        }
    }
}
