//! Dials that fail, and the bootstrap addresses.

use super::Service;
use crate::{addrs::transport_part, bootstrap::Bootstrap, error::EntryRefusal, handshake::HandshakeError};
use libp2p::{
    Multiaddr, PeerId,
    swarm::{ConnectionId, DialError, dial_opts::DialOpts},
};
use std::{
    io,
    time::{Duration, Instant},
};

/// The pause before a bootstrap address is looked at again whose peer is shut out.
const SHUT_OUT_PAUSE: Duration = Duration::from_secs(5);

impl Service {
    pub(super) fn approach_bootstrap(&mut self, index: usize, now: Instant) {
        let bootstrap = &mut self.bootstraps[index];
        if let Some(peer) = bootstrap.peer {
            if self.book.is_shut_out(&peer) {
                return bootstrap.postpone(now + SHUT_OUT_PAUSE);
            }
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

    pub(super) fn dial_bootstrap(&mut self, index: usize, found: io::Result<Vec<Multiaddr>>) {
        let failures = self.bootstraps[index].status().failures as usize;
        let addr = found.and_then(|addrs| {
            let addr = addrs.get(failures % addrs.len().max(1)).cloned();
            addr.ok_or_else(|| io::Error::other("the name has no address"))
        });
        let dialled = addr.map_err(|e| DialFailure::Error(e.to_string(), None)).and_then(|addr| {
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

    pub(super) fn bootstrap_failed(&mut self, index: usize, failure: DialFailure) {
        let now = Instant::now();
        let bootstrap = &mut self.bootstraps[index];
        match failure {
            DialFailure::Own => bootstrap.is_own(),
            DialFailure::Error(error, refusal) => {
                tracing::debug!(addr = %bootstrap.status().addr, error, "bootstrap address not reached");
                bootstrap.failed(error, refusal, now, rand::random());
                if let Some(peer) = bootstrap.peer {
                    self.book.failed(&peer, now, rand::random());
                }
            }
        }
        self.report_bootstrap();
    }

    pub(super) fn report_bootstrap(&self) {
        let status: Vec<_> = self.bootstraps.iter().map(Bootstrap::status).collect();
        self.outlets.bootstrap.send_if_modified(|old| {
            let changed = *old != status;
            *old = status;
            changed
        });
    }

    pub(super) fn on_dial_error(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        error: &DialError,
    ) {
        if let Some(HandshakeError::Refused { peer: Some(peer), refusal }) = handshake_error(error) {
            self.note_refusal(peer, refusal);
        }
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

    /// Notes that a peer does not let this node in.
    fn note_refusal(&self, peer: &PeerId, refusal: &EntryRefusal) {
        self.outlets.refusals.send_if_modified(|all| {
            let peer = peer.to_string();
            let room = all.len() < self.members_max || all.contains_key(&peer);
            room && all.insert(peer, refusal.clone()).as_ref() != Some(refusal)
        });
    }

    pub(super) fn forget_refusal(&self, peer: &PeerId) {
        self.outlets.refusals.send_if_modified(|all| all.remove(&peer.to_string()).is_some());
    }
}

/// Why a bootstrap address was not reached.
pub(super) enum DialFailure {
    Own,
    Error(String, Option<EntryRefusal>),
}

impl DialFailure {
    fn of(error: &DialError) -> Self {
        match error {
            // The swarm leaves out the addresses on which it listens itself, and no other was given.
            DialError::NoAddresses | DialError::LocalPeerId { .. } => Self::Own,
            _ => {
                let refusal = match handshake_error(error) {
                    Some(HandshakeError::Refused { refusal, .. }) => Some(refusal.clone()),
                    Some(_) | None => None,
                };
                Self::Error(describe(error), refusal)
            }
        }
    }
}

/// What went wrong in the handshake, if that is why a dial failed.
fn handshake_error(error: &DialError) -> Option<&HandshakeError> {
    let DialError::Transport(causes) = error else { return None };
    causes.iter().find_map(|(_, cause)| inside(cause))
}

/// The error of the handshake inside another.
fn inside<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a HandshakeError> {
    let mut error = Some(error);
    while let Some(this) = error {
        if let Some(found) = this.downcast_ref() {
            return Some(found);
        }
        // The source of an error of I/O is that of the error within.
        let within = this.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        error = match within {
            Some(within) => Some(within as &(dyn std::error::Error + 'static)),
            None => this.source(),
        };
    }
    None
}

/// The failure of a dial as text: the deepest cause of each address that was tried.
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
