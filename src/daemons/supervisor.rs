//! DaemonManager: keeps the daemons running.
//!
//! Invariant: a daemon that fails or panics is started again, with growing pauses, and every failure is
//! counted and shown. The parts that the node cannot do without (peers, consensus, the store) are not
//! daemons: their failure ends the node.

use crate::events::runner::Handled;
use crate::{
    api::health::DaemonFailures,
    clock::now_ms,
    events::{Event, Logged},
    peer::{Context, Daemon, Wake},
};
use cluster_state::{ClusterState, ConfigKey, LeaseKind, NodeId};
use futures::FutureExt;
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::{BTreeMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Seconds before the first, second, ... restart without a sound run in between; the last value applies to
/// all that follow. The first restart comes almost at once, because it only calls a function again and most
/// failures are momentary. The supervisor never gives a daemon up, because nothing else would start it.
const PAUSES: [u64; 8] = [1, 5, 10, 20, 40, 80, 160, 320];
/// Failures in a row that make a crash loop: the fifth comes after 36 s of pauses at the earliest, which is
/// longer than a momentary trouble lasts.
const CRASH_LOOP: u32 = 5;
/// A daemon that ran this long is sound: twice the longest pause. If this were hours, a daemon that fails
/// once an hour, each time for some outer reason, would be taken for a crash loop.
const SOUND: Duration = Duration::from_secs(640);
/// How long a failure counts as recent.
const RECENT: Duration = Duration::from_secs(300);
/// Failures of a daemon that are remembered with their time.
const REMEMBERED: usize = 64;
/// An older event restarts nothing: a node that missed it has started since, or has other weights by now.
const FRESH: Duration = Duration::from_secs(300);

#[derive(Default)]
struct Record {
    failures: u64,
    in_row: u32,
    restarts: u64,
    last_error: String,
    /// Times of the failures, newest last.
    recent: VecDeque<Instant>,
    /// When the present run began, if the daemon runs.
    began: Option<Instant>,
    signal: Wake,
}

impl Record {
    /// Counts a failure after a run of `ran`, and returns the pause before the next run.
    fn failed(&mut self, error: &str, ran: Duration, now: Instant) -> Duration {
        self.failures += 1;
        self.began = None;
        self.in_row = if ran >= SOUND { 1 } else { self.in_row.saturating_add(1) };
        error.clone_into(&mut self.last_error);
        self.recent.push_back(now);
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
        pause(self.in_row)
    }

    /// Failures in a row; none once the present run is sound.
    fn in_row(&self, now: Instant) -> u32 {
        let sound = self.began.is_some_and(|at| now.saturating_duration_since(at) >= SOUND);
        if sound { 0 } else { self.in_row }
    }
}

/// The pause after this many failures in a row.
fn pause(in_row: u32) -> Duration {
    let last = PAUSES.len() - 1;
    let index = usize::try_from(in_row.saturating_sub(1)).map_or(last, |index| index.min(last));
    Duration::from_secs(PAUSES[index])
}

/// What is known about the daemons of this node, by name. A clone is a cheap handle.
#[derive(Clone)]
pub struct Supervisor(Arc<SupervisorInner>);

struct SupervisorInner {
    records: Mutex<BTreeMap<&'static str, Record>>,
    /// The number of all failures so far.
    failed: watch::Sender<u64>,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self(Arc::new(SupervisorInner { records: Mutex::default(), failed: watch::Sender::new(0) }))
    }
}

impl Supervisor {
    fn records(&self) -> MutexGuard<'_, BTreeMap<&'static str, Record>> {
        self.0.records.lock()
    }

    fn signal(&self, daemon: &'static str) -> Wake {
        self.records().entry(daemon).or_default().signal.clone()
    }

    fn began(&self, daemon: &'static str, now: Instant) {
        self.records().entry(daemon).or_default().began = Some(now);
    }

    fn failed(&self, daemon: &'static str, error: &str, ran: Duration) -> Duration {
        let pause = self.records().entry(daemon).or_default().failed(error, ran, Instant::now());
        self.0.failed.send_modify(|count| *count += 1);
        pause
    }

    /// Counts a failure, after a run of `ran`, of something that goes on by itself.
    pub fn note(&self, what: &'static str, error: &str, ran: Duration) {
        self.failed(what, error, ran);
        self.began(what, Instant::now());
    }

    /// A channel that changes with every failure.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.failed.subscribe()
    }

    /// Restarts a daemon now. Returns false if there is no such daemon.
    pub fn restart(&self, daemon: &str) -> bool {
        match self.records().get_mut(daemon) {
            Some(record) => {
                record.restarts += 1;
                record.signal.wake();
                true
            }
            None => false,
        }
    }

    /// Daemons that failed or were restarted, by name.
    #[must_use]
    pub fn failures(&self, now: Instant) -> Vec<DaemonFailures> {
        let records = self.records();
        let troubled = records.iter().filter(|(_, record)| record.failures + record.restarts > 0);
        troubled
            .map(|(daemon, record)| DaemonFailures {
                daemon: (*daemon).to_owned(),
                failures: record.failures,
                in_row: record.in_row(now),
                crash_loop: record.in_row(now) >= CRASH_LOOP,
                restarts: record.restarts,
                last_error: record.last_error.clone(),
            })
            .collect()
    }

    /// Number of failures in the last five minutes.
    #[must_use]
    pub fn recent(&self, now: Instant) -> usize {
        let recent = |at: &&Instant| now.saturating_duration_since(**at) < RECENT;
        self.records().values().map(|record| record.recent.iter().filter(recent).count()).sum()
    }

    /// After a critical regression of a configuration, restarts the daemons that train or evaluate it on this
    /// node, because their work began from weights that are no longer wanted. If the cluster has taken that
    /// work away already, the work ends by itself.
    pub fn handle(&self, node: &Context, logged: &Logged) -> Handled {
        let age = now_ms().saturating_sub(logged.at_ms.max(0).unsigned_abs());
        if let Event::RegressionCritical(regression) = &logged.event
            && u128::from(age) < FRESH.as_millis()
        {
            for daemon in affected(&node.raft.local(), node.id, &regression.config_key) {
                self.restart(daemon);
            }
        }
        Ok(None)
    }

    /// Runs a daemon until the shutdown, and restarts it when it ends before.
    pub async fn keep<D: Daemon>(self, daemon: D, shutdown: CancellationToken) {
        // The span has the highest level, so that a line names its daemon under every filter.
        let span = tracing::error_span!("daemon", daemon = D::NAME);
        self.run(daemon, shutdown).instrument(span).await;
    }

    async fn run<D: Daemon>(self, mut daemon: D, shutdown: CancellationToken) {
        let signal = self.signal(D::NAME);
        loop {
            let began = Instant::now();
            self.began(D::NAME, began);
            let ended = tokio::select! {
                ended = AssertUnwindSafe(Box::pin(daemon.run())).catch_unwind() => ended,
                () = signal.woken() => {
                    tracing::warn!("restarted");
                    continue; // its future is dropped, and with it all that it has begun
                }
            };
            if shutdown.is_cancelled() {
                return;
            }
            let error = match ended {
                Ok(Ok(())) => "ended by itself".to_owned(),
                Ok(Err(error)) => format!("{:#}", anyhow::Error::from(error)),
                Err(_) => "panicked".to_owned(),
            };
            let pause = self.failed(D::NAME, &error, began.elapsed());
            tracing::error!(error, again_in = ?pause, "a daemon failed");
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = signal.woken() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// The daemons of node `me` that work on a configuration: those that hold its leases. Each works on one
/// configuration at a time.
fn affected(state: &ClusterState, me: NodeId, config_key: &ConfigKey) -> Vec<&'static str> {
    let Some(config) = state.config(config_key) else { return Vec::new() };
    let mine = |kind: &LeaseKind| config.lease(*kind).live.as_ref().is_some_and(|lease| lease.node == me);
    let daemon = |kind| match kind {
        LeaseKind::Training => "trainer",
        LeaseKind::Evaluation => "gauntlet",
    };
    [LeaseKind::Training, LeaseKind::Evaluation].into_iter().filter(mine).map(daemon).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        daemons::fixture::{KEY, World, hash},
        peer::WorkError,
    };
    use cluster_state::EndCause;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn the_pauses_grow_and_end_after_a_sound_run() {
        let mut record = Record::default();
        let now = Instant::now();
        let mut fail = |ran: u64| record.failed("x", Duration::from_secs(ran), now).as_secs();
        let first: Vec<u64> = (0..10).map(|_| fail(0)).collect();
        assert_eq!(first, [1, 5, 10, 20, 40, 80, 160, 320, 320, 320]);
        assert_eq!(fail(639), 320);
        assert_eq!(fail(640), 1, "a sound run");
        assert_eq!(fail(1), 5);
        assert_eq!((record.failures, record.in_row), (13, 2));
    }

    #[test]
    fn a_crash_loop_shows_and_old_failures_are_forgotten() {
        let (supervisor, now) = (Supervisor::default(), Instant::now());
        supervisor.signal("sync");
        assert!(supervisor.failures(now).is_empty(), "it runs");
        for n in 1..=CRASH_LOOP {
            supervisor.failed("sync", "no disk", Duration::ZERO);
            let [shown] = &supervisor.failures(now)[..] else { panic!("one daemon") };
            assert_eq!((shown.in_row, shown.crash_loop), (n, n >= CRASH_LOOP));
            assert_eq!(shown.last_error, "no disk");
        }
        supervisor.began("sync", now);
        assert!(supervisor.failures(now)[0].crash_loop);
        assert!(!supervisor.failures(now + SOUND)[0].crash_loop, "it runs soundly");
        assert_eq!(supervisor.recent(now), CRASH_LOOP as usize);
        assert_eq!(supervisor.recent(now + RECENT * 2), 0);
        for _ in 0..999 {
            supervisor.failed("sync", "x", Duration::ZERO);
        }
        assert_eq!(supervisor.recent(now), REMEMBERED);
    }

    #[test]
    fn only_what_runs_can_be_restarted() {
        let supervisor = Supervisor::default();
        supervisor.signal("trainer");
        assert!(supervisor.restart("trainer"));
        assert!(!supervisor.restart("nobody"));
        assert_eq!(supervisor.failures(Instant::now())[0].restarts, 1);
    }

    #[test]
    fn a_regression_affects_who_has_the_configuration_in_hand() {
        const OTHER: &str = "square8_2p";
        let mut world = World::with_nodes(3);
        world.add_config(OTHER);
        world.train("a", 1);
        world.play(500);
        world.cross();
        let check = |world: &World, key: &str, expected: [&[&str]; 3]| {
            assert_eq!(
                [1, 2, 3].map(|me| affected(&world.state, NodeId(me), &key.into())),
                expected,
                "{key}"
            );
        };
        check(&world, KEY, [&[], &[], &[]]);
        world.grant(LeaseKind::Training, 2, None);
        check(&world, KEY, [&[], &["trainer"], &[]]);
        let epoch = world.grant(LeaseKind::Evaluation, 2, Some(hash("a")));
        check(&world, KEY, [&[], &["trainer", "gauntlet"], &[]]);
        check(&world, OTHER, [&[], &[], &[]]);
        world.cancel(LeaseKind::Evaluation, epoch, EndCause::Ordered, "a test");
        world.grant(LeaseKind::Evaluation, 3, Some(hash("a")));
        check(&world, KEY, [&[], &["trainer"], &["gauntlet"]]);
        check(&world, "hex8_4p", [&[], &[], &[]]);
    }

    /// A daemon that panics, fails, hangs, and then works until the shutdown.
    struct Patient {
        runs: Arc<AtomicU32>,
        dropped: CancellationToken,
        shutdown: CancellationToken,
    }

    impl Daemon for Patient {
        const NAME: &'static str = "patient";

        async fn run(&mut self) -> Result<(), WorkError> {
            match self.runs.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("once"),
                1 => Err(WorkError::Stopped),
                2 => {
                    let _guard = self.dropped.clone().drop_guard();
                    std::future::pending().await
                }
                _ => {
                    self.shutdown.cancelled().await;
                    Ok(())
                }
            }
        }
    }

    #[tokio::test]
    async fn a_daemon_comes_back_after_a_panic_an_error_and_a_signal() {
        let supervisor = Supervisor::default();
        let (runs, dropped, shutdown) =
            (Arc::new(AtomicU32::new(0)), CancellationToken::new(), CancellationToken::new());
        let patient =
            Patient { runs: Arc::clone(&runs), dropped: dropped.clone(), shutdown: shutdown.clone() };
        let kept = supervisor.clone().keep(patient, shutdown.clone());
        let mut failed = supervisor.watch();
        let operator = async {
            for failures in 1..=2 {
                failed.changed().await.unwrap();
                assert_eq!(supervisor.failures(Instant::now())[0].failures, failures);
                assert!(supervisor.restart("patient"), "which ends the pause");
            }
            while runs.load(Ordering::SeqCst) < 3 {
                tokio::task::yield_now().await;
            }
            assert!(!dropped.is_cancelled(), "it runs");
            supervisor.restart("patient");
            dropped.cancelled().await;
            while runs.load(Ordering::SeqCst) < 4 {
                tokio::task::yield_now().await;
            }
            shutdown.cancel();
        };
        let both = async { tokio::join!(kept, operator) };
        tokio::time::timeout(Duration::from_secs(30), both).await.unwrap();
        let [shown] = &supervisor.failures(Instant::now())[..] else { panic!("one daemon") };
        assert_eq!((shown.failures, shown.in_row, shown.restarts), (2, 2, 3));
        assert_eq!(shown.last_error, "stopped");
    }
}
