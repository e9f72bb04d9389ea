//! Who becomes a member and who stays one: tickets, the secret, removal, and copied identities.

use crate::support::{Cluster, Peer, QUICK, SOON, until, when};
use cluster_state::admission::Invitation;
use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// A host that plays no games.
const IDLE: &str = "device = \"cpu\"\n[selfplay]\nenabled = false\n";

/// Makes a ticket as an operator does.
fn ticket(of: &Peer, more: &[&str]) -> String {
    let ended = of.read(&[&["cluster", "ticket"][..], more].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = ended.stdout.trim().to_owned();
    assert!(
        text.parse::<Invitation>().is_ok() && !text.contains('\n'),
        "one ticket and nothing else: {ended:?}"
    );
    text
}

fn done(of: &Peer, command: &[&str]) {
    let ended = of.read(command);
    assert_eq!(ended.code, Some(0), "{command:?}: {ended:?}");
}

/// Checks that a host ends with status 2 and an error that has all of `parts`.
fn is_refused(peer: &mut Peer, parts: &[&str]) {
    let (code, error) = peer.ends();
    assert_eq!(code, Some(2), "{}: {error}", peer.name);
    for part in parts {
        assert!(error.contains(part), "{}: {part:?} is not in {error:?}", peer.name);
    }
}

fn hosts(of: &Peer) -> Vec<String> {
    let mut hosts: Vec<String> = of.status().unwrap().nodes.into_iter().map(|node| node.host).collect();
    hosts.sort();
    hosts
}

/// The processes that have run without a break since before.
fn uptimes(cluster: &Cluster) -> Vec<u64> {
    cluster.peers.iter().map(|peer| peer.status().unwrap().uptime_ms).collect()
}

#[test]
fn tickets_admit_and_nothing_else_does_and_who_is_removed_stays_out() {
    let mut cluster = Cluster::start(3, QUICK);
    let began = uptimes(&cluster);
    let mut guest = tickets_that_are_none_admit_nobody(&mut cluster);
    a_removed_member_ends_and_does_not_come_back(&mut cluster, &mut guest);
    a_copied_folder_disturbs_nobody(&mut cluster);
    let now = uptimes(&cluster);
    assert!(now[..2].iter().zip(&began).all(|(now, began)| now > began), "the others never noticed");
    the_secret_changes_while_games_go_on(&mut cluster);
    for peer in &mut cluster.peers {
        let error = peer.log().lines().find(|line| line.contains("ERROR")).map(str::to_owned);
        assert_eq!(peer.stop().1, Some(0), "{error:?}");
    }
}

/// Tickets that were used up, have expired, were revoked, or are forged or another cluster's; returns a host
/// that a good one admitted.
fn tickets_that_are_none_admit_nobody(cluster: &mut Cluster) -> Peer {
    let root = cluster.root.path().to_owned();
    let new = |name: &str| Peer::new(&root, name, IDLE);
    let good = ticket(&cluster.peers[1], &["--uses", "1"]);
    let expired = ticket(&cluster.peers[1], &["--ttl", "1s"]);
    let issued = Instant::now();
    let revoked = ticket(&cluster.peers[1], &[]);
    let list = cluster.peers[0].read(&["cluster", "ticket", "list"]);
    let id = |ticket: &str| {
        let token = ticket.parse::<Invitation>().unwrap().token;
        cluster_state::admission::ticket_id(&token).to_string()
    };
    assert!(list.stdout.contains(&id(&revoked)), "{list:?}");
    done(&cluster.peers[0], &["cluster", "ticket", "revoke", &id(&revoked)]);
    let forged = Invitation { token: [7; 32], ..good.parse().unwrap() }.to_string();
    let mut founder = new("another-founder");
    founder.start(None);
    let address = cluster.peers[0].address();
    let of_another = Invitation { address, token: founder.invitation().token }.to_string();

    let mut guest = new("guest");
    guest.spawn(None, &["--bootstrap", &good]);
    let joined = |peer: &Peer| {
        until("it has joined", SOON, || {
            when(hosts(peer).contains(&"guest".to_owned()), (), || format!("{:?}", hosts(peer)))
        })
    };
    joined(&cluster.peers[0]);
    thread::sleep(Duration::from_millis(1200).saturating_sub(issued.elapsed()));
    let mut refused: Vec<(Peer, &[&str])> = Vec::new();
    for (name, ticket, parts) in [
        ("used-up", &good, &["used up", "ringrift cluster ticket"][..]),
        ("expired", &expired, &["expired", "ringrift cluster ticket"]),
        ("revoked", &revoked, &["does not know our key", "revoked"]),
        ("forged", &forged, &["does not know our key"]),
        ("of-another", &of_another, &["does not know our key", "another cluster"]),
    ] {
        let mut peer = new(name);
        peer.spawn(None, &["--bootstrap", ticket]);
        refused.push((peer, parts));
    }
    for (peer, parts) in &mut refused {
        is_refused(peer, parts);
    }
    assert_eq!(hosts(&cluster.peers[2]), ["guest", "n1", "n2", "n3"]);
    // What admitted it is known; to a member the same ticket is an address and no more.
    let members = cluster.peers[0].read(&["cluster", "members"]);
    assert!(members.stdout.contains(&id(&good)), "{members:?}");
    assert_eq!(guest.stop().1, Some(0));
    guest.spawn(None, &["--bootstrap", &good]);
    guest.until_status("it is back", |status| status.nodes.len() == 4);
    assert_eq!(founder.stop().1, Some(0));
    guest
}

/// Removes what a stubborn user would remove to come back with the same key.
fn forget_the_cluster(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "removed" || name.contains(".db") {
            fs::remove_file(path).unwrap();
        }
    }
}

fn a_removed_member_ends_and_does_not_come_back(cluster: &mut Cluster, guest: &mut Peer) {
    let (root, old) = (cluster.root.path().to_owned(), cluster.peers[0].join_line());
    let secret = |peer: &Peer| fs::read_to_string(peer.folder.join("secret")).unwrap();
    let before = secret(&cluster.peers[0]);
    let began = Instant::now();
    done(&cluster.peers[0], &["cluster", "remove", "guest", "--yes"]);
    is_refused(guest, &["removed from its cluster", "empty --data-dir"]);
    eprintln!("a removed member has ended after {:?}", began.elapsed());
    until("it is no member anywhere, and the secret has changed", SOON, || {
        for peer in &cluster.peers {
            when(hosts(peer) == ["n1", "n2", "n3"], (), || format!("{:?}", hosts(peer)))?;
            when(secret(peer) != before, (), || format!("{} has the old secret", peer.name))?;
        }
        Ok(())
    });
    guest.spawn(None, &[]);
    is_refused(guest, &["removed from its cluster"]);

    // With its key and what it knows: the old secret, and a ticket of before. With a new key and that ticket.
    forget_the_cluster(&guest.folder);
    guest.spawn(Some(&old), &[]);
    let mut renamed = Peer::new(&root, "renamed", IDLE);
    renamed.spawn(Some(&old), &[]);
    is_refused(guest, &["removed from the cluster", "ringrift cluster ticket"]);
    is_refused(&mut renamed, &["does not know our key"]);

    // A ticket that was issued since admits it, until it is banned.
    let ticket = ticket(&cluster.peers[0], &["--uses", "5"]);
    guest.spawn(None, &["--bootstrap", &ticket]);
    guest.until_status("it is back as a new member", |status| status.nodes.len() == 4);
    done(&cluster.peers[0], &["cluster", "ban", "guest", "--yes"]);
    is_refused(guest, &["removed from its cluster"]);
    let ticket = self::ticket(&cluster.peers[0], &[]);
    forget_the_cluster(&guest.folder);
    guest.spawn(None, &["--bootstrap", &ticket]);
    is_refused(guest, &["banned"]);
    assert_eq!(hosts(&cluster.peers[1]), ["n1", "n2", "n3"]);
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

fn a_copied_folder_disturbs_nobody(cluster: &mut Cluster) {
    assert_eq!(cluster.peers[2].stop().1, Some(0));
    let mut copy = Peer::new(cluster.root.path(), "copy", QUICK);
    copy_folder(&cluster.peers[2].folder, &copy.folder);
    // A plain address is enough for a member.
    let address = cluster.peers[0].address();
    cluster.peers[2].spawn(None, &["--bootstrap", &address]);
    cluster.whole();
    let before = cluster.peers[2].status().unwrap();
    let began = Instant::now();
    copy.spawn(None, &[]);
    is_refused(&mut copy, &["another process runs with this node's identity", "--data-dir"]);
    eprintln!("a copy has ended after {:?}", began.elapsed());
    cluster.whole();
    let after = cluster.peers[2].status().unwrap();
    assert!(
        after.uptime_ms > before.uptime_ms && after.term == before.term,
        "{} {}",
        before.term,
        after.term
    );
}

fn the_secret_changes_while_games_go_on(cluster: &mut Cluster) {
    let secret = |peer: &Peer| fs::read_to_string(peer.folder.join("secret")).unwrap();
    let before = secret(&cluster.peers[0]);
    assert_eq!(cluster.peers[2].stop().1, Some(0));
    for _ in 0..2 {
        done(&cluster.peers[1], &["cluster", "secret", "rotate"]);
    }
    let games = cluster.games(0).unwrap();
    until("the others have the new secret", SOON, || {
        let [one, two] = [secret(&cluster.peers[0]), secret(&cluster.peers[1])];
        when(one == two && one != before, (), || "not yet".to_owned())
    });
    assert_eq!(secret(&cluster.peers[2]), before, "it was away");
    cluster.peers[2].start(None);
    cluster.whole();
    until("it has the new one, too, and games go on", SOON, || {
        let same = secret(&cluster.peers[2]) == secret(&cluster.peers[0]);
        let now = cluster.games(0)?;
        when(same && now > games, (), || format!("{same} {games} {now}"))
    });
}
