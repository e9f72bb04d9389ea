//! Which addresses can be dialled, and which of them are of use to another peer.
//!
//! Invariant: every address that this crate keeps or dials has passed [`transport_part`]; one that another
//! peer named, [`Scope::admits`] as well.

use libp2p::{Multiaddr, multiaddr::Protocol};
use std::net::IpAddr;

/// From where an address can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// From the same host: loopback.
    Host,
    /// From the same cable: link-local. Services of a cloud are there, too.
    Link,
    /// From elsewhere.
    Net,
}

impl Scope {
    /// The scope of an address; none if it is not that of one host.
    #[must_use]
    pub fn of(ip: IpAddr) -> Option<Self> {
        match ip.to_canonical() {
            ip if ip.is_unspecified() || ip.is_multicast() => None,
            ip if ip.is_loopback() => Some(Self::Host),
            IpAddr::V4(ip) if ip.is_broadcast() || ip.octets()[0] == 0 => None,
            IpAddr::V4(ip) if ip.is_link_local() => Some(Self::Link),
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Some(Self::Link),
            IpAddr::V4(_) | IpAddr::V6(_) => Some(Self::Net),
        }
    }

    /// The scope of an address; none if it has no IP address of one host.
    pub(crate) fn of_addr(addr: &Multiaddr) -> Option<Self> {
        match addr.iter().next() {
            Some(Protocol::Ip4(ip)) => Self::of(ip.into()),
            Some(Protocol::Ip6(ip)) => Self::of(ip.into()),
            _ => None,
        }
    }

    /// Whether a peer that is reached in this scope may name an address: `127.0.0.1` of another host is this
    /// one, and not what it means.
    pub(crate) fn admits(self, addr: &Multiaddr) -> bool {
        Self::of_addr(addr).is_some_and(|scope| scope >= self)
    }
}

/// The address without its `/p2p` part, if it is an IP address with a TCP port that is not 0.
pub(crate) fn transport_part(addr: &Multiaddr) -> Option<Multiaddr> {
    let mut parts = addr.iter();
    let host = parts.next()?;
    let port = parts.next()?;
    match (&host, &port, parts.next(), parts.next()) {
        (Protocol::Ip4(ip), Protocol::Tcp(port), None | Some(Protocol::P2p(_)), None)
            if *port != 0 && !ip.is_unspecified() => {}
        (Protocol::Ip6(ip), Protocol::Tcp(port), None | Some(Protocol::P2p(_)), None)
            if *port != 0 && !ip.is_unspecified() => {}
        _ => return None,
    }
    Some(Multiaddr::empty().with(host).with(port))
}

/// The addresses to tell a peer. Loopback addresses are told only to a peer that is connected over loopback,
/// or when there are no others.
pub(crate) fn visible(addrs: &[Multiaddr], loopback: bool) -> Vec<Multiaddr> {
    let all = loopback || addrs.iter().all(is_loopback);
    addrs.iter().filter(|addr| all || !is_loopback(addr)).cloned().collect()
}

pub(crate) fn is_loopback(addr: &Multiaddr) -> bool {
    match addr.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_peer_names_no_address_of_a_narrower_scope_than_its_own() {
        let check = |text: &str, expected: Option<Scope>| {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(Scope::of(ip), expected, "{text}");
            for from in [Scope::Host, Scope::Link, Scope::Net] {
                let admitted = from.admits(&Multiaddr::from(ip).with(Protocol::Tcp(1)));
                assert_eq!(admitted, expected.is_some_and(|scope| scope >= from), "{text} of {from:?}");
            }
        };
        check("127.0.0.1", Some(Scope::Host));
        check("127.8.9.1", Some(Scope::Host));
        check("::1", Some(Scope::Host));
        check("::ffff:127.0.0.1", Some(Scope::Host));
        check("169.254.169.254", Some(Scope::Link));
        check("fe80::1", Some(Scope::Link));
        check("10.0.0.1", Some(Scope::Net));
        check("192.0.2.1", Some(Scope::Net));
        check("2001:db8::1", Some(Scope::Net));
        for nobody in ["0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "ff02::1", "255.255.255.255"] {
            check(nobody, None);
        }
    }

    #[test]
    fn addresses_that_can_be_dialled() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(transport_part(&addr(text)), expected.map(addr), "{text}");
        };
        check("/ip4/1.2.3.4/tcp/5", Some("/ip4/1.2.3.4/tcp/5"));
        check(
            "/ip4/1.2.3.4/tcp/5/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X",
            Some("/ip4/1.2.3.4/tcp/5"),
        );
        check("/ip4/1.2.3.4/tcp/0", None);
        check("/ip4/0.0.0.0/tcp/5", None);
        check("/ip4/1.2.3.4/udp/5/quic-v1", None);
        check("/ip4/1.2.3.4/tcp/5/ws", None);
        check("/dns4/host/tcp/5", None);
        check("/memory/5", None);
    }
}
