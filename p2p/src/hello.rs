//! What peers tell each other about peers.
//!
//! Invariant: all that arrives is bounded and parsed here. The rest of the crate sees only valid peer ids and
//! addresses that can be dialled.

use crate::addrs::transport_part;
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

/// The most addresses of one peer, wherever they are told and kept: as many as a cluster notes of a member.
pub const ADDRS_MAX: usize = 16;
/// The most peers that one hello names.
pub(crate) const KNOWN_MAX: usize = 128;
pub(crate) const HELLO_BYTES_MAX: usize = 256 * 1024;
pub(crate) const ANNOUNCE_BYTES_MAX: usize = 8 * 1024;
const ADDR_CHARS_MAX: usize = 200;

pub(crate) const HELLO: u8 = 0x40;
pub(crate) const ANNOUNCE: u8 = 0x41;

/// The first request over a connection, sent by the peer that dialled. The answer is the hello of the other
/// peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// A number that each process draws at random, so that a restart can be seen.
    pub(crate) boot: u64,
    pub(crate) addrs: Vec<Multiaddr>,
    /// Other peers and the addresses on which they listen.
    pub(crate) known: Vec<(PeerId, Vec<Multiaddr>)>,
}

#[derive(Serialize, Deserialize)]
struct HelloFrame {
    boot: u64,
    addrs: Vec<String>,
    known: Vec<(String, Vec<String>)>,
}

impl Hello {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let frame = HelloFrame {
            boot: self.boot,
            addrs: texts(&self.addrs),
            known: self.known.iter().take(KNOWN_MAX).map(|(p, a)| (p.to_string(), texts(a))).collect(),
        };
        // `ADDRS_MAX` addresses of each peer, an IP address and a port each, take about half of the limit.
        wire::encode(HELLO, &frame, HELLO_BYTES_MAX).expect("a hello is bounded")
    }

    /// `None` for bytes that are no hello. Single entries that cannot be used are left out, because a later
    /// version may know kinds of address that this one does not.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let frame: HelloFrame = wire::decode::<_, HELLO_BYTES_MAX>(HELLO, bytes).ok()?;
        Some(Self {
            boot: frame.boot,
            addrs: dialable(&frame.addrs),
            known: (frame.known.iter().take(KNOWN_MAX))
                .filter_map(|(peer, addrs)| Some((peer.parse().ok()?, dialable(addrs))))
                .collect(),
        })
    }
}

/// The gossip message in which a peer announces its addresses.
pub(crate) fn encode_announce(addrs: &[Multiaddr]) -> Vec<u8> {
    wire::encode(ANNOUNCE, &texts(addrs), ANNOUNCE_BYTES_MAX).expect("an announcement is bounded")
}

pub(crate) fn decode_announce(bytes: &[u8]) -> Option<Vec<Multiaddr>> {
    let texts: Vec<String> = wire::decode::<_, ANNOUNCE_BYTES_MAX>(ANNOUNCE, bytes).ok()?;
    Some(dialable(&texts))
}

fn texts(addrs: &[Multiaddr]) -> Vec<String> {
    addrs.iter().map(Multiaddr::to_string).filter(|a| a.len() <= ADDR_CHARS_MAX).take(ADDRS_MAX).collect()
}

fn dialable(texts: &[String]) -> Vec<Multiaddr> {
    let mut addrs = Vec::new();
    for text in texts.iter().take(ADDRS_MAX).filter(|t| t.len() <= ADDR_CHARS_MAX) {
        if let Some(addr) = text.parse().ok().and_then(|addr: Multiaddr| transport_part(&addr))
            && !addrs.contains(&addr)
        {
            addrs.push(addr);
        }
    }
    addrs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn round_trip() {
        let hello = Hello {
            boot: 7,
            addrs: vec![addr("/ip4/10.0.0.1/tcp/4001"), addr("/ip6/::1/tcp/9")],
            known: vec![(PeerId::random(), vec![addr("/ip4/10.0.0.2/tcp/4001")]), (PeerId::random(), vec![])],
        };
        assert_eq!(Hello::decode(&hello.encode()), Some(hello.clone()));
        assert_eq!(decode_announce(&encode_announce(&hello.addrs)), Some(hello.addrs));
    }

    #[test]
    fn a_full_hello_fits() {
        let long = addr("/ip6/2001:db8:1111:2222:3333:4444:5555:6666/tcp/65535");
        let known = (0..200).map(|_| (PeerId::random(), vec![long.clone(); 20])).collect();
        let decoded = Hello::decode(&Hello { boot: 1, addrs: vec![], known }.encode()).unwrap();
        assert_eq!(decoded.known.len(), KNOWN_MAX);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), texts in prop::collection::vec(".{0,30}", 0..20)) {
            prop_assert_eq!(Hello::decode(&bytes), None);
            prop_assert_eq!(decode_announce(&bytes), None);
            let frame = HelloFrame { boot: 0, addrs: texts.clone(), known: texts.iter().map(|t| (t.clone(), texts.clone())).collect() };
            let hello = Hello::decode(&wire::encode(HELLO, &frame, HELLO_BYTES_MAX).unwrap()).unwrap();
            prop_assert!(hello.addrs.len() <= ADDRS_MAX && hello.known.len() <= KNOWN_MAX);
        }
    }
}
