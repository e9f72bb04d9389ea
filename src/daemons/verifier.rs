//! The verifier: counts the games of an evaluation of another node again, and tells the cluster what it
//! counted.
//!
//! Invariant: the answer rests on games that this node has replayed by its own rules. What is to be counted
//! follows from the replicated state at every look, so a restart loses nothing. Games that cannot be had now
//! are no answer: they are asked for again.

use crate::{
    clock::now_ms,
    compute,
    leader::verification::{EvidenceToCount, Verification},
    learner::count::count,
    peer::{Context, Daemon, WorkError},
    store::Segment,
};
use cluster_state::{Command, Tallies, command::ConfirmEvidence};
use std::time::Duration;

/// Pause between two looks at the state when nothing is new, and after a failure.
const PAUSE: Duration = Duration::from_secs(2);

pub struct VerifierDaemon {
    pub node: Context,
}

impl Daemon for VerifierDaemon {
    const NAME: &'static str = "verifier";

    async fn run(&mut self) -> Result<(), WorkError> {
        let node = &self.node;
        let (mut state, mut verification) = (node.raft.applied(), Verification::default());
        while !node.shutdown.is_cancelled() {
            let due = verification.due(&state.borrow_and_update(), node.id, now_ms());
            let mut failed = false;
            for evidence in due {
                let answered = Box::pin(answer(node, &evidence));
                match node.shutdown.run_until_cancelled(answered).await {
                    None => return Ok(()),
                    Some(Ok(())) => {}
                    Some(Err(error)) => {
                        let candidate = evidence.candidate.short();
                        tracing::info!(candidate, %error, "the games of an evaluation are not counted yet");
                        failed = true;
                    }
                }
            }
            tokio::select! {
                () = node.shutdown.cancelled() => {}
                changed = state.changed(), if !failed => if changed.is_err() { return Ok(()) },
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
        Ok(())
    }
}

/// Counts the games and tells the cluster.
async fn answer(node: &Context, evidence: &EvidenceToCount) -> Result<(), WorkError> {
    let EvidenceToCount { config_key, candidate, epoch, .. } = evidence;
    let counted = counted(node, evidence).await?;
    let (config_key, candidate, epoch) = (config_key.clone(), *candidate, *epoch);
    let answer = ConfirmEvidence { config_key, candidate, epoch, node: node.id, counted, at_ms: now_ms() };
    node.propose(Command::ConfirmEvidence(answer)).await?;
    Ok(())
}

/// What this node counts; none if the segments hold no whole evaluation.
async fn counted(node: &Context, evidence: &EvidenceToCount) -> Result<Option<Tallies>, WorkError> {
    let &EvidenceToCount { ref config_key, candidate, champion, ref segments, .. } = evidence;
    let game = config_key.game().ok_or_else(|| WorkError::UnknownConfig(config_key.clone()))?;
    let mut contents = Vec::new();
    for hash in segments {
        let holders = node.raft.local().segments.get(hash).map(|segment| segment.holders.clone());
        let holders = holders.ok_or(WorkError::Missing(hash.0))?;
        match node.get_or_fetch_segment(*hash, &holders).await {
            // It is registered and is no segment, so it holds no games.
            Err(WorkError::Nonsense(_)) => return Ok(None),
            content => contents.push(content?),
        }
    }
    let counting = compute::spawn("verifier", move || {
        let mut games = Vec::new();
        for content in contents {
            games.extend(Segment::open(content).map_err(|error| error.to_string())?.into_games());
        }
        count(game, &games, candidate, champion).map_err(|error| error.to_string())
    });
    let counting = counting.map_err(WorkError::NoThread)?;
    match counting.await.map_err(|_| WorkError::Panicked("the verifier"))? {
        Ok(counted) => Ok(Some(counted)),
        Err(error) => {
            tracing::warn!(
                candidate = candidate.short(),
                error,
                "an evaluation's games are not what it says"
            );
            Ok(None)
        }
    }
}
