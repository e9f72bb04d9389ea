//! UnifiedDistributionDaemon: keeps every champion and candidate on this node, verified, and reports it.
//!
//! A candidate is fetched before its verdict, so that a promotion only moves a name. A model that cannot be
//! fetched is tried again, with growing pauses, and at once when a peer connects or an event concerns models.
//! A champion that cannot be fetched in any way is reported once until it is here.

use crate::events::runner::Handled;
use crate::events::{Event, Logged, ModelDistributionFailed, TrainingProgress, caused};
use crate::{
    backoff::Backoff,
    clock::now_ms,
    learner,
    peer::{ContentKind, Context, Daemon, Wake, WorkError, blocking},
    store::{self, paths},
};
use cluster_state::{ClusterState, Command, ConfigKey, ModelId, NodeId, command::ModelHeld};
use futures::StreamExt;
use kernels::{Checkpoint, CheckpointError};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use wire::Hash;

/// Pause between two looks when nothing has changed.
const PAUSE: Duration = Duration::from_secs(2);
/// Pauses between two attempts at the same model.
const AGAIN: Backoff = Backoff { min: Duration::from_secs(2), max: Duration::from_secs(60) };
/// Failed attempts after which a missing champion is reported: about half a minute.
const ATTEMPTS_REPORTED: u32 = 5;
/// Most models fetched at the same time.
const AT_ONCE: usize = 3;
/// Share of a training run after which the nodes prepare for its candidate.
const PREFETCH_AT: f64 = 0.8;

/// A model that should be on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct WantedModel {
    config_key: ConfigKey,
    model: ModelId,
    champion: bool,
}

/// Models that node `me` should hold and lacks, or holds without the cluster knowing it; champions come
/// first.
fn wanted(state: &ClusterState, me: NodeId, here: impl Fn(ModelId) -> bool) -> Vec<WantedModel> {
    let champions = state.configs.values().map(|config| (config, config.champion));
    let others = state.configs.values().flat_map(|config| {
        let candidates = config.candidates.iter().rev().copied();
        candidates.chain([config.newest]).map(move |model| (config, model))
    });
    let mut found: Vec<WantedModel> = Vec::new();
    for (config, model) in champions.chain(others) {
        let known = state.models.get(&model);
        let missing = known.is_some_and(|known| !known.holders.contains(&me) || !here(model));
        let again = found.iter().any(|want| want.model == model && want.config_key == config.config_key);
        if missing && !again {
            let champion = model == config.champion;
            found.push(WantedModel { config_key: config.config_key.clone(), model, champion });
        }
    }
    found
}

/// How often each model could not be fetched. Pure: time comes in as an argument.
#[derive(Debug, Default)]
struct Attempts(BTreeMap<ModelId, Failed>);

#[derive(Debug)]
struct Failed {
    attempts: u32,
    again: Instant,
    reported: bool,
}

impl Attempts {
    fn allows(&self, model: ModelId, now: Instant) -> bool {
        self.0.get(&model).is_none_or(|failed| failed.again <= now)
    }

    /// Counts a failure, and returns whether it should be reported.
    fn failed(&mut self, want: &WantedModel, now: Instant) -> bool {
        let failed = self.0.entry(want.model).or_insert(Failed { attempts: 0, again: now, reported: false });
        failed.attempts += 1;
        failed.again = now + AGAIN.pause(failed.attempts);
        let report = want.champion && failed.attempts >= ATTEMPTS_REPORTED && !failed.reported;
        failed.reported |= report;
        report
    }

    /// Allows every model to be tried at once, because the next attempt may succeed.
    fn retry(&mut self, now: Instant) {
        self.0.values_mut().for_each(|failed| failed.again = now);
    }

    /// Forgets the models that are here, and those that are no longer wanted.
    fn retain(&mut self, wanted: &[WantedModel]) {
        self.0.retain(|model, _| wanted.iter().any(|want| want.model == *model));
    }
}

/// The trainer whose candidate node `me` should prepare for: its run is live and nearly done.
fn nearly_done(state: &ClusterState, me: NodeId, progress: &TrainingProgress) -> Option<NodeId> {
    let done = f64::from(progress.epochs_completed) / f64::from(progress.total_epochs);
    let lease = state.config(&progress.config_key)?.training.live.as_ref()?;
    let job_id = caused::job_id(lease.kind, &lease.config_key, lease.epoch);
    (done >= PREFETCH_AT && job_id == progress.job_id && lease.node != me).then_some(lease.node)
}

/// Wakes the daemon so that it looks at the models. A clone is a cheap handle.
#[derive(Clone)]
pub struct DistributionHandle {
    node: Context,
    wake: Wake,
}

pub struct DistributionDaemon {
    node: Context,
    wake: Wake,
}

impl DistributionDaemon {
    /// Returns the daemon and the handle that wakes it.
    #[must_use]
    pub fn new(node: Context) -> (Self, DistributionHandle) {
        let wake = Wake::default();
        let handle = DistributionHandle { node: Context::clone(&node), wake: wake.clone() };
        (Self { node, wake }, handle)
    }
}

impl Daemon for DistributionDaemon {
    const NAME: &'static str = "distribution";

    async fn run(&mut self) -> Result<(), WorkError> {
        let Self { node, wake } = self;
        let mut state = node.raft.applied();
        let mut peers = node.p2p.peers();
        let mut connected = BTreeSet::new();
        let mut attempts = Attempts::default();
        // The model that each of the files named in events holds.
        let mut named: BTreeMap<String, ModelId> = BTreeMap::new();
        loop {
            let current = state.borrow_and_update().clone();
            let now_connected: BTreeSet<String> =
                peers.borrow_and_update().iter().map(|peer| peer.peer_id.clone()).collect();
            if !now_connected.is_subset(&connected) {
                attempts.retry(Instant::now());
            }
            connected = now_connected;
            let all = wanted(&current, node.id, |model| node.blobs.has(model.0));
            attempts.retain(&all);
            let now = Instant::now();
            let due = all.into_iter().filter(|want| attempts.allows(want.model, now));
            let due: Vec<WantedModel> = due.collect();
            let fetches = futures::stream::iter(due.into_iter().map(|want| async {
                let held = Box::pin(hold(node, &current, &want)).await;
                (want, held)
            }));
            let fetched = fetches.buffer_unordered(AT_ONCE).collect::<Vec<_>>();
            let Some(fetched) = node.shutdown.run_until_cancelled(fetched).await else { return Ok(()) };
            for (want, held) in fetched {
                let Err(error) = held else { continue };
                tracing::info!(model = want.model.short(), %error, "a model is not here yet");
                // Without a leader this node cannot register as a holder of the model.
                let here = matches!(error, WorkError::Propose(_));
                if !here && attempts.failed(&want, Instant::now()) {
                    report(node, &want, &error).await?;
                }
            }
            name_files(node, &current, &mut named).await?;
            tokio::select! {
                () = node.shutdown.cancelled() => return Ok(()),
                changed = state.changed() => if changed.is_err() { return Ok(()) },
                changed = peers.changed() => if changed.is_err() { return Ok(()) },
                () = wake.woken() => attempts.retry(Instant::now()),
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

/// Writes champions and newest candidates to the files that events name.
async fn name_files(
    node: &Context,
    state: &ClusterState,
    named: &mut BTreeMap<String, ModelId>,
) -> Result<(), WorkError> {
    for config in state.configs.values() {
        let key = &config.config_key;
        let champion = (paths::canonical(key), config.champion);
        // Before the first training run there is no candidate.
        let newest = (config.newest != config.initial).then(|| (paths::candidate(key), config.newest));
        for (name, model) in [champion].into_iter().chain(newest) {
            if named.get(&name) == Some(&model) {
                continue;
            }
            if let Some(bytes) = node.get_content(model.0).await? {
                let path = node.path(&name);
                blocking(move || {
                    store::write_atomic(&path, &bytes).map_err(|source| WorkError::File { path, source })
                })
                .await??;
                named.insert(name, model);
            }
        }
    }
    Ok(())
}

async fn report(node: &Context, want: &WantedModel, error: &WorkError) -> Result<(), WorkError> {
    tracing::warn!(model = %want.model, config = %want.config_key, %error, "a champion cannot be had");
    node.emit(Event::ModelDistributionFailed(ModelDistributionFailed {
        config_key: want.config_key.clone(),
        node_id: node.name(),
        model_id: want.model,
        error: error.to_string().chars().take(500).collect(),
        failed_nodes: vec![node.name()],
        timestamp: caused::seconds(now_ms()),
    }))
    .await
}

/// Gets a model from its holders, or makes it if it is the seeded network; then loads it and registers this
/// node as a holder.
async fn hold(node: &Context, state: &ClusterState, want: &WantedModel) -> Result<(), WorkError> {
    let WantedModel { config_key: key, model, .. } = want;
    let known = state.models.get(model).ok_or(WorkError::Missing(model.0))?;
    let game = key.game().ok_or_else(|| WorkError::UnknownConfig(key.clone()))?;
    if known.trained_by.is_none() && node.get_content(model.0).await?.is_none() {
        let seeded = blocking(move || learner::seeded(game)).await?;
        if Hash::of(&seeded) == model.0 {
            node.put_content(seeded).await?;
        }
    }
    let bytes = node.get_or_fetch_model(*model, &known.holders).await?;
    // A model that does not load does not count as held, and nobody needs it.
    if let Err(error) = blocking(move || Checkpoint::from_bytes(&bytes).map(|_| ())).await? {
        if !matches!(error, CheckpointError::Version { .. }) {
            node.drop_nonsense(ContentKind::Model, model.0).await?;
        }
        return Err(error.into());
    }
    node.propose(Command::ModelHeld(ModelHeld { model: *model, node: node.id, at_ms: now_ms() })).await?;
    Ok(())
}

impl DistributionHandle {
    /// Looks at the state now. When a training run is nearly done, it also prepares for the candidate: it
    /// connects to the trainer, and it fetches the missing models that the candidate will play against.
    pub async fn handle(&self, logged: &Logged) -> Handled {
        let node = &self.node;
        if let Event::TrainingProgress(progress) = &logged.event {
            let state = node.raft.local();
            let trainer = nearly_done(&state, node.id, progress).and_then(|id| state.nodes.get(&id));
            let Some(trainer) = trainer else { return Ok(None) };
            let (key, job) = (progress.config_key.clone(), progress.job_id.clone());
            let mut news = false;
            node.activity.update(|work| {
                news = work.prefetched.insert(key, job.clone()).as_ref() != Some(&job);
            });
            if !news {
                return Ok(None);
            }
            let connected = node.p2p.is_connected(&trainer.peer_id);
            if !connected {
                node.p2p.add_peer(&trainer.peer_id, &trainer.addrs).await;
            }
            tracing::info!(job, trainer = trainer.name, connected, "preparing for a candidate");
        }
        self.wake.wake();
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{KEY, World, hash};
    use cluster_state::{
        LeaseKind, Response,
        command::{Appoint, RegisterNode, Rollback, SetOnline},
    };

    #[test]
    fn champions_and_candidates_are_wanted_everywhere() {
        let mut world = World::with_nodes(3);
        let want = |world: &World, node| -> Vec<ModelId> {
            let found = wanted(&world.state, node, |model| model != hash("corrupt"));
            assert!(found.iter().all(|want| want.config_key == KEY && !want.champion));
            found.into_iter().map(|want| want.model).collect()
        };
        assert_eq!(want(&world, NodeId(1)), []);
        world.train("a", 2);
        assert_eq!(want(&world, NodeId(2)), [], "the trainer has it");
        assert_eq!(want(&world, NodeId(1)), [hash("a")]);
        world.train("b", 2);
        assert_eq!(want(&world, NodeId(1)), [hash("b"), hash("a")], "the newest first");
        world.held("b", 1);
        assert_eq!(want(&world, NodeId(1)), [hash("a")]);
        world.train("corrupt", 2);
        assert_eq!(want(&world, NodeId(2)), [hash("corrupt")], "set aside since");
        let all = wanted(&world.state, NodeId(1), |_| false);
        assert_eq!(all.iter().map(|want| want.champion).collect::<Vec<_>>(), [true, false, false, false]);
    }

    #[test]
    fn a_champion_that_cannot_be_had_is_reported_once_until_it_is_here() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let of = |name: &str, champion| WantedModel { config_key: KEY.into(), model: hash(name), champion };
        let (champion, candidate) = (of("champion", true), of("candidate", false));
        let mut attempts = Attempts::default();
        let mut reported = Vec::new();
        for second in 0..600 {
            for want in [&champion, &candidate] {
                if attempts.allows(want.model, at(second)) && attempts.failed(want, at(second)) {
                    reported.push((want.champion, second));
                }
            }
        }
        assert_eq!(reported, [(true, 30)], "at 0, 2, 6, 14 and 30 s");
        let tried = attempts.0[&champion.model].attempts;
        assert!((12..20).contains(&tried), "later each time: {tried}");
        assert!(!attempts.allows(champion.model, at(600)));
        attempts.retry(at(600));
        assert!(attempts.allows(champion.model, at(600)), "somebody connected");
        attempts.retain(std::slice::from_ref(&candidate));
        for attempt in 1..=ATTEMPTS_REPORTED {
            assert_eq!(attempts.failed(&champion, at(700)), attempt == ATTEMPTS_REPORTED, "lost again");
        }
    }

    #[test]
    fn a_candidate_is_prepared_for_from_80_percent_on() {
        let mut world = World::with_nodes(2);
        world.play(500);
        world.cross();
        let epoch = world.grant(LeaseKind::Training, 2, None);
        let job = format!("training:{KEY}:{epoch}");
        let check = |me, job_id: &str, done, of, expected| {
            let progress = TrainingProgress {
                config_key: KEY.into(),
                node_id: "node-2".into(),
                job_id: job_id.into(),
                epochs_completed: done,
                total_epochs: of,
                loss: 1.0,
                checkpoint_path: String::new(),
                timestamp: 0.0,
            };
            assert_eq!(nearly_done(&world.state, me, &progress), expected, "{done} of {of} at {me}");
        };
        check(NodeId(1), &job, 7, 10, None);
        check(NodeId(1), &job, 8, 10, Some(NodeId(2)));
        check(NodeId(1), &job, 10, 10, Some(NodeId(2)));
        check(NodeId(1), &job, 4, 5, Some(NodeId(2)));
        check(NodeId(2), &job, 9, 10, None); // its own
        check(NodeId(1), "training:hex8_2p:99", 9, 10, None); // not the live one
        check(NodeId(1), &job, 0, 0, None);
    }

    /// Applies a command to the world and returns the events that the command caused.
    fn caused_by(world: &mut World, command: Command) -> Vec<Event> {
        let before = world.state.clone();
        let response: Response = world.apply(command.clone());
        let games_planned = caused::GAMES_PLANNED;
        let applied = caused::AppliedCommand {
            response: &response,
            before: &before,
            state: &world.state,
            games_planned,
        };
        caused::caused(&command, &applied)
    }

    fn held(model: &str, node: NodeId) -> Command {
        Command::ModelHeld(ModelHeld { model: hash(model), node, at_ms: 1 })
    }

    fn appoint(world: &World, model: &str) -> Command {
        Command::Appoint(Appoint {
            config_key: KEY.into(),
            model: hash(model),
            expected_champion: world.state.config(KEY).unwrap().champion,
            reason: "drill".into(),
            at_ms: 1,
        })
    }

    /// Names of the events about distribution; for each completion also the hosts that hold the model and
    /// those that are away.
    fn told(events: &[Event]) -> Vec<String> {
        let tell = |event: &Event| {
            if let Event::ModelDistributionStarted(it) = event {
                Some(format!("started {}", it.target_hosts.len()))
            } else if let Event::ModelDistributionComplete(it) = event {
                Some(format!("complete {} away {}", it.target_hosts.join(" "), it.offline_hosts.join(" ")))
            } else {
                None
            }
        };
        events.iter().filter_map(tell).collect()
    }

    #[test]
    fn distribution_is_complete_once_for_each_champion_when_every_live_member_holds_it() {
        let mut world = World::with_nodes(5);
        world.train("a", 1);
        for node in [2, 3] {
            assert_eq!(told(&caused_by(&mut world, held("a", NodeId(node)))), [""; 0], "a candidate");
        }
        // The model is appointed while two nodes lack it.
        let command = appoint(&world, "a");
        assert_eq!(told(&caused_by(&mut world, command)), ["started 5"]);
        assert_eq!(told(&caused_by(&mut world, held("a", NodeId(4)))), [""; 0]);
        let observed_boot = world.state.nodes[&NodeId(5)].boot;
        let away = Command::SetOnline(SetOnline {
            node: NodeId(5),
            online: false,
            reason: "x".into(),
            observed_boot,
            at_ms: 1,
        });
        let all = "complete node-1 node-2 node-3 node-4 away node-5";
        assert_eq!(told(&caused_by(&mut world, away)), [all], "the last that lacked it is away");
        world.online(5, true);
        assert_eq!(told(&caused_by(&mut world, held("a", NodeId(5)))), [""; 0], "once");

        // The rollback goes to a model that every node holds: it is complete at once, and reported once.
        let rollback = |world: &World| {
            Command::Rollback(Rollback {
                config_key: KEY.into(),
                expected_champion: Some(world.state.config(KEY).unwrap().champion),
                reason: "drill".into(),
                triggered_by: "test".into(),
                trigger: None,
                at_ms: 1,
            })
        };
        let command = rollback(&world);
        let everybody = "complete node-1 node-2 node-3 node-4 node-5 away ";
        assert_eq!(told(&caused_by(&mut world, command)), [everybody]);
        assert_eq!(told(&caused_by(&mut world, held("untrained", NodeId(5)))), [""; 0]);

        // The rollback goes to a champion that a member lacks, because that member joined later.
        world.train("b", 1);
        (2..=4).for_each(|node| world.held("b", node));
        let command = appoint(&world, "b");
        assert_eq!(told(&caused_by(&mut world, command)), ["started 5"]);
        assert_eq!(told(&caused_by(&mut world, held("b", NodeId(5)))), [everybody]);
        world.apply(Command::RegisterNode(RegisterNode {
            peer_id: cluster_state::samples::peer_id(6),
            name: "host-6".into(),
            addrs: vec![],
            http: String::new(),
            version: "0".into(),
            boot: 6,
            admission: cluster_state::Admission::Known,
            at_ms: 1,
        }));
        let command = rollback(&world);
        assert_eq!(told(&caused_by(&mut world, command)), ["started 6"]);
        let six = "complete node-1 node-2 node-3 node-4 node-5 node-6 away ";
        assert_eq!(told(&caused_by(&mut world, held("untrained", NodeId(6)))), [six]);
    }
}
