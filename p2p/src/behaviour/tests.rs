//! A peer of another program, at the same protocols.

use super::*;
use futures::StreamExt;
use libp2p::{
    Multiaddr, Swarm, Transport,
    core::{transport::MemoryTransport, upgrade::Version},
    noise,
    swarm::{self, SwarmEvent},
    yamux,
};
use std::ops::Range;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);
/// The topics that the other peer makes up before it connects: as many as gossipsub reads of one message.
const AT_ONCE: usize = 500;
/// The topics that it makes up afterwards.
const ONE_BY_ONE: usize = 4000;

fn swarm<B: NetworkBehaviour>(key: &Keypair, behaviour: B) -> Swarm<B> {
    let transport = MemoryTransport::default()
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(SOON);
    Swarm::new(transport, behaviour, key.public().to_peer_id(), config)
}

async fn listening<B: NetworkBehaviour>(swarm: &mut Swarm<B>) -> Multiaddr {
    swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return address;
        }
    }
}

/// Gossip as anybody could write it.
fn raw(key: &Keypair, prefix: Option<&'static str>) -> gossipsub::Behaviour {
    let mut config = gossipsub::ConfigBuilder::default();
    config.max_transmit_size(1 << 20);
    if let Some(prefix) = prefix {
        config.protocol_id_prefix(prefix);
    }
    let author = gossipsub::MessageAuthenticity::Signed(key.clone());
    gossipsub::Behaviour::new(author, config.build().unwrap()).unwrap()
}

/// The topics to which a peer is known to subscribe.
fn topics_of(gossip: &Gossip, peer: &PeerId) -> Vec<String> {
    let found = gossip.all_peers().find(|(known, _)| *known == peer);
    found
        .map(|(_, topics)| topics.into_iter().map(|topic| topic.clone().into_string()).collect())
        .unwrap_or_default()
}

#[tokio::test]
async fn a_peer_that_makes_up_topics_is_known_with_none_of_them() {
    for (prefix, own) in [(None, "own"), (Some(DIRECT_PROTOCOL), "own/direct")] {
        let [key, other] = [(); 2].map(|()| Keypair::generate_ed25519());
        let behaviour =
            Behaviour::new(&key, &["own".to_owned()], &["own/direct".to_owned()], (8, 8)).unwrap();
        let mut node = swarm(&key, behaviour);
        let mut peer = swarm(&other, raw(&other, prefix));
        let id = *peer.local_peer_id();
        let make_up = |peer: &mut Swarm<gossipsub::Behaviour>, numbers: Range<usize>| {
            for number in numbers {
                peer.behaviour_mut().subscribe(&IdentTopic::new(format!("made-up/{number}"))).unwrap();
            }
        };
        make_up(&mut peer, 0..AT_ONCE); // they all go into one message once it connects
        peer.dial(listening(&mut node).await).unwrap();
        let mut connected = false;
        let known = async {
            loop {
                tokio::select! {
                    _ = node.select_next_some() => {}
                    event = peer.select_next_some() => {
                        if matches!(event, SwarmEvent::ConnectionEstablished { .. }) {
                            connected = true;
                            make_up(&mut peer, AT_ONCE..AT_ONCE + ONE_BY_ONE); // each goes alone
                            peer.behaviour_mut().subscribe(&IdentTopic::new(own)).unwrap();
                        }
                    }
                }
                let gossip =
                    if prefix.is_some() { &node.behaviour().direct } else { &node.behaviour().gossip };
                let topics = topics_of(gossip, &id);
                if topics.iter().any(|topic| topic == own) {
                    return topics;
                }
            }
        };
        let topics = timeout(SOON, known).await.expect("its last subscription arrives");
        assert!(connected);
        assert_eq!(topics, [own], "{} topics", topics.len());
    }
}
