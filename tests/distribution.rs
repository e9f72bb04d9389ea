//! Content gets to peers that the swarm does not serve: over HTTP, and by an operator's command.

use crate::support::{Cluster, Peer, QUICK, SOON, until, when};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};
use wire::Hash;

const KEY: &str = "hex8_2p";
const GAMES: &str = "
selfplay_threads = 1
[selfplay]
simulations = 4
parallel_games = 4
segment_games = 8
segment_seconds = 1
";

/// Makes a request as an operator's proxy would. Returns the status line and the headers in small letters,
/// and the body.
fn request(peer: &Peer, path: &str, headers: &str) -> (String, Vec<u8>) {
    let status = peer.status().expect("it answers");
    let me = status.nodes.iter().find(|node| node.node_id == status.answered_by).expect("itself");
    let address = me.http.strip_prefix("http://").expect("an address").to_owned();
    let mut stream = TcpStream::connect(&address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let text = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(text.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    (String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer.split_off(end + 4))
}

/// Waits until a peer has fetched so many contents in this way.
fn brought(peer: &Peer, way: fn(&ringrift::api::activity::TransferActivity) -> u64, least: u64) {
    until(&format!("{} has brought {least}", peer.name), 2 * SOON, || {
        let status = peer.status()?;
        let transfers = &status.work.transfers;
        when(way(transfers) >= least, (), || format!("{transfers:?}"))
    });
}

#[test]
fn peers_without_a_swarm_get_segments_and_models_over_http_or_by_a_command() {
    // The swarm serves none of the three peers: whatever one has of another came over HTTP.
    let settings = format!("{QUICK}[distribution]\nswarm = false\n");
    let mut cluster = Cluster::start(3, &settings);
    for peer in &cluster.peers {
        brought(peer, |transfers| transfers.http, 2);
    }
    // Segments are acknowledged and trained on, and every peer has the candidate.
    let candidate = until("a candidate everywhere", 3 * SOON, || {
        let events = cluster.peers[0].events();
        let trained = events.iter().find(|(name, _)| name == "TRAINING_COMPLETED");
        let (_, trained) = trained.ok_or("no candidate yet")?;
        let model: Hash = trained["model_id"].as_str().unwrap_or_default().parse().expect("a hash");
        let lacks = cluster.peers.iter().find(|peer| !peer.folder.join(format!("blobs/{model}")).exists());
        lacks.map_or(Ok(model), |peer| Err(format!("{} lacks it", peer.name)))
    });
    for peer in &cluster.peers {
        let transfers = peer.status().expect("it answers").work.transfers;
        assert_eq!(transfers.swarm, 0, "{transfers:?}");
    }
    let bytes = fs::read(cluster.peers[0].folder.join(format!("blobs/{candidate}"))).expect("it is here");
    assert_eq!(Hash::of(&bytes), candidate);

    // Anybody may ask for these.
    let path = format!("/v1/blobs/{candidate}");
    let check = |path: &str, headers: &str, status: &str, told: &[String], body: Option<&[u8]>| {
        let (head, answer) = request(&cluster.peers[1], path, headers);
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{path} {headers}: {head}");
        told.iter().for_each(|told| assert!(head.contains(told), "{told}: {head}"));
        assert!(body.is_none_or(|body| body == answer), "{path} {headers}: {} bytes", answer.len());
    };
    let (size, tag) = (bytes.len(), format!("etag: \"{candidate}\""));
    check(&path, "", "200", &[format!("content-length: {size}"), tag.clone()], Some(&bytes));
    let part = [format!("content-range: bytes 100-299/{size}"), "content-length: 200".into(), tag];
    check(&path, "range: bytes=100-299\r\n", "206", &part, Some(&bytes[100..300]));
    let outside = [format!("content-range: bytes */{size}")];
    check(&path, &format!("range: bytes={size}-\r\n"), "416", &outside, Some(&[]));
    check(&format!("/v1/blobs/{}", Hash::of(b"unknown")), "", "404", &[], None);
    check("/v1/blobs/../../ringrift.toml", "", "404", &[], None);
    // Content that the cluster does not know is served to nobody.
    let stray = Hash::of(b"stray");
    fs::write(cluster.peers[1].folder.join(format!("blobs/{stray}")), b"stray").expect("written");
    check(&format!("/v1/blobs/{stray}"), "", "404", &[], None);

    // An operator has a peer fetch again what it has lost.
    let blob = cluster.peers[1].folder.join(format!("blobs/{candidate}"));
    fs::remove_file(&blob).expect("it was there");
    let (code, pulled) = cluster.peers[1].ask(&["model", "pull", &candidate.short()]);
    assert_eq!(
        (code, &pulled["kind"], &pulled["size"]),
        (Some(0), &"model".into(), &size.into()),
        "{pulled}"
    );
    assert!(fs::read(&blob).expect("it is back") == bytes);
    let none = cluster.peers[1].read(&["model", "pull", &stray.to_string()]);
    assert!(none.code == Some(1) && none.stderr.contains("no such model or segment"), "{none:?}");

    // Now one peer has no way but the operator's command, which brings wrong content at the first request.
    let root = cluster.root.path().to_owned();
    let script = root.join("fetch");
    let lie = format!(
        "#!/bin/sh\nset -eu\nif mkdir \"{0}/lied\" 2>/dev/null; then head -c 100 /dev/zero > \"$2\"; exit 0; fi\n\
         cp \"{0}/$(echo \"$1\" | tr : /)\" \"$2\"\n",
        root.display()
    );
    fs::write(&script, lie).expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a script");
    let last = cluster.peers.len() - 1;
    cluster.peers[last].stop();
    let games = GAMES.replace("threads = 1", "threads = 1\nconfigs = ['hex8_2p']");
    let words = format!("rsync = ['{}', '{{host}}:{{path}}', '{{target}}']", script.display());
    cluster.peers[last].configure(&format!("{games}[distribution]\nswarm = false\nhttp = false\n{words}\n"));
    cluster.peers[last].start(None);
    brought(&cluster.peers[last], |transfers| transfers.rsync, 2);
    assert!(root.join("lied").exists(), "it lied");
    let log = cluster.peers[last].log();
    assert!(log.contains("brought wrong content"), "{log}");
    verified(&cluster.peers[last].folder);
    let told = until("the copies are told", SOON, || {
        let events = cluster.peers[last].events();
        let told = events.into_iter().find(|(name, _)| name == "DATA_SYNC_COMPLETED");
        told.ok_or_else(|| "not yet".to_owned())
    });
    assert_eq!(told.1["config_key"], KEY);
}

/// Checks that every content under a hash has that hash.
fn verified(folder: &Path) {
    for entry in fs::read_dir(folder.join("blobs")).expect("a folder") {
        let entry = entry.expect("an entry");
        let Ok(hash) = entry.file_name().to_string_lossy().parse::<Hash>() else { continue };
        assert_eq!(Hash::of(&fs::read(entry.path()).expect("a file")), hash);
    }
}
