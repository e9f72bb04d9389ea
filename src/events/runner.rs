//! Takes events to their handlers.
//!
//! Invariant: one handler sees the events of one flow in the order of the log, one at a time; different
//! handlers and different flows never wait for each other. An event is tried three times, with pauses of one
//! and two seconds, then it is a dead letter and the next one follows. A missing quorum is no failure: the
//! handler waits for it.

use super::{
    LogError, Logged, Subscriptions,
    deliveries::{Deliveries, hours_ago},
    dlq::Dead,
    inbox::{Due, Inbox, Lane},
    log::EventLog,
};
use crate::{api::dead_letters::Replayed, clock::now_ms_i64};
use futures::{FutureExt, future::BoxFuture};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    task::{Id, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub use super::inbox::Effect;

/// Pauses between the attempts, as the event-flow map has them: one attempt more than there are pauses.
pub const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(60);
/// Between attempts of a parked handler, and of a database that is busy.
const PARKED: Duration = Duration::from_secs(1);
/// How long one replay may go on; the rest is for the next one.
const REPLAY: Duration = Duration::from_secs(20);

/// Why a handler did not handle an event.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The cluster cannot decide now. Tried again when it can.
    #[error("no quorum")]
    NoQuorum,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// How a handler's work ended, and what it wants changed in `node.db`.
pub type Handled = Result<Option<Effect>, HandlerError>;
/// A handler at work.
pub type Handling = BoxFuture<'static, Handled>;
type Handler = Box<dyn Fn(Arc<Logged>) -> Handling + Send + Sync>;

/// Handlers by name, and what they listen to.
#[derive(Default)]
pub struct Handlers {
    all: BTreeMap<&'static str, Handler>,
    pairs: BTreeSet<(&'static str, &'static str)>,
}

impl Handlers {
    /// Adds a handler for these events.
    pub fn on(
        &mut self,
        handler: &'static str,
        events: &[&'static str],
        run: impl Fn(Arc<Logged>) -> Handling + Send + Sync + 'static,
    ) {
        self.all.insert(handler, Box::new(run));
        self.pairs.extend(events.iter().map(|event| (*event, handler)));
    }

    /// Pairs of event and handler.
    #[must_use]
    pub fn pairs(&self) -> &BTreeSet<(&'static str, &'static str)> {
        &self.pairs
    }

    /// The same, for the log.
    #[must_use]
    pub fn subscriptions(&self) -> Subscriptions {
        Subscriptions::new(self.pairs.iter().copied())
    }
}

struct RunnerInner {
    deliveries: Deliveries,
    handlers: Handlers,
    quorum: watch::Receiver<bool>,
    pauses: [Duration; 2],
    shutdown: CancellationToken,
}

/// The runner. Cheap to clone.
#[derive(Clone)]
pub struct Runner(Arc<RunnerInner>);

/// How one attempt ended.
enum AttemptOutcome {
    Done,
    NoQuorum,
    Failed(String),
    /// It did not end in time.
    Late,
    Stopped,
}

impl AttemptOutcome {
    /// What ran for all the time that it may have has failed.
    fn after(self, limit: Duration) -> Self {
        match self {
            Self::Late => Self::Failed(format!("no end after {} s", limit.as_secs())),
            Self::Done | Self::NoQuorum | Self::Failed(_) | Self::Stopped => self,
        }
    }
}

impl Runner {
    /// `quorum` says whether the cluster can decide. The log must have been opened with subscriptions for
    /// these handlers.
    #[must_use]
    pub fn new(
        deliveries: Deliveries,
        handlers: Handlers,
        quorum: watch::Receiver<bool>,
        shutdown: CancellationToken,
    ) -> Self {
        Self::with_pauses(deliveries, handlers, quorum, shutdown, PAUSES)
    }

    pub(super) fn with_pauses(
        deliveries: Deliveries,
        handlers: Handlers,
        quorum: watch::Receiver<bool>,
        shutdown: CancellationToken,
        pauses: [Duration; 2],
    ) -> Self {
        Self(Arc::new(RunnerInner { deliveries, handlers, quorum, pauses, shutdown }))
    }

    /// The handlers' side of the database.
    #[must_use]
    pub fn deliveries(&self) -> &Deliveries {
        &self.0.deliveries
    }

    /// Runs until the shutdown.
    pub async fn run(self, log: Arc<EventLog>) {
        let mut changes = log.changes();
        let mut tasks = JoinSet::new();
        let mut lanes: HashMap<Id, Lane> = HashMap::new();
        let mut again: BTreeSet<Lane> = BTreeSet::new();
        let mut seen = 0;
        loop {
            changes.mark_unchanged();
            match self.database(move |inbox| inbox.lanes(seen)).await {
                Ok((found, last)) => {
                    seen = last;
                    again.extend(found);
                }
                Err(error) => tracing::error!(%error, "cannot look for events to handle"),
            }
            for lane in std::mem::take(&mut again) {
                if lanes.values().any(|running| *running == lane) {
                    again.insert(lane); // it may have looked just before
                } else {
                    // Of the highest level, so that a line says which lane it is about under every filter.
                    let span = tracing::error_span!("lane", handler = lane.handler, flow = lane.flow);
                    let task = tasks.spawn(self.clone().lane(lane.clone()).instrument(span));
                    lanes.insert(task.id(), lane);
                }
            }
            tokio::select! {
                () = self.0.shutdown.cancelled() => break,
                changed = changes.changed() => if changed.is_err() { break },
                Some(ended) = tasks.join_next_with_id() => {
                    let id = match ended {
                        Ok((id, ())) => id,
                        Err(error) => {
                            tracing::error!(%error, "a lane of events broke");
                            again.extend(lanes.get(&error.id()).cloned());
                            error.id()
                        }
                    };
                    lanes.remove(&id);
                }
                () = tokio::time::sleep(PARKED) => {}
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn database<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Inbox) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        self.0.deliveries.with(run).await
    }

    /// Returns whether there is time left to go on.
    async fn pause(&self, duration: Duration) -> bool {
        self.0.shutdown.run_until_cancelled(tokio::time::sleep(duration)).await.is_some()
    }

    /// Handles the events of a lane until there are no more.
    async fn lane(self, lane: Lane) {
        loop {
            match self.step(&lane).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::error!(%error, "an event waits: the database failed");
                    if !self.pause(PARKED).await {
                        return;
                    }
                }
            }
        }
    }

    /// One attempt at the next event of a lane. False: nothing more to do.
    async fn step(&self, lane: &Lane) -> Result<bool, LogError> {
        if self.0.shutdown.is_cancelled() {
            return Ok(false);
        }
        let own = lane.clone();
        let Some(due) = self.database(move |inbox| inbox.next(&own, now_ms_i64())).await? else {
            return Ok(false);
        };
        let Due { logged, attempts, duplicate } = due;
        let (position, own) = (logged.position, lane.clone());
        if duplicate {
            self.database(move |inbox| inbox.passed_over(&own, &logged)).await?;
            return Ok(true);
        }
        let logged = Arc::new(logged);
        // A change during the attempt is noticed after it.
        let mut quorum = self.0.quorum.clone();
        quorum.mark_unchanged();
        let (done, event) = (lane.clone(), Arc::clone(&logged));
        let commit = move |inbox: &Inbox, effect| inbox.handled(&done, &event, effect, now_ms_i64());
        match self.attempt(&lane.handler, Arc::clone(&logged), ATTEMPT, commit).await?.after(ATTEMPT) {
            AttemptOutcome::Stopped | AttemptOutcome::Late => return Ok(false),
            AttemptOutcome::Done => {}
            AttemptOutcome::NoQuorum => {
                self.database(move |inbox| inbox.note(&own, position, attempts, true)).await?;
                tokio::select! {
                    () = self.0.shutdown.cancelled() => {}
                    Ok(()) = quorum.changed() => {}
                    () = tokio::time::sleep(PARKED) => {}
                }
            }
            AttemptOutcome::Failed(error) => {
                let attempts = attempts + 1;
                tracing::warn!(event = logged.event.name(), attempts, error, "not handled");
                if let Some(pause) = self.0.pauses.get(attempts as usize - 1) {
                    self.database(move |inbox| inbox.note(&own, position, attempts, false)).await?;
                    self.pause(*pause).await;
                } else {
                    let dead = Dead::new(lane.handler.clone(), &logged, error, attempts, now_ms_i64());
                    self.database(move |inbox| inbox.dead(&own, position, &dead)).await?;
                }
            }
        }
        Ok(true)
    }

    /// Runs a handler for at most `limit`, and `commit` with the effect that it wants.
    async fn attempt(
        &self,
        handler: &str,
        logged: Arc<Logged>,
        limit: Duration,
        commit: impl FnOnce(&Inbox, Option<Effect>) -> Result<(), LogError> + Send + 'static,
    ) -> Result<AttemptOutcome, LogError> {
        let Some(handler) = self.0.handlers.all.get(handler) else {
            return Ok(AttemptOutcome::Failed("there is no such handler any more".to_owned()));
        };
        // The handler's own first steps may panic as well.
        let handling = async move { handler(logged).await };
        let guarded = tokio::time::timeout(limit, AssertUnwindSafe(handling).catch_unwind());
        let effect = match self.0.shutdown.run_until_cancelled(guarded).await {
            None => return Ok(AttemptOutcome::Stopped),
            Some(Err(_)) => return Ok(AttemptOutcome::Late),
            Some(Ok(Err(_))) => return Ok(AttemptOutcome::Failed("the handler panicked".to_owned())),
            Some(Ok(Ok(Err(HandlerError::NoQuorum)))) => return Ok(AttemptOutcome::NoQuorum),
            Some(Ok(Ok(Err(error)))) => return Ok(AttemptOutcome::Failed(error.to_string())),
            Some(Ok(Ok(Ok(effect)))) => effect,
        };
        match self.database(move |inbox| commit(inbox, effect)).await {
            Ok(()) => Ok(AttemptOutcome::Done),
            // The next start tries again.
            Err(LogError::Effect(_)) if self.0.shutdown.is_cancelled() => Ok(AttemptOutcome::Stopped),
            Err(error @ LogError::Effect(_)) => Ok(AttemptOutcome::Failed(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Runs the handlers of dead letters of at most this age again, for 20 s at most: what there is no time
    /// for is left as it is, and told. Only a handler that succeeds counts as recovered.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn replay_dlq_events(&self, max_age_hours: u64) -> Result<Replayed, LogError> {
        self.replay_within(REPLAY, max_age_hours).await
    }

    pub(super) async fn replay_within(
        &self,
        limit: Duration,
        max_age_hours: u64,
    ) -> Result<Replayed, LogError> {
        let since = hours_ago(max_age_hours);
        let deadline = tokio::time::Instant::now() + limit;
        let mut replayed = Replayed::default();
        let (mut page, mut after) = (0, 0);
        loop {
            let letters = self.database(move |inbox| inbox.letters(since, page)).await?;
            let Some(last) = letters.last() else { return Ok(replayed) };
            page = last.id;
            for letter in letters {
                let (id, handler) = (letter.id, letter.handler.clone());
                let event = Arc::new(letter.payload.clone());
                let commit = move |inbox: &Inbox, effect| inbox.recovered(&letter, effect, now_ms_i64());
                let left = deadline.saturating_duration_since(tokio::time::Instant::now());
                let outcome = match left.is_zero() {
                    true => AttemptOutcome::Late,
                    false => self.attempt(&handler, event, left, commit).await?,
                };
                // The first had all the time; another that had the rest of it may well be quick enough the
                // next time.
                let outcome = if replayed.replayed == 0 { outcome.after(limit) } else { outcome };
                match outcome {
                    AttemptOutcome::Done => replayed.recovered += 1,
                    AttemptOutcome::Failed(error) => {
                        replayed.failed += 1;
                        self.database(move |inbox| inbox.failed_again(id, &error, now_ms_i64())).await?;
                    }
                    AttemptOutcome::NoQuorum => replayed.waiting += 1,
                    AttemptOutcome::Late | AttemptOutcome::Stopped => {
                        replayed.left = self.database(move |inbox| inbox.letters_after(since, after)).await?;
                        return Ok(replayed);
                    }
                }
                replayed.replayed += 1;
                after = id;
            }
        }
    }
}

#[cfg(test)]
mod duplicates;
#[cfg(test)]
pub(crate) mod kills;
#[cfg(test)]
mod tests;
