//! The addresses that a node was given to join with.
//!
//! Invariant: an address is tried for ever, until its peer is connected or it turns out to be this node's
//! own. The peer behind it may be replaced by another, so an address is not tied to an id.

use crate::{
    addrs::transport_part,
    backoff::DialBackoff,
    error::{EntryRefusal, P2pError},
    handle::BootstrapStatus,
};
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use std::{
    io,
    net::IpAddr,
    time::{Duration, Instant},
};

const BACKOFF: DialBackoff = DialBackoff { min: Duration::from_millis(250), max: Duration::from_secs(5) };
/// How long the address book alone dials a peer that was reached and lost, before its bootstrap address is
/// tried.
const BOOK_FIRST: Duration = Duration::from_secs(2);

#[derive(Debug, PartialEq, Eq)]
enum BootstrapState {
    Waiting(Instant),
    Dialling,
    Reached,
    /// The address is this node's own.
    Own,
}

/// One address: an IP address, or a name that is looked up before every dial.
#[derive(Debug)]
pub(crate) struct Bootstrap {
    configured: Multiaddr,
    pub(crate) target: BootstrapTarget,
    pub(crate) peer: Option<PeerId>,
    state: BootstrapState,
    failures: u32,
    last_error: Option<String>,
    refusal: Option<EntryRefusal>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BootstrapTarget {
    Ip(Multiaddr),
    Name { host: String, port: u16, ip: Option<IpVersion> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IpVersion {
    V4,
    V6,
}

impl BootstrapTarget {
    fn parse(addr: &Multiaddr) -> Option<Self> {
        if let Some(ip) = transport_part(addr) {
            return Some(Self::Ip(ip));
        }
        let mut parts = addr.iter();
        let (host, ip) = match parts.next()? {
            Protocol::Dns(host) => (host, None),
            Protocol::Dns4(host) => (host, Some(IpVersion::V4)),
            Protocol::Dns6(host) => (host, Some(IpVersion::V6)),
            _ => return None,
        };
        match (parts.next()?, parts.next(), parts.next()) {
            (Protocol::Tcp(port), None | Some(Protocol::P2p(_)), None) if port != 0 => {
                Some(Self::Name { host: host.into_owned(), port, ip })
            }
            _ => None,
        }
    }

    /// The addresses to dial now, at most 8.
    pub(crate) async fn resolve(self) -> io::Result<Vec<Multiaddr>> {
        match self {
            Self::Ip(addr) => Ok(vec![addr]),
            Self::Name { host, port, ip } => {
                let found = tokio::net::lookup_host((host, port)).await?;
                let wanted = found.filter(|a| match ip {
                    None => true,
                    Some(IpVersion::V4) => a.is_ipv4(),
                    Some(IpVersion::V6) => a.is_ipv6(),
                });
                let to_addr = |ip: IpAddr| Multiaddr::from(ip).with(Protocol::Tcp(port));
                let mut addrs: Vec<_> = wanted.map(|a| to_addr(a.ip())).take(8).collect();
                addrs.dedup();
                Ok(addrs)
            }
        }
    }
}

impl Bootstrap {
    pub(crate) fn new(configured: Multiaddr, now: Instant) -> Result<Self, P2pError> {
        let target =
            BootstrapTarget::parse(&configured).ok_or_else(|| P2pError::Address(configured.clone()))?;
        let peer =
            configured.iter().find_map(|p| if let Protocol::P2p(peer) = p { Some(peer) } else { None });
        Ok(Self {
            configured,
            target,
            peer,
            state: BootstrapState::Waiting(now),
            failures: 0,
            last_error: None,
            refusal: None,
        })
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        matches!(self.state, BootstrapState::Waiting(at) if at <= now)
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        if let BootstrapState::Waiting(at) = self.state { Some(at) } else { None }
    }

    pub(crate) fn dialling(&mut self) {
        self.state = BootstrapState::Dialling;
    }

    pub(crate) fn postpone(&mut self, until: Instant) {
        self.state = BootstrapState::Waiting(until);
    }

    pub(crate) fn reached(&mut self, peer: PeerId) {
        self.peer = Some(peer);
        (self.state, self.failures, self.last_error) = (BootstrapState::Reached, 0, None);
        self.refusal = None;
    }

    pub(crate) fn is_own(&mut self) {
        (self.state, self.failures, self.last_error) = (BootstrapState::Own, 0, None);
        self.refusal = None;
    }

    pub(crate) fn lost(&mut self, now: Instant) {
        if self.state == BootstrapState::Reached {
            self.state = BootstrapState::Waiting(now + BOOK_FIRST);
        }
    }

    pub(crate) fn failed(&mut self, error: String, refusal: Option<EntryRefusal>, now: Instant, chance: f64) {
        self.refusal = refusal;
        self.failures = self.failures.saturating_add(1);
        self.last_error = Some(error);
        self.state = BootstrapState::Waiting(now + BACKOFF.pause(self.failures, chance));
    }

    pub(crate) fn status(&self) -> BootstrapStatus {
        BootstrapStatus {
            addr: self.configured.to_string(),
            reached: matches!(self.state, BootstrapState::Reached | BootstrapState::Own),
            failures: self.failures,
            last_error: self.last_error.clone(),
            refusal: self.refusal.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_join_with() {
        let check = |text: &str, good: bool| {
            let addr: Multiaddr = text.parse().unwrap();
            assert_eq!(Bootstrap::new(addr, Instant::now()).is_ok(), good, "{text}");
        };
        check("/ip4/192.0.2.1/tcp/4001", true);
        check("/ip6/2001:db8::1/tcp/4001", true);
        check("/dns4/node-1.example/tcp/4001", true);
        check("/dns/node-1/tcp/4001/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X", true);
        check("/dns4/node-1.example", false);
        check("/ip4/192.0.2.1/udp/4001/quic-v1", false);
        check("/ip4/192.0.2.1/tcp/0", false);
    }

    #[test]
    fn tried_for_ever_and_told() {
        let now = Instant::now();
        let mut bootstrap = Bootstrap::new("/ip4/192.0.2.1/tcp/1".parse().unwrap(), now).unwrap();
        for n in 1..100 {
            bootstrap.dialling();
            bootstrap.failed("refused".into(), Some(EntryRefusal::UnknownKey), now, 1.0);
            assert_eq!(bootstrap.status().failures, n);
            assert!(bootstrap.next_due().unwrap() - now <= BACKOFF.max.mul_f64(1.25));
        }
        assert_eq!(bootstrap.status().last_error.as_deref(), Some("refused"));
        assert_eq!(bootstrap.status().refusal, Some(EntryRefusal::UnknownKey));
        bootstrap.reached(PeerId::random());
        assert!(bootstrap.status().reached && bootstrap.next_due().is_none());
        assert_eq!(bootstrap.status().refusal, None);
        bootstrap.lost(now);
        assert!(!bootstrap.status().reached && bootstrap.next_due().is_some());
    }
}
