//! A node that refuses to start says why, by name, and leaves everything as it was.

use crate::support::{Peer, SOON, run, until, when};
use std::{fs, net::TcpListener, path::Path};

/// Checks that `ringrift node` refuses a folder with a message that has all of `parts`.
fn refused(folder: &Path, more: &[&str], parts: &[&str]) {
    let folder = folder.to_str().unwrap();
    let ended = run(&[&["node", "--exit-with-parent", "--data-dir", folder][..], more].concat());
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let message = ended.stderr.split("error: ").last().unwrap_or_default();
    assert!(ended.stderr.contains("error: "), "{ended:?}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
fn a_port_that_is_taken() {
    let root = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, port) = (taken.local_addr().unwrap().to_string(), taken.local_addr().unwrap().port());
    let in_words = ["/ip4/127.0.0.1/tcp/".to_owned() + &port.to_string(), "choose another".to_owned()];
    refused(&root.path().join("a"), &["--listen", &address], &in_words.each_ref().map(String::as_str));
    refused(&root.path().join("b"), &["--http", &address], &[&address, "choose another", "--http"]);
}

#[test]
fn a_folder_that_cannot_be_written() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "letter").unwrap();
    for path in [file.clone(), file.join("below")] {
        refused(&path, &[], &[path.to_str().unwrap(), "--data-dir"]);
    }
    assert_eq!(fs::read(&file).unwrap(), b"letter");
}

#[test]
fn a_folder_of_something_else_or_of_a_newer_version() {
    let root = tempfile::tempdir().unwrap();
    let cases = [
        ("foreign", "letter.txt", "dear", "it holds letter.txt"),
        ("newer", "format", r#"{"format":99,"peer_id":null,"created_ms":1}"#, "format 99"),
        (
            "older",
            "format",
            r#"{"format":2,"peer_id":null,"created_ms":1}"#,
            "choose a new --data-dir, or use the older",
        ),
        ("garbage", "format", "\0\0", "format"),
    ];
    for (name, file, content, part) in cases {
        let folder = root.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(file), content).unwrap();
        refused(&folder, &[], &[folder.to_str().unwrap(), part, "--data-dir"]);
        assert_eq!(fs::read_to_string(folder.join(file)).unwrap(), content, "{name}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "{name}: nothing is added");
    }
}

#[test]
fn settings_and_addresses_that_are_none() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("n");
    for address in ["somewhere", "/ip4/127.0.0.1", "/ip4/127.0.0.1/udp/7/quic-v1", "127.0.0.1:80"] {
        refused(&folder, &["--bootstrap", address], &[address, "/tcp/"]);
    }
    let settings = folder.join("ringrift.toml");
    for (text, part) in [
        ("[training]\nbacth = 3", "bacth"),
        ("[selfplay]\nsimulations = 1", "selfplay.simulations = 1"),
        ("configs = ['hex9_2p']", "hex9_2p"),
        ("= nonsense", "TOML"),
    ] {
        fs::write(&settings, text).unwrap();
        refused(&folder, &[], &[settings.to_str().unwrap(), part]);
        assert_eq!(fs::read_to_string(&settings).unwrap(), text);
    }
    refused(&root.path().join("s"), &["--secret-file", "/no/such/secret"], &["/no/such/secret"]);
    let secret = root.path().join("secret");
    for (text, part) in
        [("", "holds no secret"), (" \n", "holds no secret"), ("winter2026", "can be guessed")]
    {
        fs::write(&secret, text).unwrap();
        let file = secret.to_str().unwrap();
        refused(&root.path().join("s"), &["--secret-file", file], &[file, part, "/dev/urandom"]);
    }
    let address = "/ip4/192.0.2.1/tcp/7400";
    let open = ["--listen", "0.0.0.0:0", "--bootstrap", address];
    refused(&root.path().join("s"), &open, &["0.0.0.0:0", "--secret-file", "ringrift cluster ticket"]);
    let half = format!("{address}/p2p/12D3KooWQRMuTRh9AzdTzcMkAsHkSRXxRczDwF2Q5PzNWSsWQ2Rd/ticket/5a1d");
    refused(&root.path().join("s"), &["--bootstrap", &half], &["64 hex digits", "copied as a whole"]);
    assert!(!root.path().join("s").exists(), "nothing was begun");
    let ended = run(&["node", "--data-dir", "x", "--cluster", "two words"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("two words") && ended.stderr.contains("letters"), "{ended:?}");
}

#[test]
fn an_identity_that_is_damaged() {
    let root = tempfile::tempdir().unwrap();
    let mut peer = Peer::new(root.path(), "n1", "");
    peer.start(None);
    let (took, code) = peer.stop();
    assert_eq!(code, Some(0), "{took:?}");
    let key = peer.folder.join("peer.key");
    let mut damaged = fs::read(&key).unwrap();
    damaged[20] ^= 1;
    fs::write(&key, &damaged).unwrap();
    refused(&peer.folder, &[], &[key.to_str().unwrap(), "restore it"]);
    assert_eq!(fs::read(&key).unwrap(), damaged, "an identity is never replaced");
    fs::remove_file(&key).unwrap();
    refused(&peer.folder, &[], &[peer.folder.to_str().unwrap(), "belongs to peer"]);
}

#[test]
fn two_processes_on_one_folder() {
    let root = tempfile::tempdir().unwrap();
    let mut peer = Peer::new(root.path(), "n1", "");
    peer.start(None);
    refused(&peer.folder, &[], &[peer.folder.to_str().unwrap(), "is in use by process", "--data-dir"]);
    peer.until_status("the first goes on", |status| status.leader.is_some());
    // The folder is free also after the first peer was killed, because the lock ends with the process.
    peer.kill();
    peer.start(None);
    peer.until_status("and again after a kill", |status| status.leader.is_some());
}

#[test]
fn an_address_that_nobody_answers_is_tried_for_ever() {
    let root = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("/ip4/127.0.0.1/tcp/{free}");
    let mut peer = Peer::new(root.path(), "n2", "");
    let secret = root.path().join("secret");
    fs::write(&secret, "5a1d5ea6d09c45c3a4b9f6b4f2b1a7e0\n").unwrap();
    let secret = ["--secret-file", secret.to_str().unwrap()];
    peer.spawn(None, &[&["--bootstrap", &address][..], &secret].concat());
    peer.address();
    let told = until("status says what it waits for", SOON, || {
        let ended = peer.read(&["status"]);
        when(ended.stderr.contains(&address), ended.code, || format!("{ended:?}"))
    });
    assert_eq!(told, Some(3));
    until("the log says so", SOON, || {
        let log = peer.log();
        when(log.contains(&address) && log.contains("still trying"), (), || log.clone())
    });
    // Once a peer listens at that address, the node joins.
    let mut founder = Peer::new(root.path(), "n1", "");
    founder.spawn(None, &[&["--listen", &format!("127.0.0.1:{free}")][..], &secret].concat());
    founder.address();
    peer.until_status("it has joined", |status| status.nodes.len() == 2);
    assert_eq!(peer.stop().1, Some(0));
    assert_eq!(founder.stop().1, Some(0));
}
