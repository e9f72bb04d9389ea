//! Operators make tickets, and remove members: the others go on.

use crate::support::{Cluster, Peer, QUICK};
use cluster_state::{NodeId, admission::Invitation};
use serde_json::Value;

#[test]
fn an_operator_makes_tickets_and_removes_members() {
    let cluster = Cluster::start(3, QUICK);
    let peer = &cluster.peers[0];
    tickets(peer);
    let (code, members) = peer.ask(&["cluster", "members"]);
    assert_eq!(code, Some(0), "{members}");
    assert_eq!(members[0]["admitted"], "founder", "{members}");
    removal(&cluster);
}

fn list(peer: &Peer, what: &[&str]) -> Vec<Value> {
    let (code, list) = peer.ask(what);
    assert_eq!(code, Some(0), "{list}");
    list.as_array().expect("a list").clone()
}

/// A ticket is one line, is listed without its token, and can be revoked.
fn tickets(peer: &Peer) {
    let made = peer.read(&["cluster", "ticket", "--uses", "2", "--ttl", "10m", "--note", "a rack"]);
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""), "{made:?}");
    let ticket: Invitation = made.stdout.trim_end().parse().expect("a ticket, and only that");
    assert!(ticket.address.contains("/tcp/") && ticket.address.contains("/p2p/"), "{made:?}");
    let listed = list(peer, &["cluster", "ticket", "list"]);
    let ours = listed.iter().find(|it| it["note"] == "a rack").expect("it is listed");
    assert_eq!((ours["state"].as_str(), ours["uses_left"].as_u64()), (Some("valid"), Some(2)), "{ours}");
    let id = ours["id"].as_str().unwrap();
    assert_eq!(id, cluster_state::admission::ticket_id(&ticket.token).to_string());
    let token = ticket.to_string()[ticket.address.len() + "/ticket/".len()..].to_owned();
    assert!(!format!("{listed:?}").contains(&token), "a token is shown once");
    let shown = peer.read(&["cluster", "ticket", "list"]);
    assert!(shown.stdout.contains(id) && shown.stdout.contains("a rack"), "{shown:?}");
    let revoked = peer.read(&["cluster", "ticket", "revoke", id]);
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    assert!(list(peer, &["cluster", "ticket", "list"]).iter().all(|it| it["id"] != id));
    for (args, code) in [
        (&["cluster", "ticket", "revoke", id][..], Some(1)),
        (&["cluster", "ticket", "--uses", "0"], Some(1)),
        (&["cluster", "ticket", "--ttl", "1y"], Some(2)),
        (&["cluster", "ticket", "--ttl", "31d"], Some(1)),
        (&["cluster", "ticket", "--address", "here"], Some(1)),
    ] {
        let refused = peer.read(args);
        assert_eq!((refused.code, refused.stdout.as_str()), (code, ""), "{refused:?}");
    }
}

/// A voter is removed, then banned; two nodes are left, of which one votes.
fn removal(cluster: &Cluster) {
    let peer = &cluster.peers[0];
    for what in ["remove", "ban"] {
        let unasked = peer.read(&["cluster", what, "n3"]);
        assert_eq!(unasked.code, Some(2), "{unasked:?}");
        assert!(unasked.stderr.contains("--yes") && unasked.stderr.contains("drain"), "{unasked:?}");
    }
    let number = || peer.ask(&["cluster", "secret", "show"]).1["number"].as_u64().unwrap();
    let before = number();
    let removed = peer.read(&["cluster", "remove", "n3", "--reason", "sold", "--yes"]);
    assert_eq!(removed.code, Some(0), "{removed:?}");
    for peer in &cluster.peers[..2] {
        peer.until_status("two nodes go on", |status| {
            let leader = status.leader.as_ref().is_some_and(|leader| leader.host != "n3");
            !status.stale && leader && status.nodes.len() == 2 && status.voters.len() == 1
        });
    }
    assert_eq!(number(), before + 1);
    let gone = list(peer, &["cluster", "removed"]);
    assert_eq!((gone.len(), &gone[0]["host"], &gone[0]["banned"]), (1, &"n3".into(), &false.into()));
    assert_eq!(gone[0]["reason"], "ordered: sold");
    let shown = peer.read(&["cluster", "members"]).stdout;
    assert!(shown.contains("REMOVED  n3"), "{shown}");
    // Who is gone can still be banned, by its peer id.
    let peer_id = gone[0]["peer_id"].as_str().unwrap();
    let banned = peer.read(&["cluster", "ban", peer_id, "--yes"]);
    assert_eq!(banned.code, Some(0), "{banned:?}");
    assert_eq!(list(peer, &["cluster", "removed"])[0]["banned"], true);
    // Operators are believed where the cluster says so.
    let believed = peer.read(&["cluster", "operators", "n1"]);
    assert_eq!(believed.code, Some(0), "{believed:?}");
    assert!(believed.stdout.contains("node-1"), "{believed:?}");
    let elsewhere = cluster.peers[1].read(&["cluster", "secret", "rotate"]);
    assert_eq!(elsewhere.code, Some(1), "{elsewhere:?}");
    assert!(elsewhere.stderr.contains("operator"), "{elsewhere:?}");
    assert_eq!(peer.read(&["cluster", "secret", "rotate"]).code, Some(0));
    assert_eq!(number(), before + 2);
    let (_, nodes) = peer.ask(&["cluster", "operators"]);
    assert_eq!(nodes["nodes"], serde_json::json!([NodeId(1)]));
}
