//! GameGauntlet, the holder's half of an evaluation: it plays the games of the candidate, or of a champion
//! that is watched, and keeps them as evidence.

use super::{cache::LoadedNetworks, health::HealthHandle, lease_holder, run_guard::RunGuard};
use crate::{
    api::activity::EvaluationActivity,
    clock::now_ms,
    compute,
    devices::parallel_games,
    events::caused,
    learner::settings::EvaluationConfig,
    learner::{
        arena::ModelPlayer,
        backend,
        evaluation::{self, EvaluationJob, EvaluationResult},
    },
    peer::{Context, Daemon, WorkError},
    segments::Segments,
    store::{GameRecord, SEGMENT_GAMES_MAX},
};
use cluster_state::{
    ClusterState, Command, ConfigKey, Lease, LeaseKind, ModelId, SegmentId, Source,
    command::CompleteEvaluation,
};
use kernels::{AnyBackend, Backend as _, Network};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub struct GauntletDaemon {
    pub node: Context,
    pub settings: EvaluationConfig,
    pub backend: AnyBackend,
    pub networks: LoadedNetworks,
    pub segments: Segments,
    pub health: HealthHandle,
}

impl Daemon for GauntletDaemon {
    const NAME: &'static str = "gauntlet";

    async fn run(&mut self) -> Result<(), WorkError> {
        let its = &*self;
        lease_holder::follow(&its.node, &its.health, LeaseKind::Evaluation, |lease, cancel| {
            evaluate(its, lease, cancel)
        })
        .await;
        Ok(())
    }
}

async fn evaluate(
    its: &GauntletDaemon,
    lease: Lease,
    cancel: CancellationToken,
) -> Result<Command, WorkError> {
    let GauntletDaemon { node, segments, .. } = its;
    let key = lease.config_key.clone();
    let game = key.game().ok_or_else(|| WorkError::UnknownConfig(key.clone()))?;
    let state = node.raft.local();
    let config = state.config(&key).ok_or_else(|| WorkError::UnknownConfig(key.clone()))?;
    let candidate = lease.subject.ok_or(WorkError::NoSubject)?;
    // A champion that is watched plays its predecessor.
    let before = config.fallback().filter(|_| candidate == config.champion).map(|before| before.model);
    let (watched, opponent) = (before.is_some(), before.unwrap_or(config.champion));
    let _shown = shown(node, &lease);
    let job = EvaluationJob {
        config: game,
        settings: its.settings.clone(),
        // The number that self-play uses unless its settings say otherwise. A larger number would play more
        // games than a verdict needs.
        parallel: parallel_games(0, its.backend.is_card()),
        lease: lease.id,
        node: node.id,
        backend: backend::name(&its.backend, false),
    };
    let load = async {
        let candidate = network(&its.networks, &state, candidate).await?;
        Ok::<_, WorkError>((candidate, network(&its.networks, &state, opponent).await?))
    };
    let (own, other) = cancel.run_until_cancelled(load).await.ok_or(WorkError::Stopped)??;
    let pairing = Pairing { job, watched, player: (candidate, own), opponent: (opponent, other) };
    let evaluated = pairing.play(node, &its.backend, &cancel).await?;
    let mut evidence = evaluated.evidence;
    evidence.segments = record(segments, &key, candidate, evaluated.games, &cancel).await?;
    Ok(Command::CompleteEvaluation(CompleteEvaluation {
        config_key: key,
        epoch: lease.epoch,
        node: node.id,
        evidence,
        at_ms: now_ms(),
    }))
}

/// Two models with their networks, and the games that they are to play.
struct Pairing {
    job: EvaluationJob,
    /// Whether a champion that is watched plays, rather than a candidate.
    watched: bool,
    player: (ModelId, Arc<Network>),
    opponent: (ModelId, Arc<Network>),
}

impl Pairing {
    /// Plays the games on a thread of their own, and shows the progress.
    async fn play(
        self,
        node: &Context,
        backend: &AnyBackend,
        cancel: &CancellationToken,
    ) -> Result<EvaluationResult, WorkError> {
        let Self { job, watched, player, opponent } = self;
        tracing::info!(
            config = %job.config,
            model = player.0.short(),
            opponent = opponent.0.short(),
            on = backend.describe(),
            watched,
            "evaluating"
        );
        let model = |(hash, network)| ModelPlayer { hash, evaluator: backend.any_evaluator(network) };
        let (player, opponent) = (model(player), model(opponent));
        let (watcher, stop) = (Arc::clone(node), cancel.clone());
        let done = compute::spawn("gauntlet", move || {
            let play = if watched { evaluation::watch } else { evaluation::evaluate };
            play(&job, player, opponent, &|| stop.is_cancelled(), &mut |progress| {
                watcher.activity.update(|work| {
                    if let Some(shown) = &mut work.evaluation {
                        shown.stage = progress.stage.as_str().to_owned();
                        shown.games = progress.games;
                        shown.elo_delta = progress.elo.delta;
                    }
                });
            })
        })
        .map_err(WorkError::NoThread)?;
        done.await.map_err(|_| WorkError::Panicked("the evaluation"))?.ok_or(WorkError::Stopped)
    }
}

async fn network(
    networks: &LoadedNetworks,
    state: &ClusterState,
    hash: ModelId,
) -> Result<Arc<Network>, WorkError> {
    let model = state.models.get(&hash).ok_or(WorkError::Missing(hash.0))?;
    networks.get_or_fetch(&model.config_key, hash, &model.holders).await
}

/// Keeps the games and waits until they are acknowledged: the verdict names only games that cannot be lost.
async fn record(
    segments: &Segments,
    key: &ConfigKey,
    candidate: ModelId,
    games: Vec<GameRecord>,
    cancel: &CancellationToken,
) -> Result<Vec<SegmentId>, WorkError> {
    let mut names = Vec::new();
    for part in games.chunks(SEGMENT_GAMES_MAX) {
        let pending = segments.close(key, Source::Evaluation, candidate, part.to_vec()).await?;
        cancel
            .run_until_cancelled(segments.acknowledge_in_time(&pending))
            .await
            .ok_or(WorkError::Stopped)??;
        names.push(pending.hash);
    }
    Ok(names)
}

/// Shows the evaluation in the node's activity while the guard lasts.
fn shown(node: &Context, lease: &Lease) -> RunGuard {
    let activity = EvaluationActivity {
        config_key: lease.config_key.clone(),
        job_id: caused::job_id(lease.kind, &lease.config_key, lease.epoch),
        stage: "loading".to_owned(),
        games: 0,
        elo_delta: 0.0,
    };
    RunGuard::new(node, |work| work.evaluation = Some(activity), |work| work.evaluation = None)
}
