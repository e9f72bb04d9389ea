//! Which addresses can be dialled, and which of them are of use to another peer.
//!
//! Invariant: every address that this crate keeps or dials has passed [`transport_part`].

use libp2p::{Multiaddr, multiaddr::Protocol};

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
