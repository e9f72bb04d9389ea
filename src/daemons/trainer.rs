//! TrainingCoordinator, the holder's half: it trains on the newest games, from the newest weights.

use super::{health::HealthHandle, lease_holder, run_guard::RunGuard};
use crate::{
    api::activity::TrainingActivity,
    clock::now_ms,
    compute,
    events::{Event, TrainingProgress, caused},
    learner::settings::TrainingConfig,
    learner::{
        ReplayWindow,
        train::{self, RunProgress, TrainingJob, TrainingResult},
    },
    peer::{ContentKind, Context, Daemon, Manifest, WorkError, announce, blocking},
    store::{Segment, paths},
};
use cluster_state::{
    ClusterState, Command, ConfigKey, ConfigState, Lease, LeaseKind, ModelId, ModelInfo, RegisteredSegment,
    SegmentId, Source, TrainingReport, command::CompleteTraining,
};
use kernels::{AnyBackend, Backend as _, Checkpoint, DeviceError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Failures in a row after which training starts without the newest weights.
const PATIENCE: u32 = 3;

pub struct TrainerDaemon {
    pub node: Context,
    pub settings: TrainingConfig,
    /// The seed of everything random in a run, once it is mixed with the lease.
    pub seed: u64,
    pub backend: AnyBackend,
    pub health: HealthHandle,
}

impl Daemon for TrainerDaemon {
    const NAME: &'static str = "trainer";

    async fn run(&mut self) -> Result<(), WorkError> {
        let its = &*self;
        lease_holder::follow(&its.node, &its.health, LeaseKind::Training, |lease, cancel| {
            train(its, lease, cancel)
        })
        .await;
        Ok(())
    }
}

/// Trains under a lease. Returns the command that ends the lease.
async fn train(its: &TrainerDaemon, lease: Lease, cancel: CancellationToken) -> Result<Command, WorkError> {
    let start = prepare(its, &lease, &cancel).await?;
    let _shown = RunGuard::new(
        &its.node,
        |work| work.training = Some(start.activity.clone()),
        |work| work.training = None,
    );
    let gathered = gather(its, &start, &cancel).await?;
    let origin = start.origin;
    let trained = run(its, start, gathered, lease.id ^ its.seed, &cancel).await?;
    publish(&its.node, lease, origin, trained).await
}

/// What a run begins with.
struct Start {
    game: rules::Config,
    /// The model whose weights the run continues, and its bytes.
    origin: ModelId,
    parent: Vec<u8>,
    /// Index in the Raft log of the last segment that the parent has learned from.
    seen: u64,
    /// Segments to learn from, oldest first.
    chosen: Vec<(SegmentId, RegisteredSegment)>,
    settings: TrainingConfig,
    /// Why the learning rate is what it is.
    why: String,
    activity: TrainingActivity,
}

/// Gets the weights to start from, and chooses the games.
async fn prepare(its: &TrainerDaemon, lease: &Lease, cancel: &CancellationToken) -> Result<Start, WorkError> {
    let key = &lease.config_key;
    let game = key.game().ok_or_else(|| WorkError::UnknownConfig(key.clone()))?;
    let state = its.node.raft.local();
    let config = state.config(key).ok_or_else(|| WorkError::UnknownConfig(key.clone()))?;
    let origin = origin(config);
    let model = state.models.get(&origin).ok_or(WorkError::Missing(origin.0))?;
    let parent = its.node.get_or_fetch_model(origin, &model.holders);
    let parent = cancel.run_until_cancelled(parent).await.ok_or(WorkError::Stopped)??;
    let registered = model.log_index;
    let (parent, seen) = blocking(move || {
        let seen = seen(Checkpoint::for_config(&parent, game)?.header.data_index, registered);
        Ok::<_, WorkError>((parent, seen))
    })
    .await??;
    Ok(Start {
        game,
        origin,
        parent,
        seen,
        chosen: choose(&state, key, its.settings.window_positions),
        settings: settings(&its.settings, config.steering.learning_rate),
        why: config.steering.learning_rate_reason.clone(),
        activity: TrainingActivity {
            config_key: key.clone(),
            job_id: caused::job_id(lease.kind, key, lease.epoch),
            epochs_completed: 0,
            total_epochs: 0,
            loss: 0.0,
        },
    })
}

/// The replay window of a run, and what of it is new.
struct Gathered {
    window: ReplayWindow,
    /// Positions that the parent has not learned from.
    new_positions: usize,
    /// Index in the Raft log of the last segment in the window.
    data_index: u64,
}

/// Fills the replay window. A segment that cannot be had, or is unsound, is left out.
async fn gather(
    its: &TrainerDaemon,
    start: &Start,
    cancel: &CancellationToken,
) -> Result<Gathered, WorkError> {
    let mut window = ReplayWindow::new(start.game, its.settings.window_positions);
    let (mut new_positions, mut data_index) = (0, start.seen);
    for (id, segment) in &start.chosen {
        if cancel.is_cancelled() {
            return Err(WorkError::Stopped);
        }
        let bytes = its.node.get_or_fetch_segment(*id, &segment.holders);
        let Some(Ok(bytes)) = cancel.run_until_cancelled(bytes).await else {
            tracing::warn!(segment = id.short(), "training goes on without a segment that cannot be had");
            continue;
        };
        let before = window.training_added();
        let filled;
        (window, filled) = blocking(move || fill(window, bytes)).await?;
        if let Err(error) = filled {
            tracing::error!(segment = id.short(), %error, "training goes on without a segment");
            if matches!(&error, WorkError::Segment(error) if !error.is_foreign()) {
                its.node.drop_nonsense(ContentKind::Segment, id.0).await?;
            }
        }
        if segment.log_index > start.seen {
            new_positions += (window.training_added() - before) as usize;
            data_index = data_index.max(segment.log_index);
        }
    }
    Ok(Gathered { window, new_positions, data_index })
}

/// Trains on a thread of its own, and tells of the progress.
async fn run(
    its: &TrainerDaemon,
    start: Start,
    gathered: Gathered,
    seed: u64,
    cancel: &CancellationToken,
) -> Result<TrainingResult, WorkError> {
    let Start { parent, chosen, settings, why, mut activity, .. } = start;
    let Gathered { mut window, new_positions, data_index } = gathered;
    let backend = its.backend.clone();
    tracing::info!(
        config = %activity.config_key,
        segments = chosen.len(),
        new_positions,
        positions = window.training(),
        learning_rate = settings.learning_rate,
        on = backend.describe(),
        why,
        "training"
    );
    let (reports, mut progress) = mpsc::channel::<RunProgress>(16);
    let stop = cancel.clone();
    let mut done = compute::spawn("trainer", move || {
        let job = TrainingJob { parent: &parent, settings: &settings, new_positions, data_index, seed };
        // A report is dropped while the channel is full, because a newer one follows.
        let mut report = |progress| {
            let _ = reports.try_send(progress);
        };
        let mut failed = |error: &DeviceError| {
            tracing::error!(%error, on = backend.describe(), "training begins again on the CPU");
            backend.failed(error);
        };
        let cancelled = || stop.is_cancelled();
        train::run_or_on_the_cpu(&backend, &mut window, job, &cancelled, &mut report, &mut failed)
    })
    .map_err(WorkError::NoThread)?;
    loop {
        tokio::select! {
            trained = &mut done => return Ok(trained.map_err(|_| WorkError::Panicked("training"))??),
            Some(report) = progress.recv() => report_progress(&its.node, &mut activity, &report).await,
        }
    }
}

/// Shows and emits how far a run is.
async fn report_progress(node: &Context, activity: &mut TrainingActivity, report: &RunProgress) {
    activity.epochs_completed = report.epochs_completed;
    activity.total_epochs = report.total_epochs;
    activity.loss = report.loss.total();
    let shown = activity.clone();
    node.activity.update(|work| work.training = Some(shown));
    let event = Event::TrainingProgress(TrainingProgress {
        config_key: activity.config_key.clone(),
        node_id: node.name(),
        job_id: activity.job_id.clone(),
        epochs_completed: report.epochs_completed,
        total_epochs: report.total_epochs,
        loss: report.loss.total(),
        checkpoint_path: paths::candidate(&activity.config_key),
        timestamp: caused::seconds(now_ms()),
    });
    // It speaks of a run that dies with this process: after a kill there is nothing left to tell.
    if let Err(error) = node.emit(event).await {
        tracing::warn!(%error, "progress was not reported");
    }
}

/// Keeps and announces the candidate. Returns the command that makes the cluster know it.
async fn publish(
    node: &Context,
    lease: Lease,
    parent: ModelId,
    trained: TrainingResult,
) -> Result<Command, WorkError> {
    let (hash, size) = (trained.hash, trained.bytes.len() as u64);
    node.put_content(trained.bytes).await?;
    announce(node, &Manifest { config_key: lease.config_key.clone(), model: hash, size })?;
    let final_loss = trained.final_loss.total();
    Ok(Command::CompleteTraining(CompleteTraining {
        config_key: lease.config_key,
        epoch: lease.epoch,
        node: node.id,
        model: ModelInfo {
            hash,
            size,
            parent,
            step: trained.header.step,
            generation: trained.header.generation,
        },
        report: TrainingReport {
            epochs_trained: trained.epochs,
            final_loss,
            // If no game was set aside, the training loss is the only loss that is known.
            val_loss: trained.validation.map_or(final_loss, |loss| loss.total()),
            samples: trained.samples,
            seconds: trained.elapsed.as_secs_f64(),
        },
        at_ms: now_ms(),
    }))
}

/// What a checkpoint has learned from, as it says itself. That cannot be what came after it was registered.
fn seen(data_index: u64, registered: u64) -> u64 {
    data_index.min(registered)
}

/// The weights to start from: the newest. One node alone may have had them, or they may lead nowhere; after
/// failures in a row it is the champion, which every node has, so that training never ends for good.
fn origin(config: &ConfigState) -> ModelId {
    if config.training.failures < PATIENCE { config.newest } else { config.champion }
}

/// The settings of this run: the cluster has agreed on the learning rate, as a factor of the rate in `set`.
fn settings(set: &TrainingConfig, scale: f64) -> TrainingConfig {
    TrainingConfig { learning_rate: set.learning_rate * scale as f32, ..set.clone() }
}

/// The replay window has this many positions at first. Then it grows more slowly than the data, as the data's
/// power of [`WINDOW_POWER`], because early games were played by networks that knew nothing.
const WINDOW_LEAST: u64 = 40_000;
const WINDOW_POWER: f64 = 0.8;

/// Positions to learn from when there are `all`.
fn window_positions(all: u64, most: usize) -> usize {
    let grown = (all as f64).powf(WINDOW_POWER) as u64;
    usize::try_from(grown.max(WINDOW_LEAST)).map_or(most, |positions| positions.min(most))
}

/// The newest self-play segments of trusted players with about as many positions as the window has, and at
/// most `most`; the oldest comes first.
fn choose(state: &ClusterState, key: &ConfigKey, most: usize) -> Vec<(SegmentId, RegisteredSegment)> {
    let ours = |segment: &RegisteredSegment| {
        segment.config_key == *key && segment.source == Source::Selfplay && state.counts(segment)
    };
    let mut found: Vec<_> = state.segments.iter().filter(|(_, segment)| ours(segment)).collect();
    found.sort_by_key(|(_, segment)| std::cmp::Reverse(segment.log_index));
    // Who registers a segment says how many positions it has.
    let all = found.iter().fold(0u64, |all, (_, segment)| all.saturating_add(segment.samples));
    let positions = window_positions(all, most);
    let mut sum = 0u64;
    let enough = found.iter().take_while(|(_, segment)| {
        let more = sum < positions as u64;
        sum = sum.saturating_add(segment.samples);
        more
    });
    let count = enough.count();
    found[..count].iter().rev().map(|(hash, segment)| (**hash, (*segment).clone())).collect()
}

/// Adds the games of a segment, and returns the window in every case.
fn fill(mut window: ReplayWindow, bytes: Vec<u8>) -> (ReplayWindow, Result<(), WorkError>) {
    let filled = Segment::open(bytes).map_err(WorkError::from).and_then(|segment| {
        segment.games().iter().try_for_each(|game| Ok(window.add(&game.record).map(drop)?))
    });
    (window, filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{KEY, World, hash};
    use cluster_state::{NodeId, command::FailLease};

    #[test]
    fn training_starts_from_the_newest_weights_unless_that_fails_again_and_again() {
        let mut world = World::with_nodes(2);
        world.train("a", 2);
        world.play(500);
        world.cross();
        for failures in 0..4 {
            let expected = if failures < PATIENCE { hash("a") } else { hash("untrained") };
            assert_eq!(origin(world.state.config(KEY).unwrap()), expected, "{failures}");
            let epoch = world.grant(LeaseKind::Training, 2, None);
            world.apply(Command::FailLease(FailLease {
                kind: LeaseKind::Training,
                config_key: KEY.into(),
                epoch,
                node: NodeId(2),
                error: "nowhere to be had".into(),
                at_ms: 0,
            }));
        }
    }

    #[test]
    fn no_checkpoint_has_learned_from_what_came_after_it() {
        assert_eq!([0, 6, 7, 8, u64::MAX].map(|says| seen(says, 7)), [0, 6, 7, 7, 7]);
    }

    #[test]
    fn the_agreed_learning_rate_is_a_factor_of_the_setting() {
        let set = TrainingConfig { learning_rate: 0.002, ..TrainingConfig::default() };
        assert_eq!(settings(&set, 1.0), set);
        assert_eq!(settings(&set, 0.5), TrainingConfig { learning_rate: 0.001, ..set });
    }

    #[test]
    fn the_newest_games_fill_the_window() {
        let mut world = World::with_nodes(1);
        let names: Vec<SegmentId> = (0..4).map(|_| world.play(10)).collect(); // 500 positions each
        let check = |positions, expected: &[SegmentId]| {
            let found: Vec<_> =
                choose(&world.state, &KEY.into(), positions).iter().map(|(hash, _)| *hash).collect();
            assert_eq!(found, expected);
        };
        check(1, &names[3..]);
        check(501, &names[2..]);
        check(1_000, &names[2..]);
        check(1_000_000, &names);
        assert_eq!(choose(&world.state, &"square8_2p".into(), 10).len(), 0);
    }

    #[test]
    fn the_window_grows_more_slowly_than_the_data() {
        let window = |all| window_positions(all, 250_000);
        assert_eq!([0, 40_000, 500_000].map(window), [40_000; 3]);
        assert!((125_000..150_000).contains(&window(2_500_000)));
        assert_eq!(window(u64::MAX), 250_000);
    }
}
