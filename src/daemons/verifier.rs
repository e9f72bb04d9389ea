//! The verifier: counts the games of an evaluation of another node again, makes a sample of their moves
//! again, and tells the cluster what it counted.
//!
//! Invariant: the answer rests on games that this node has replayed by its own rules, and of which it has
//! made moves again that the evaluator cannot know beforehand. What is to be counted
//! follows from the replicated state at every look, so a restart loses nothing. Games that cannot be had now
//! are no answer: they are asked for again.

use super::cache::LoadedNetworks;
use crate::{
    clock::now_ms,
    compute,
    leader::verification::{EvidenceToCount, Verification},
    learner::{
        again::Unjudged,
        backend,
        count::{Asked, count},
        rematch::{Rival, forged},
    },
    peer::{Context, Daemon, WorkError},
    store::Segment,
};
use cluster_state::{ClusterState, Command, ModelId, Tallies, command::ConfirmEvidence};
use kernels::{CheckpointError, CpuEvaluator, Network};
use rules::{Board, playout::Choices};
use std::{sync::Arc, time::Duration};

/// Pause between two looks at the state when nothing is new, and after a failure.
const PAUSE: Duration = Duration::from_secs(2);

pub struct VerifierDaemon {
    pub node: Context,
    pub networks: LoadedNetworks,
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
                let answered = Box::pin(self.answer(&evidence));
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

impl VerifierDaemon {
    /// Counts the games and tells the cluster.
    async fn answer(&self, evidence: &EvidenceToCount) -> Result<(), WorkError> {
        let EvidenceToCount { config_key, candidate, epoch, .. } = evidence;
        let counted = self.counted(evidence).await?;
        let (config_key, candidate, epoch, node) = (config_key.clone(), *candidate, *epoch, self.node.id);
        let answer = ConfirmEvidence { config_key, candidate, epoch, node, counted, at_ms: now_ms() };
        self.node.propose(Command::ConfirmEvidence(answer)).await?;
        Ok(())
    }

    /// What this node counts; none if the segments hold no whole evaluation, or were not played so.
    async fn counted(&self, evidence: &EvidenceToCount) -> Result<Option<Tallies>, WorkError> {
        let &EvidenceToCount { ref config_key, candidate, champion, ref segments, .. } = evidence;
        let config = config_key.game().ok_or_else(|| WorkError::UnknownConfig(config_key.clone()))?;
        let state = self.node.raft.local();
        let mut contents = Vec::new();
        for hash in segments {
            let holders = state.segments.get(hash).map(|segment| segment.holders.clone());
            let holders = holders.ok_or(WorkError::Missing(hash.0))?;
            match self.node.get_or_fetch_segment(*hash, &holders).await {
                // It is registered and is no segment, so it holds no games.
                Err(WorkError::Nonsense(_)) => return Ok(None),
                content => contents.push(content?),
            }
        }
        let own = self.network(&state, candidate, config.board).await?;
        let other = self.network(&state, champion, config.board).await?;
        let (Some(own), Some(other)) = (own, other) else { return Ok(None) };
        let &EvidenceToCount { lease, watched, terms, .. } = evidence;
        let asked = Asked { config, candidate, champion, lease, watched, terms };
        let seed = rand::random();
        let counting = compute::spawn("verifier", move || counted(&asked, contents, [own, other], seed));
        let counting = counting.map_err(WorkError::NoThread)?;
        let counted = counting.await.map_err(|_| WorkError::Panicked("the verifier"))?;
        counted.map_err(WorkError::Unjudged)
    }

    /// The network of a model; none if nobody can have played with it. What a program of another version may
    /// have made is an error, because this one cannot tell.
    async fn network(
        &self,
        state: &ClusterState,
        hash: ModelId,
        board: Board,
    ) -> Result<Option<Arc<Network>>, WorkError> {
        let model = state.models.get(&hash).ok_or(WorkError::Missing(hash.0))?;
        match self.networks.get_or_fetch(&model.config_key, hash, &model.holders).await {
            Ok(network) => Ok(network.architecture().fits(board).then_some(network)),
            Err(WorkError::Checkpoint(error)) if !matches!(error, CheckpointError::Version { .. }) => {
                Ok(None)
            }
            Err(WorkError::Nonsense(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What these contents hold of an evaluation, whose models have these networks.
fn counted(
    asked: &Asked,
    contents: Vec<Vec<u8>>,
    [own, other]: [Arc<Network>; 2],
    seed: u64,
) -> Result<Option<Tallies>, Unjudged> {
    let denied = |error: &dyn std::fmt::Display| {
        tracing::warn!(candidate = asked.candidate.short(), %error, "an evaluation's games are not what it says");
        None
    };
    let mut games = Vec::new();
    for content in contents {
        match Segment::open(content) {
            Ok(segment) => games.extend(segment.into_games()),
            Err(error) if error.is_foreign() => return Err(Unjudged::Foreign),
            Err(error) => return Ok(denied(&error)),
        }
    }
    let counted = match count(asked, &games) {
        Ok(counted) => counted,
        Err(error) => return Ok(denied(&error)),
    };
    let (mut own, mut other) = (CpuEvaluator::new(own), CpuEvaluator::new(other));
    let mut rivals = [
        Rival { model: asked.candidate, evaluator: &mut own },
        Rival { model: asked.champion, evaluator: &mut other },
    ];
    let records: Vec<_> = games.iter().map(|game| &game.record).collect();
    let mut choices = Choices::new(seed);
    let forged = forged(&records, asked.config, &mut rivals, backend::cpu(), &mut choices)?;
    Ok(forged.map_or(Some(counted), |untrue| denied(&untrue)))
}
