//! Lies about content: who holds what, and what is given away of it.

use super::Found;
use crate::{
    liar::{
        games::{self, key},
        member::{ANNOUNCEMENT, Liar, now_ms},
    },
    support::{Cluster, Peer, SOON, until, when},
};
use cluster_state::{
    ModelId, Receipt, Refusal, SegmentId, Signature, Source,
    command::{AddSegmentHolder, ModelHeld},
};
use ringrift::{
    peer::{MODELS_TOPIC, Manifest},
    store::Segment,
};
use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

/// What the settings allow the liar on the disk of each of the others, in bytes; and the size of a content
/// that it announces, of which two fit.
const QUOTA: u64 = 128 << 20;
const WITHHELD: usize = 60 << 20;
const PIECE: usize = 1 << 20;

/// The liar says that nodes hold what they do not, and signs for them.
pub(in crate::liar) fn false_holders(cluster: &Cluster, liar: &Liar, batch: SegmentId) -> Found {
    let state = liar.state();
    let champion = state.config(&key()).unwrap().champion;
    let others: Vec<_> = state.nodes.values().filter(|node| node.id != liar.id).cloned().collect();
    let records = games::play(games::another(), champion, liar.id, (2, 99));
    let segment = Segment::build(&key(), Source::Selfplay, champion, liar.id, records).unwrap();
    let own = liar.registration(&segment, vec![]).receipts[0].clone();
    let made_up = Receipt { node: others[0].id, signature: own.signature };
    let check = |refusal: Refusal, expected: fn(&Refusal) -> bool| assert!(expected(&refusal), "{refusal:?}");
    // A segment that only the liar has, by its own receipt alone, by one that it made up, and in the name of
    // another player.
    let alone = liar.registration(&segment, vec![]);
    check(liar.is_refused(alone.clone()), |it| matches!(it, Refusal::TooFewHolders { .. }));
    let mut forged = alone;
    forged.receipts.push(made_up);
    check(liar.is_refused(forged.clone()), |it| matches!(it, Refusal::NoReceipt(_)));
    forged.receipts.reverse();
    check(liar.is_refused(forged), |it| matches!(it, Refusal::NotAllowed(_)));
    // Holders of what the cluster knows.
    let at_ms = now_ms();
    let held = |node, signature| AddSegmentHolder { hash: batch, node, signature, at_ms };
    check(liar.is_refused(held(others[1].id, own.signature)), |it| matches!(it, Refusal::NotAllowed(_)));
    check(liar.is_refused(held(liar.id, own.signature)), |it| matches!(it, Refusal::NoReceipt(_)));
    let made_up = Signature::of(&[9; 64]).unwrap();
    check(liar.is_refused(held(liar.id, made_up)), |it| matches!(it, Refusal::NoReceipt(_)));
    let model = ModelHeld { model: champion, node: others[2].id, at_ms };
    check(liar.is_refused(model), |it| matches!(it, Refusal::NotAllowed(_)));
    // Of itself it is believed that it holds a model. The others fetch from whoever delivers.
    liar.propose(ModelHeld { model: champion, node: liar.id, at_ms }).unwrap();
    // The honest node that asked the liar first to keep its batch did not take the receipt that it got.
    let asked = liar.says.keeps.load(Ordering::Relaxed);
    assert!(asked > 0, "nobody asked the liar to keep anything");
    let holders = &state.segments.get(&batch).unwrap().holders;
    assert!(holders.len() >= 2 && !holders.contains(&liar.id), "{holders:?}");
    let count = cluster.games(0).unwrap();
    let honest = liar.state().segments.iter().filter(|(_, it)| it.source == Source::Selfplay).count();
    Found {
        lie: "false holders",
        how: format!(
            "7 claims refused; {asked} forged receipts not taken; {count} games in {honest} real segments"
        ),
    }
}

/// The bytes that unfinished transfers take in the folder of `peer`, counted as if they were whole.
fn unfinished(peer: &Peer) -> u64 {
    let entries = fs::read_dir(peer.folder.join("blobs/partial")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// The liar announces large models of which it gives a piece or two, until they fill its share of every other
/// disk; and a small one that is none.
pub(in crate::liar) fn withheld_pieces(cluster: &Cluster, liar: &Liar) -> Found {
    let damage = |content: &mut [u8]| {
        let pieces = content.len() / PIECE;
        (1..pieces - 1).for_each(|piece| content[piece * PIECE] ^= 255);
    };
    let withheld: Vec<_> = (1..=4u8).map(|number| liar.withholds(vec![number; WITHHELD], damage)).collect();
    let announce = |hash, size| {
        let manifest = Manifest { config_key: key(), model: ModelId(hash), size };
        let message = wire::encode(ANNOUNCEMENT, &manifest, 512).unwrap();
        let _ = liar.p2p.publish(MODELS_TOPIC, message); // its own node may be busy
    };
    let most = AtomicU64::new(0);
    until("every node has as much of them as it takes", 3 * SOON, || {
        for (hash, restore) in &withheld {
            restore();
            announce(*hash, WITHHELD as u64);
        }
        let taken: Vec<u64> = cluster.peers.iter().map(unfinished).collect();
        taken.iter().for_each(|bytes| {
            most.fetch_max(*bytes, Ordering::Relaxed);
            assert!(*bytes <= QUOTA, "{taken:?}");
        });
        when(taken.iter().all(|bytes| *bytes > QUOTA - WITHHELD as u64), (), || format!("{taken:?}"))
    });
    // There is no room for another one, also not as a segment.
    let peers = liar.p2p.peers();
    let first = peers.borrow()[0].peer_id.clone();
    withheld[3].1();
    let why = liar.has_kept(&first, withheld[3].0).unwrap_err();
    assert!(why.contains("exceeds the limit"), "{why}");
    // What is no model is removed, and not fetched again.
    let nonsense = liar.p2p.blobs().put(b"this is no model").unwrap();
    for peer in &cluster.peers {
        until(&format!("{} finds out what is no model", peer.name), SOON, || {
            announce(nonsense, 16);
            let told = peer.log().contains("content is not what it was said to be and was removed");
            when(told && !peer.folder.join(format!("blobs/{nonsense}")).exists(), (), || "not yet".to_owned())
        });
    }
    let taken: Vec<u64> = cluster.peers.iter().map(unfinished).collect();
    assert!(taken.iter().all(|bytes| *bytes <= QUOTA), "{taken:?}");
    Found {
        lie: "withheld pieces",
        how: format!(
            "at most {} of {} MiB on any disk; another one refused as a segment; what is no model removed by all",
            most.into_inner() >> 20,
            QUOTA >> 20
        ),
    }
}
