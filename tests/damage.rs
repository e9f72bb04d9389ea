//! Files of a stopped peer are damaged: the peer mends what it can mend, refuses the rest by name, and leaves
//! it as it is.

use crate::support::{Cluster, Peer, QUICK, SOON, run, until, when};
use cluster_state::SegmentId;
use ringrift::store::{GameKind, GamesDb};
use std::{
    fs,
    path::{Path, PathBuf},
};
use wire::Hash;

const KEY: &str = "hex8_2p";
const GAMES: &str = "data/games/canonical_hex8_2p.db";

#[test]
fn a_peer_with_damaged_files() {
    let settings = QUICK.replace("threshold_games = 60", "threshold_games = 1000000");
    let mut cluster = Cluster::start(2, &settings);
    until("the second peer holds a few segments and has merged games", SOON, || {
        let audit = cluster.peers[1].audit();
        let here = audit.segments.iter().filter(|(_, here)| *here).count();
        when(here >= 3, (), || format!("{here} segments"))?;
        let games = games(&cluster.peers[1].folder)?;
        when(games > 0, (), || "no games yet".to_owned())
    });
    let segment = content_is_set_aside(&mut cluster);
    games_are_merged_again(&mut cluster);
    mended(&cluster.peers[1], segment);
    databases_are_refused(&mut cluster);
    the_list_of_segments_is_made_anew(&mut cluster);
}

/// Counts the games of self-play in the canonical database.
fn games(folder: &Path) -> Result<u64, String> {
    let path = folder.join(GAMES);
    when(path.is_file(), (), || "no database".to_owned())?;
    let opened = GamesDb::open(&path, KEY.parse().unwrap(), "test").map_err(|error| error.to_string())?;
    assert_eq!(opened.set_aside, None, "a sound database");
    Ok(opened.db.count(GameKind::Selfplay).map_err(|error| error.to_string())?.games)
}

fn flip(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(path, &bytes).unwrap();
    bytes
}

/// Flips one bit of the champion and one of a segment on the disk of one peer. The champion is mended at
/// once, the segment, which is returned, at the latest after the next start.
fn content_is_set_aside(cluster: &mut Cluster) -> Hash {
    let peer = &mut cluster.peers[1];
    let champion = peer.status().unwrap().configs[0].champion.0;
    assert_eq!(peer.stop().1, Some(0));
    let segment = until("a segment that the other peer has as well", SOON, || {
        let audit = cluster.peers[0].audit();
        let both = |segment: &SegmentId| blob(&cluster.peers[1], segment.0).is_file();
        let mut here = audit.segments.iter().filter(|(hash, here)| *here && both(hash));
        here.next().map(|(segment, _)| segment.0).ok_or_else(|| format!("{audit:?}"))
    });
    let peer = &mut cluster.peers[1];
    let damaged = [champion, segment].map(|hash| (hash, flip(&blob(peer, hash))));
    peer.start(None);
    for (hash, bytes) in damaged {
        let aside = peer.folder.join("blobs/corrupt").join(hash.to_string());
        until(&format!("{} is set aside", hash.short()), SOON, || {
            // Only the audit reads an old segment, because it reads everything.
            peer.audit();
            when(aside.is_file(), (), || "it is not".to_owned())
        });
        assert_eq!(fs::read(&aside).unwrap(), bytes, "the damaged copy is kept");
        assert!(peer.log().contains(&format!("content {hash} was corrupt on disk")), "{}", peer.log());
    }
    mended(peer, champion);
    let status = peer.until_status("it plays", |status| status.work.selfplay.games > 0);
    assert!(status.failures.is_empty(), "{:?}", status.failures);
    segment
}

/// Waits until the content is there again, unchanged.
fn mended(peer: &Peer, hash: Hash) {
    until(&format!("{} is mended", hash.short()), SOON, || {
        let bytes = fs::read(blob(peer, hash)).map_err(|error| error.to_string())?;
        when(Hash::of(&bytes) == hash, (), || "still damaged".to_owned())
    });
}

fn blob(peer: &Peer, hash: Hash) -> PathBuf {
    peer.folder.join("blobs").join(hash.to_string())
}

/// Overwrites every page but the first.
fn ruin(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    assert!(bytes.len() > 8192, "{} has {} bytes", path.display(), bytes.len());
    bytes[4096..].fill(0xa5);
    fs::write(path, &bytes).unwrap();
    bytes
}

fn games_are_merged_again(cluster: &mut Cluster) {
    let peer = &mut cluster.peers[1];
    assert_eq!(peer.stop().1, Some(0));
    let before = games(&peer.folder).unwrap();
    assert!(before > 0);
    let ruined = ruin(&peer.folder.join(GAMES));
    peer.start(None);
    until("the database is made anew from the segments", SOON, || {
        let beside = peer.folder.join("data/games");
        let names = fs::read_dir(&beside).unwrap().map(|entry| entry.unwrap().path());
        let mut asides = names.filter(|path| path.to_str().unwrap().contains(".corrupt-"));
        let is_database = |path: &PathBuf| !path.to_str().unwrap().ends_with(['l', 'm']); // -wal, -shm
        let aside = asides.find(is_database).ok_or("nothing was set aside")?;
        assert_eq!(fs::read(&aside).unwrap().len(), ruined.len(), "{}", aside.display());
        let now = games(&peer.folder)?;
        when(now >= before, (), || format!("{now} of {before} games"))
    });
    assert!(peer.log().contains("damaged game database"), "{}", peer.log());
}

/// With a damaged database that is no copy of anything the node does not start, and the database stays for a
/// person to mend.
fn databases_are_refused(cluster: &mut Cluster) {
    let peer = &mut cluster.peers[1];
    assert_eq!(peer.stop().1, Some(0));
    let folder = peer.folder.to_str().unwrap().to_owned();
    for name in ["node.db", "raft.db"] {
        let path = peer.folder.join(name);
        // Everything is in one file.
        let database = rusqlite::Connection::open(&path).unwrap();
        database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(database);
        let whole = fs::read(&path).unwrap();
        let noise = vec![7; 8192];
        let mut checks = vec![("noise", noise)];
        if whole.len() > 8192 {
            let mut ruined = whole.clone();
            ruined[4096..].fill(0xa5);
            checks.push(("ruined", ruined));
        }
        for (kind, bytes) in checks {
            fs::write(&path, &bytes).unwrap();
            let ended = run(&["node", "--exit-with-parent", "--data-dir", &folder]);
            assert_eq!(ended.code, Some(2), "{kind} {name}: {ended:?}");
            let message = ended.stderr.split("error: ").last().unwrap();
            for part in [path.to_str().unwrap(), "start anew with an empty"] {
                assert!(message.contains(part), "{kind} {name}: {message}");
            }
            assert_eq!(fs::read(&path).unwrap(), bytes, "{kind} {name} is left as it was");
        }
        fs::write(&path, &whole).unwrap();
    }
    peer.start(None);
    cluster.whole();
    cluster.peers[1].until_status("with the old files it goes on", |status| status.work.selfplay.games > 0);
}

/// This database only lists what waits to be acknowledged; the segments themselves are elsewhere.
fn the_list_of_segments_is_made_anew(cluster: &mut Cluster) {
    let peer = &mut cluster.peers[1];
    assert_eq!(peer.stop().1, Some(0));
    let noise = vec![7; 8192];
    fs::write(peer.folder.join("segments.db"), &noise).unwrap();
    peer.start(None);
    peer.until_status("it plays on", |status| status.work.selfplay.games > 0);
    let names = fs::read_dir(&peer.folder).unwrap().map(|entry| entry.unwrap().path());
    let aside = |path: &PathBuf| path.to_str().unwrap().contains("segments.db.corrupt-");
    let contents: Vec<Vec<u8>> = names.filter(aside).map(|path| fs::read(path).unwrap()).collect();
    assert!(contents.contains(&noise), "the damaged list is kept");
    assert!(peer.log().contains("the list of segments was damaged"), "{}", peer.log());
    until("what it plays is acknowledged again", SOON, || {
        let status = peer.status()?;
        when(status.work.selfplay.unacknowledged == 0, (), || format!("{:?}", status.work))
    });
}
