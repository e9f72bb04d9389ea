//! Peers find each other through one address, agree on who leads, and keep strangers out.

use crate::support::{Cluster, Peer, QUICK, SOON, until, when};
use cluster_state::admission::{Invitation, ticket_key};
use p2p::{Class, DoorKey, KeyRing, P2p, P2pConfig, P2pHandle, RequestError};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    path::Path,
    time::Duration,
};
use tokio::{runtime::Runtime, task::JoinSet};
use tokio_util::sync::CancellationToken;

#[test]
fn three_peers_form_a_cluster_and_keep_strangers_out() {
    let mut cluster = Cluster::start(3, QUICK);
    agree(&cluster);
    find_each_other(&cluster);
    strangers_are_kept_out(&mut cluster);
    nonsense_is_survived(&mut cluster);
    agree(&cluster);
    let terms = cluster.peers.iter().map(|peer| peer.status().unwrap().term);
    assert!(terms.clone().min() == terms.max(), "one term");
    // The address stays that of this peer.
    let address = cluster.peers[2].address();
    let kept = std::fs::read_to_string(cluster.peers[2].folder.join("addresses.json")).unwrap();
    assert!(kept.contains(&address), "{address} is not in {kept}");
    assert_eq!(cluster.peers[2].interrupt().1, Some(0), "Ctrl-C");
    cluster.peers[2].start(None);
    assert_eq!(cluster.peers[2].address(), address);
    cluster.whole();
    for peer in &mut cluster.peers {
        assert_eq!(peer.stop().1, Some(0), "{}", peer.name);
    }
}

/// Checks that every peer names the same leader and three voters, to programs and to people.
fn agree(cluster: &Cluster) {
    let ask = |peer: &Peer| -> (Value, Value) {
        let (code, status) = peer.ask(&["status"]);
        assert_eq!(code, Some(0), "{status}");
        assert_eq!(status["health"], "HEALTHY", "{status}");
        assert_eq!(status["stale"], false, "{status}");
        assert_eq!(status["voters"], serde_json::json!([1, 2, 3]), "{status}");
        assert_eq!(status["voters_up"], 3, "{status}");
        assert_eq!(status["quorum"], 2, "{status}");
        let (code, report) = peer.ask(&["cluster", "leader"]);
        assert_eq!(code, Some(0), "{report}");
        assert_eq!(report["stale"], false);
        assert_eq!(report["answered_by"], status["answered_by"]);
        assert_eq!((&report["leader"], &report["term"]), (&status["leader"], &status["term"]));
        (status["leader"].clone(), status["answered_by"].clone())
    };
    let answers: Vec<(Value, Value)> = cluster.peers.iter().map(ask).collect();
    let leader = &answers[0].0;
    assert!(answers.iter().all(|(named, _)| named == leader), "{answers:?}");
    let mut speakers: Vec<&str> = answers.iter().map(|(_, by)| by.as_str().unwrap()).collect();
    speakers.sort_unstable();
    assert_eq!(speakers, ["node-1", "node-2", "node-3"]);

    let (node, host) = (leader["node_id"].as_str().unwrap(), leader["host"].as_str().unwrap());
    for peer in &cluster.peers {
        let text = peer.read(&["cluster", "leader"]);
        assert_eq!(text.code, Some(0), "{text:?}");
        assert!(text.stdout.starts_with(&format!("{node} {host} term ")), "{text:?}");
        let text = peer.read(&["status"]);
        assert_eq!(text.code, Some(0), "{text:?}");
        assert!(text.stdout.contains(&format!("leader  {node} {host} for ")), "{text:?}");
        assert!(text.stdout.contains("3/3 voters up (quorum 2)"), "{text:?}");
        for name in ["n1", "n2", "n3", "hex8_2p", "HEALTHY"] {
            assert!(text.stdout.contains(name), "{name}: {text:?}");
        }
    }
}

/// All peers were given one address, and each is connected to each.
fn find_each_other(cluster: &Cluster) {
    for peer in &cluster.peers {
        let status = peer.status().unwrap();
        let mut hosts: Vec<_> = status.nodes.iter().map(|node| node.host.as_str()).collect();
        hosts.sort_unstable();
        assert_eq!(hosts, ["n1", "n2", "n3"]);
        assert!(status.nodes.iter().all(|node| node.connected && node.online), "{:?}", status.nodes);
        assert!(status.nodes.iter().all(|node| !node.addrs.is_empty()), "{:?}", status.nodes);
    }
}

/// A peer with another cluster's name or secret is refused in the handshake; both ends say so.
fn strangers_are_kept_out(cluster: &mut Cluster) {
    let join = cluster.peers[0].join_line();
    let address = cluster.peers[0].address();
    let secret = cluster.root.path().join("secret");
    std::fs::write(&secret, "8d3f1a60b7c94e52a1f07d6c3b9e2854\n").unwrap();
    let before = cluster.peers[0].status().unwrap().refused.p2p;
    let new = |name| Peer::new(cluster.root.path(), name, QUICK);
    let mut others = [new("other-name"), new("other-secret"), new("no-secret")];
    others[0].spawn(Some(&join), &["--cluster", "other"]);
    others[1].spawn(None, &["--bootstrap", &address, "--secret-file", secret.to_str().unwrap()]);
    others[2].spawn(None, &["--bootstrap", &address]);
    until("the member counts who was refused, and logs it", SOON, || {
        let (status, log) = (cluster.peers[0].status()?, cluster.peers[0].log());
        let told = status.refused.p2p >= before + 3 && log.contains("connections refused");
        when(told, (), || format!("{:?}\n{log}", status.refused))
    });
    for peer in &mut others {
        let (code, error) = peer.ends();
        assert_eq!(code, Some(2), "{error}");
        for part in [&address, "does not know our key", "ringrift cluster ticket"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
    }
    assert_eq!(cluster.peers[0].status().unwrap().nodes.len(), 3);
}

/// A process that has a ticket, and sends nonsense instead of joining.
struct Babbler {
    handle: P2pHandle,
    _tasks: JoinSet<()>,
    runtime: Runtime,
}

impl Babbler {
    fn start(folder: &Path, invitation: &Invitation) -> Self {
        let runtime = Runtime::new().unwrap();
        let keys = KeyRing::new("ringrift");
        keys.set(vec![DoorKey::new(ticket_key(&invitation.token))]);
        let config = P2pConfig {
            key_path: folder.join("babbler.key"),
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            bootstrap: vec![invitation.address.parse().unwrap()],
            keys,
            boot: 1,
            topics: vec!["ringrift/events/1".to_owned(), "ringrift/models/1".to_owned()],
            direct_topics: Vec::new(),
            pending_max: 64,
            members_max: 64,
            blob_dir: folder.join("babble"),
        };
        let (handle, tasks) = runtime.block_on(async move {
            let mut tasks = JoinSet::new();
            let (handle, _inbox) = P2p::start(config, &mut tasks, CancellationToken::new()).await.unwrap();
            (handle, tasks)
        });
        Self { handle, _tasks: tasks, runtime }
    }
}

/// A peer refuses and logs bytes that are no handshake, requests that are no requests, and gossip that is no
/// event, and goes on in the same term.
fn nonsense_is_survived(cluster: &mut Cluster) {
    let (socket, invitation) = (cluster.peers[0].socket(), cluster.peers[0].invitation());
    let before = cluster.peers[0].status().unwrap();
    let refused = cluster.peers[0].status().unwrap().refused.p2p;
    let noise: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 4096], &noise] {
        let mut stream = TcpStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        // The peer may hang up before it has read everything.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 4096, "a stranger is not talked to at length");
    }
    until("garbage is counted", SOON, || {
        let now = cluster.peers[0].status()?.refused.p2p;
        when(now >= refused + 3, (), || format!("{now} after {refused}"))
    });

    let babbler = Babbler::start(cluster.root.path(), &invitation);
    let founder = invitation.address.rsplit('/').next().unwrap().to_owned();
    until("the babbler is connected", SOON, || {
        when(babbler.handle.is_connected(&founder), (), || {
            format!("{:?}", *babbler.handle.bootstrap().borrow())
        })
    });
    let framed = wire::encode(0x51, &(99u32, [7u8; 32]), 4096).unwrap();
    for nonsense in [vec![], b"nonsense".to_vec(), vec![0xff; 100_000], framed] {
        let ask = |class| {
            let ask = babbler.handle.request(class, &founder, nonsense.clone(), Duration::from_secs(20));
            babbler.runtime.block_on(ask)
        };
        let answer = ask(Class::Raft);
        assert!(answer.is_ok(), "nonsense has an answer: {answer:?}");
        let dropped = ask(Class::Control);
        assert!(matches!(dropped, Err(RequestError::Failed(_))), "it is no member: {dropped:?}");
    }
    until("malformed requests are logged with their sender, and gossip is counted", SOON, || {
        for topic in ["ringrift/events/1", "ringrift/models/1"] {
            babbler.handle.publish(topic, b"nonsense".to_vec()).unwrap();
        }
        let (log, me) = (cluster.peers[0].log(), babbler.handle.peer_id());
        let told = |what: &str| log.lines().any(|line| line.contains(what) && line.contains(&me));
        let dropped = cluster.peers[0].status()?.refused.gossip.contains_key("stranger");
        let logged = told("a malformed request was refused");
        when(logged && dropped, (), || format!("{logged} {dropped} {log}"))
    });
    let malformed = cluster.peers[0].log().matches("a malformed request was refused").count();
    assert!(malformed >= 4, "all that Raft was asked: {malformed}");
    drop(babbler);
    cluster.whole();
    let after = cluster.peers[0].status().unwrap();
    assert_eq!((after.term, after.nodes.len()), (before.term, 3), "nothing has changed");
    assert!(after.uptime_ms > before.uptime_ms, "the same process");
    assert!(after.failures.is_empty(), "{:?}", after.failures);
}
