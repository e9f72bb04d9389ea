//! Attacks that once took a cluster, stopped it or held up its members. Each is sent over a real connection,
//! as frames made by hand, to real processes, and comes to nothing.
//!
//! A stranger here is somebody with the key of a ticket that it has not used, who gets farthest of all that
//! are no members. [Security](../docs/security.md) lists the attacks.

mod voice;

use crate::{
    strangers::{memory_kib, pid_of},
    support::{Cluster, Peer, SOON, turn},
};
use cluster_state::{
    Command, LeaseKind, NodeId,
    command::{
        CompleteEvaluation, CompleteTraining, GrantLease, InitConfig, ModelHeld, SetDraining, SetLeader,
    },
    samples,
};
use p2p::{Class, KeyRing, Signer, blobs::BlobStore};
use ringrift::api::status::{HealthWord, Status};
use std::{
    fs,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use voice::{APPEND, GHOST, LogId, SNAPSHOT, SNAPSHOT_PIECE, Voice, Vote, only_the_ghost};
use wire::Hash;

const SETTINGS: &str = "device = \"cpu\"\n[selfplay]\nenabled = false\n";
/// For how long a cluster is watched after an attack.
const AFTERMATH: Duration = Duration::from_secs(4);

/// A founder alone, and a stranger that is connected to it.
struct Alone {
    founder: Peer,
    /// Peer id of the founder.
    id: String,
    stranger: Voice,
    before: Status,
    state: Hash,
    root: tempfile::TempDir,
    _turn: std::sync::MutexGuard<'static, ()>,
}

impl Alone {
    fn begin() -> Self {
        let turn = turn();
        let root = tempfile::tempdir().unwrap();
        let mut founder = Peer::new(root.path(), "n1", SETTINGS);
        founder.start(None);
        let id = founder.address().rsplit('/').next().unwrap().to_owned();
        founder.until_status("it has a configuration", |status| {
            status.leader.as_ref().is_some_and(|leader| leader.since_ms > 0) && !status.configs.is_empty()
        });
        let stranger = Voice::stranger(root.path(), &mut founder);
        std::thread::sleep(Duration::from_secs(1));
        let (before, state) = (founder.status().unwrap(), founder.audit().state);
        Self { founder, id, stranger, before, state, root, _turn: turn }
    }

    /// The founder leads as before, alone, in a term that it has reached itself.
    fn nothing_has_changed(&self) {
        let began = Instant::now();
        while began.elapsed() < AFTERMATH {
            let status = self.founder.status().unwrap();
            assert_eq!(status.health, HealthWord::Healthy, "{status:?}");
            assert_eq!(status.term, self.before.term, "{status:?}");
            assert_eq!((status.voters.clone(), status.nodes.len()), (vec![NodeId(1)], 1), "{status:?}");
            std::thread::sleep(Duration::from_millis(500));
        }
        assert_eq!(self.founder.audit().state, self.state, "the replicated state");
    }
}

#[test]
fn a_stranger_commands_nothing() {
    let alone = Alone::begin();
    let config_key = "square8_2p".into();
    let init = InitConfig {
        config_key,
        champion: samples::hash(7),
        size: 9,
        threshold: 9,
        target: samples::target(),
        at_ms: 1,
    };
    let drain = SetDraining {
        node: NodeId(1),
        draining: true,
        cause: cluster_state::DrainCause::Idle,
        reason: "r".into(),
        at_ms: 1,
    };
    for command in [samples::register(7, 7), init.into(), drain.into()] {
        let answer = alone.stranger.propose(&alone.id, command.clone());
        assert!(answer.contains("no member"), "{command}: {answer}");
    }
    alone.nothing_has_changed();
}

#[test]
fn a_leader_that_nobody_elected_takes_no_cluster() {
    let alone = Alone::begin();
    let vote: Vote = ((9, GHOST), true);
    let (term, applied) = (alone.before.term, alone.before.applied);
    let last: LogId = ((term, 1), applied);
    let next: LogId = ((9, GHOST), applied + 1);
    let entry = (next, (2u32, only_the_ghost()));
    let answer = alone.stranger.send(&alone.id, APPEND, &(1u64, (vote, Some(last), vec![entry], Some(next))));
    assert!(answer.contains("no voter that this node knows"), "{answer}");
    alone.nothing_has_changed();
}

#[test]
fn a_term_out_of_reach_ends_no_elections() {
    let alone = Alone::begin();
    for term in [1 << 62, 1 << 40] {
        let vote: Vote = ((term, GHOST), true);
        let nothing = (vote, None::<LogId>, Vec::<()>::new(), None::<LogId>);
        let answer = alone.stranger.send(&alone.id, APPEND, &(1u64, nothing));
        assert!(answer.contains("out of reach"), "{answer}");
    }
    alone.nothing_has_changed();
}

#[test]
fn a_snapshot_of_nobody_stops_no_node() {
    let mut alone = Alone::begin();
    let vote: Vote = ((9, GHOST), true);
    let last: LogId = ((9, GHOST), 0);
    let data = wire::encode(SNAPSHOT, &Vec::<()>::new(), 100).unwrap();
    let membership = (Some(last), only_the_ghost());
    let piece = (vote, Some(last), membership, data.len() as u64, 0u64, data);
    let answer = alone.stranger.send(&alone.id, SNAPSHOT_PIECE, &(1u64, piece));
    assert!(answer.contains("no voter that this node knows"), "{answer}");
    alone.nothing_has_changed();
    assert_eq!(alone.founder.stop().1, Some(0));
}

#[test]
fn an_announcement_of_the_last_term_stops_no_decisions() {
    let mut alone = Alone::begin();
    let mut member = Peer::new(alone.root.path(), "n2", SETTINGS);
    member.start(Some(&alone.founder.join_line()));
    alone.founder.until_status("it is in", |status| status.nodes.iter().filter(|it| it.online).count() == 2);
    let last = SetLeader { node: NodeId(2), term: u64::MAX, at_ms: 1 };
    let answer = alone.stranger.propose(&alone.id, last.clone());
    assert!(answer.contains("no member"), "{answer}");
    // Nor may the member announce itself.
    member.kill();
    let voice = Voice::member(alone.root.path(), &member.folder, &mut alone.founder);
    let answer = voice.propose(&alone.id, last);
    assert!(answer.contains("NotAllowed(\"the leader of that term\")"), "{answer}");
    drop(voice);
    alone.founder.until_status("who is gone is said to be offline", |status| {
        status.nodes.iter().any(|node| node.host == "n2" && !node.online)
    });
}

#[test]
fn a_champion_that_exists_nowhere_is_not_promoted() {
    let mut cluster = Cluster::start(2, SETTINGS);
    let leader = cluster.leader();
    let (id, config) = {
        let status = cluster.peers[leader].status().unwrap();
        (status.leader.unwrap().peer_id, status.configs[0].clone())
    };
    cluster.peers[1 - leader].kill();
    let (root, folder) = (cluster.root.path().to_owned(), cluster.peers[1 - leader].folder.clone());
    let liar = Voice::member(&root, &folder, &mut cluster.peers[leader]);
    let signer = Signer::load(&folder.join("peer.key")).unwrap();
    let status = cluster.peers[leader].status().unwrap();
    let me = status.nodes.iter().find(|node| node.peer_id == signer.peer_id()).unwrap().id;
    let (candidate, key) = (samples::hash(8), config.config_key.clone());
    let evidence = samples::evidence(candidate, config.champion);
    let mut games = samples::games_of(&evidence, key.as_str());
    let signature = signer.sign(&games.facts().message(&signer.peer_id()));
    let signature = cluster_state::Signature::of(&signature).unwrap();
    games.receipts = [me, NodeId(GHOST)].map(|node| cluster_state::Receipt { node, signature }).into();
    let grant = |kind, subject| {
        let config_key = key.clone();
        Command::from(GrantLease { kind, config_key, node: me, subject, ttl_ms: 60_000, at_ms: 1 })
    };
    let commands = vec![
        samples::register(7, 7),
        games.into(),
        grant(LeaseKind::Training, None),
        CompleteTraining {
            config_key: key.clone(),
            epoch: 1,
            node: me,
            model: samples::model(candidate, config.champion),
            report: samples::report(),
            at_ms: 1,
        }
        .into(),
        grant(LeaseKind::Evaluation, Some(candidate)),
        CompleteEvaluation { config_key: key.clone(), epoch: 1, node: me, evidence, at_ms: 1 }.into(),
        ModelHeld { model: candidate, node: me, at_ms: 1 }.into(),
        ModelHeld { model: candidate, node: NodeId(GHOST), at_ms: 1 }.into(),
    ];
    for command in commands {
        let answer = liar.propose(&id, command.clone());
        assert!(answer.contains("Refused("), "{command}: {answer}");
    }
    std::thread::sleep(AFTERMATH);
    let after = cluster.peers[leader].status().unwrap();
    let after = after.configs.iter().find(|it| it.config_key == key).unwrap();
    assert_eq!((after.champion, after.generation, after.candidates.len()), (config.champion, 0, 0));
    assert_eq!(after.games_total, 0);
}

#[test]
fn a_cluster_has_a_secret_that_nobody_chose() {
    let mut alone = Alone::begin();
    let key = alone.root.path().join("another.key");
    let outside = Voice::new(alone.root.path(), &key, KeyRing::new("ringrift"), &alone.founder.address());
    let mut bootstrap = outside.handle.bootstrap();
    let refused = bootstrap.wait_for(|all| all.iter().all(|it| it.refusal.is_some()));
    let refused = outside.runtime.block_on(async { tokio::time::timeout(SOON, refused).await.is_ok() });
    assert!(refused, "it is let in, or not told why not");
    assert!(outside.handle.peers().borrow().is_empty());
    let secret = fs::read_to_string(alone.founder.folder.join("secret")).unwrap();
    assert!(secret.trim().len() >= 64, "{} letters", secret.trim().len());
}

#[test]
fn a_secret_that_can_be_guessed_starts_no_node() {
    let _turn = turn();
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("weak");
    fs::write(&file, "winter2026\n").unwrap();
    let mut peer = Peer::new(root.path(), "n1", SETTINGS);
    peer.spawn(None, &["--secret-file", file.to_str().unwrap()]);
    let (code, error) = peer.ends();
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("128"), "{error}");
}

#[test]
fn strangers_read_and_purge_nothing() {
    let alone = Alone::begin();
    let champion = alone.before.configs[0].champion.0;
    let control = ringrift::fuzzing::node_requests(champion).into_iter();
    let control = control.map(|(name, _, bytes)| (Class::Control, name, bytes));
    let blob = p2p::fuzzing::blob_questions(champion).into_iter();
    let blob = blob.map(|(name, bytes)| (Class::Blob, name, bytes));
    for (class, name, bytes) in control.chain(blob) {
        let answer = alone.stranger.ask(class, &alone.id, bytes);
        assert_eq!(answer, Err("request failed: peer gave no answer".to_owned()), "{name}");
    }
    alone.nothing_has_changed();
}

/// A megabyte, sixty-four times: what a transfer that is never finished may not take of memory.
const PIECES: u64 = 64;

#[test]
fn an_unfinished_snapshot_takes_no_memory() {
    let mut cluster = Cluster::start(3, SETTINGS);
    let leader = cluster.leader();
    let (gone, victim) = ((leader + 1) % 3, (leader + 2) % 3);
    let status = cluster.peers[leader].status().unwrap();
    let named =
        |index: usize| status.nodes.iter().find(|node| node.host == format!("n{}", index + 1)).unwrap();
    let (me, to) = (named(gone).id.0, named(victim));
    cluster.peers[gone].kill();
    let (root, folder) = (cluster.root.path().to_owned(), cluster.peers[gone].folder.clone());
    let voice = Voice::member(&root, &folder, &mut cluster.peers[victim]);
    let before = memory_kib(pid_of(&cluster.peers[victim]));
    let vote: Vote = ((status.term + 9, me), true);
    let last: LogId = ((status.term + 9, me), 1 << 30);
    for piece in 0..PIECES {
        let membership = (Some(last), (vec![vec![me]], vec![(me, "m".to_owned())]));
        let data = vec![7u8; 1 << 20];
        let piece = (vote, Some(last), membership, 1u64 << 30, piece << 20, data);
        let answer = voice.send(&to.peer_id, SNAPSHOT_PIECE, &(to.id.0, piece));
        assert_eq!(answer, "SnapshotPart");
    }
    let grown = memory_kib(pid_of(&cluster.peers[victim])).saturating_sub(before);
    eprintln!("{PIECES} MiB of a snapshot: {grown} KiB of memory");
    assert!(grown < PIECES << 9, "{grown} KiB");
    drop(voice);
    cluster.peers[victim].until_status("the leader leads on", |now| now.term == status.term);
}

#[test]
fn answers_that_are_not_read_hold_up_nobody() {
    let _turn = turn();
    let root = tempfile::tempdir().unwrap();
    let mut founder = Peer::new(root.path(), "n1", SETTINGS);
    // A piece is larger than what a connection takes before its other end reads.
    let content: Vec<u8> = (0..4u32 << 20).map(|n| (n >> 8) as u8).collect();
    founder.start(None);
    let content = BlobStore::open(&founder.folder.join("blobs")).unwrap().put(&content).unwrap();
    let (join, address) = (founder.join_line(), founder.address());
    let id = address.rsplit('/').next().unwrap().to_owned();
    let [honest, greedy, another] = ["honest", "greedy", "another"].map(|name| {
        let mut member = Peer::new(root.path(), name, SETTINGS);
        member.spawn(Some(&join), &[]);
        founder.until_status("it is in", |status| status.nodes.iter().any(|it| it.host == name && it.online));
        member.kill();
        Voice::member(root.path(), &member.folder, &mut founder)
    });
    let piece = |(name, bytes): (String, Vec<u8>)| name.starts_with("Piece").then_some(bytes);
    let piece = p2p::fuzzing::blob_questions(content).into_iter().find_map(piece).unwrap();
    let ask = |voice: &Voice| {
        let began = Instant::now();
        let answer = voice.ask(Class::Blob, &id, piece.clone()).unwrap();
        assert!(answer.len() > 1 << 20, "{} bytes", answer.len());
        began.elapsed()
    };
    eprintln!("alone, an answer took {:?}", ask(&honest));
    let mut asking = JoinSet::new();
    for greedy in [&greedy, &another] {
        for _ in 0..20 {
            let (handle, id, piece) = (greedy.handle.clone(), id.clone(), piece.clone());
            let all = async move {
                loop {
                    // Those that find no room among the requests under way wait for it.
                    let _ = handle.request(Class::Blob, &id, piece.clone(), SOON).await;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            asking.spawn_on(all, greedy.runtime.handle());
        }
    }
    // How many requests are under way when they read nothing any more is a matter of chance.
    for _ in 0..8 {
        for greedy in [&greedy, &another] {
            greedy.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(100)).await });
        }
        std::thread::sleep(Duration::from_millis(200));
        let took = ask(&honest);
        eprintln!("beside two that do not read, it took {took:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}
