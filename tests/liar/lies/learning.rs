//! Lies about what is learned: games that were not played so, and evidence that its games do not give.

use super::{Found, name};
use crate::{
    liar::{
        Size,
        games::{self, key},
        member::{Liar, now_ms},
    },
    support::{Cluster, SOON, until, when},
};
use cluster_state::{
    Check, Evidence, Lease, LeaseKind, ModelId, Receipt, Refusal, Response, SegmentId, Source, Sprt, Tallies,
    Tally,
    command::{CompleteEvaluation, RenewLease},
};
use ringrift::{events::Event, store::Segment};
use std::{fs, time::Instant};

/// Waits until the liar holds the lease to evaluate a candidate.
fn lease(liar: &Liar, candidate: ModelId) -> Lease {
    until("the liar is to evaluate", SOON, || {
        let state = liar.state();
        let live = state.config(&key()).and_then(|config| config.evaluation.live.clone());
        let mine = live.clone().filter(|lease| lease.node == liar.id && lease.subject == Some(candidate));
        mine.ok_or_else(|| format!("{live:?}"))
    })
}

/// The liar evaluates a candidate and claims more than its games give: games that no segment holds, games of
/// something else, and, where the numbers of games are right, wins that were none. The first are refused when
/// the command is applied; the last is counted again by the honest nodes, which deny it, and the candidate is
/// evaluated anew by somebody else.
pub(in crate::liar) fn forged_evidence(
    cluster: &Cluster,
    liar: &Liar,
    candidate: ModelId,
    batch: SegmentId,
) -> Found {
    let lease = lease(liar, candidate);
    let champion = liar.state().config(&key()).unwrap().champion;
    let played = games::evaluation(candidate, champion, (liar.id, lease.id));
    let Evidence { terms, against, .. } = played.evidence;
    let segment = Segment::build(&key(), Source::Evaluation, candidate, liar.id, played.games).unwrap();
    let renew = RenewLease {
        kind: LeaseKind::Evaluation,
        config_key: key(),
        epoch: lease.epoch,
        node: liar.id,
        at_ms: now_ms(),
    };
    liar.propose(renew).unwrap();
    liar.registers(&segment);
    let won = |tally: &Tally, more: u32| Tally::of(vec![0, 0, tally.sets() + more]).unwrap();
    let claim = |more: u32, segments: Vec<SegmentId>| {
        let against = Tallies {
            champion: won(&against.champion, more),
            random: won(&against.random, 0),
            heuristic: won(&against.heuristic, 0),
        };
        let evidence = Evidence::of((candidate, champion), terms, against, segments);
        assert!(evidence.passed_gauntlet && evidence.sprt == Sprt::Accept, "it would make a champion");
        let (config_key, epoch, node, at_ms) = (key(), lease.epoch, liar.id, now_ms());
        CompleteEvaluation { config_key, epoch, node, evidence, at_ms }
    };
    let mut refusals = Vec::new();
    for (more, segments) in [(0, vec![]), (0, vec![batch]), (4, vec![segment.hash()])] {
        refusals.push(liar.is_refused(claim(more, segments)));
    }
    assert!(
        matches!(
            refusals[..],
            [Refusal::OtherGames { .. }, Refusal::NoEvidenceIn(_), Refusal::OtherGames { .. }]
        ),
        "{refusals:?}"
    );
    assert_eq!(liar.propose(claim(0, vec![segment.hash()])).unwrap(), Response::Done);
    let deniers = until("the honest nodes count its games", SOON, || {
        let state = liar.state();
        let review = state.models.get(&candidate).and_then(|model| model.review.clone());
        let review = review.filter(|review| review.evaluated_by == liar.id).ok_or("it is gone")?;
        let denied = review.checks.values().filter(|check| matches!(check, Check::Denied { .. })).count();
        when(denied >= 2 && denied == review.checks.len(), denied, || format!("{:?}", review.checks))
    });
    for peer in &cluster.peers {
        peer.until_status("the champion stays", |status| status.configs[0].champion == champion);
    }
    Found {
        lie: "forged evidence",
        how: format!(
            "3 claims refused when applied; one counted again and denied by {deniers}; no promotion"
        ),
    }
}

/// The liar plays with another network and makes policies up. Its segment is registered, with the receipt of
/// an honest node, because the rules allow every move. The honest nodes make decisions again.
pub(in crate::liar) fn forged_games(cluster: &Cluster, liar: &Liar, size: &Size) -> Found {
    let champion = liar.state().config(&key()).unwrap().champion;
    let records = games::forge(champion, liar.id, size.forged);
    let segment = Segment::build(&key(), Source::Selfplay, champion, liar.id, records).unwrap();
    liar.registers(&segment);
    let began = Instant::now();
    let checkpoint = fs::read(cluster.peers[0].folder.join(format!("blobs/{champion}"))).unwrap();
    let mut proof = None;
    for peer in &cluster.peers {
        let status = peer.until_status("the liar is found", |status| {
            status.nodes.iter().any(|node| node.id == liar.id && node.distrusted.is_some())
        });
        let forgery = status.nodes.into_iter().find_map(|node| node.distrusted).unwrap();
        assert_eq!((forgery.segment, forgery.confirmed_by.len()), (segment.hash(), 2), "{forgery:?}");
        let told = until("the proof is told", SOON, || {
            let log = peer.logged()?;
            let found = log.into_iter().find_map(|logged| match logged.event {
                Event::ForgeryFound(found) => Some(found),
                _ => None,
            });
            found.ok_or_else(|| "no FORGERY_FOUND".to_owned())
        });
        assert_eq!(
            (told.node_id, told.segment, told.game),
            (name(liar), segment.hash(), forgery.game),
            "{}",
            peer.name
        );
        proof = Some((told.game, told.ply));
    }
    let took = began.elapsed();
    let proof = proof.unwrap();
    assert!(games::is_forged(segment.bytes(), &checkpoint, champion, proof), "anybody can check the proof");
    // No more of its games count.
    let more = Segment::build(
        &key(),
        Source::Selfplay,
        champion,
        liar.id,
        games::play(games::another(), champion, liar.id, (2, 5)),
    );
    let more = more.unwrap();
    liar.p2p.blobs().put(more.bytes()).unwrap();
    let state = liar.state();
    let keeper = state.nodes.values().find(|node| node.id != liar.id).unwrap();
    let signature = until("it is kept", SOON, || liar.has_kept(&keeper.peer_id, more.hash().0));
    let registration = liar.registration(&more, vec![Receipt { node: keeper.id, signature }]);
    assert_eq!(liar.is_refused(registration), Refusal::Distrusted(liar.id));
    Found {
        lie: "forged games",
        how: format!(
            "{} games, found after {took:.1?}: game {}, step {}, which anybody makes again; no window has them",
            size.forged, proof.0, proof.1
        ),
    }
}
