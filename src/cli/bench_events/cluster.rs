//! The peers that are measured, and the requests to them.
//!
//! Invariant: while a peer is measured, it is only asked to emit. It is asked afterwards what it stored and
//! when: a peer remembers the moment of each commit, which costs it nothing worth mentioning.

use super::figures::{StoredAt, stored_at};
use crate::{
    api::{
        devices::DeviceChoice,
        events::{Drill, Drilled},
    },
    client::{Client, ClientError},
    clock::now_us,
    config::Settings,
    events::drill,
    learner::settings::SelfplayConfig,
    local::{Interrupt, Peer, is_whole, stop_all},
    peer::settings::EventsConfig,
};
use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use parking_lot::Mutex;
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Most events in one request.
const PAGE: usize = 1000;
/// How long after the request a run of events begins: enough time to ask every peer.
const AHEAD_US: i64 = 200_000;
/// Seconds of events in one request.
const PIECE_SECONDS: u64 = 2;
/// How long the cluster may take until it is complete.
const WHOLE: Duration = Duration::from_secs(120);
/// Pause between two requests to peers that are not measured.
const POLL: Duration = Duration::from_millis(100);
/// Events per transaction when as many as possible should be emitted.
const BULK: u64 = 500;

pub(super) struct Cluster {
    root: PathBuf,
    peers: Vec<Peer>,
    interrupt: Interrupt,
    /// The number of the next event, over all runs.
    next: AtomicU64,
}

/// The acknowledged events of one stretch.
#[derive(Default)]
pub(super) struct Emitted {
    /// When each event was emitted.
    pub(super) at: StoredAt,
    /// Time from the emit until the emitter acknowledged the event, which it has synced.
    pub(super) acknowledged_us: Vec<i64>,
}

impl Emitted {
    fn add(&mut self, done: &[Drilled], drill: &Drill, bar: &ProgressBar) {
        for one in done {
            let numbers = (0..u64::from(one.count)).map(|i| one.first + i * drill.step);
            self.at.extend(numbers.map(|number| (number, one.at_us)));
            self.acknowledged_us.push(one.synced_us - one.at_us);
            bar.inc(one.count.into());
        }
    }
}

impl Cluster {
    pub(super) fn new(root: &Path, count: usize, interrupt: Interrupt) -> anyhow::Result<Self> {
        let peers: Result<Vec<_>, _> =
            (1..=count).map(|number| Peer::new(root, &format!("n{number}"), "")).collect();
        Ok(Self { root: root.to_owned(), peers: peers?, interrupt, next: AtomicU64::new(0) })
    }

    /// Starts the first `count` peers and waits until they are one cluster.
    pub(super) fn start(&mut self, count: usize, gossip: bool) -> anyhow::Result<()> {
        let settings = Settings {
            // The peers compute nothing.
            device: DeviceChoice::Cpu,
            selfplay: SelfplayConfig { enabled: false, ..SelfplayConfig::default() },
            events: EventsConfig { gossip },
            ..Settings::default()
        };
        let settings = toml::to_string(&settings).context("the settings")?;
        for peer in &self.peers {
            peer.configure(&settings)?;
        }
        for index in 0..count {
            self.start_one(index)?;
        }
        self.whole(count)
    }

    pub(super) fn start_one(&mut self, index: usize) -> anyhow::Result<()> {
        let first = if index == 0 { None } else { Some(self.peers[0].ticket()?) };
        Ok(self.peers[index].start(first.as_deref())?)
    }

    pub(super) fn stop_one(&mut self, index: usize) {
        stop_all(&mut self.peers[index..=index]);
    }

    pub(super) fn stop(&mut self) {
        stop_all(&mut self.peers);
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.peers.iter().filter_map(Peer::pid).collect()
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    fn clients(&self) -> anyhow::Result<Vec<Client>> {
        let running = self.peers.iter().filter(|peer| peer.is_running());
        Ok(running.map(|peer| Client::of_folder(&peer.folder)).collect::<Result<_, _>>()?)
    }

    /// Waits until `count` peers report that `count` peers are online and that enough of them vote.
    fn whole(&self, count: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + WHOLE;
        let complete = |peer: &Peer| peer.status().is_ok_and(|status| is_whole(&status, count));
        while !self.peers[..count].iter().all(complete) {
            self.interrupt.check()?;
            if Instant::now() >= deadline {
                bail!("the cluster is not whole after {WHOLE:?}; logs are in {}", self.root.display());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// The last position of every running peer's log.
    pub(super) fn ends(&self) -> anyhow::Result<Vec<i64>> {
        let end = |client: Client| -> anyhow::Result<i64> {
            let mut position = 0;
            while let Some(last) = client.events(position, PAGE)?.last() {
                position = last.position;
            }
            Ok(position)
        };
        self.clients()?.into_iter().map(end).collect()
    }

    /// Emits `rate` events a second for `seconds`, at each running peer in turn.
    pub(super) fn emit(&self, rate: u32, seconds: u32, bar: &ProgressBar) -> anyhow::Result<Emitted> {
        let clients = self.clients()?;
        let peers = clients.len() as u64;
        let total = u64::from(rate) * u64::from(seconds);
        let first = self.next.fetch_add(total, Ordering::Relaxed);
        bar.set_length(total);
        bar.set_position(0);
        let begin_us = now_us() + AHEAD_US;
        let due_us = |number: u64| begin_us + (number * 1_000_000 / u64::from(rate)).cast_signed();
        // The events are requested in pieces, so that an interrupt does not wait for the end.
        let piece = (u64::from(rate) * PIECE_SECONDS).div_ceil(peers).max(1);
        let emit = |index: usize, client: &Client| -> anyhow::Result<Emitted> {
            let mut emitted = Emitted::default();
            for from in (index as u64..total).step_by((piece * peers) as usize) {
                self.interrupt.check()?;
                let count = (total - from).div_ceil(peers).min(piece);
                let drill = Drill {
                    first: first + from,
                    step: peers,
                    count: u32::try_from(count)?,
                    batch: 1,
                    begin_us: due_us(from),
                    interval_us: peers * 1_000_000 / u64::from(rate),
                };
                emitted.add(&client.drill(&drill)?, &drill, bar);
            }
            Ok(emitted)
        };
        side_by_side(&clients, emit)
    }

    /// Emits `total` events as fast as the running peers take them.
    pub(super) fn emit_bulk(&self, total: u64, bar: &ProgressBar) -> anyhow::Result<Emitted> {
        let clients = self.clients()?;
        let first = self.next.fetch_add(total, Ordering::Relaxed);
        let taken = AtomicU64::new(0);
        bar.set_length(total);
        bar.set_position(0);
        let emit = |_: usize, client: &Client| -> anyhow::Result<Emitted> {
            let mut emitted = Emitted::default();
            loop {
                self.interrupt.check()?;
                let from = taken.fetch_add(BULK, Ordering::Relaxed);
                let count = u32::try_from(total.saturating_sub(from).min(BULK))?;
                if count == 0 {
                    return Ok(emitted);
                }
                let first = first + from;
                let drill = Drill { first, step: 1, count, batch: count, begin_us: 0, interval_us: 0 };
                emitted.add(&client.drill(&drill)?, &drill, bar);
            }
        };
        side_by_side(&clients, emit)
    }

    /// Waits, but not longer than `wait`, until every running peer has all of `emitted` after the positions
    /// `since`. Returns for each peer when it stored them.
    pub(super) fn collect(
        &self,
        emitted: &Emitted,
        since: &[i64],
        wait: Duration,
        bar: &ProgressBar,
    ) -> anyhow::Result<Vec<StoredAt>> {
        bar.set_length((emitted.at.len() * since.len()) as u64);
        bar.set_position(0);
        let deadline = Instant::now() + wait;
        let of = |(index, since)| self.collect_from(index, emitted, since, deadline, bar);
        since.iter().copied().enumerate().map(of).collect()
    }

    /// Does the work of [`Self::collect`] for one peer.
    pub(super) fn collect_from(
        &self,
        index: usize,
        emitted: &Emitted,
        since: i64,
        deadline: Instant,
        bar: &ProgressBar,
    ) -> anyhow::Result<StoredAt> {
        let client = Client::of_folder(&self.peers[index].folder)?;
        let (mut positions, mut end) = (Vec::new(), since);
        loop {
            self.interrupt.check()?;
            let page = client.events(end, PAGE)?;
            end = page.last().map_or(end, |last| last.position);
            let before = positions.len();
            let known = |number: &u64| emitted.at.contains_key(number);
            positions.extend(
                page.iter().filter_map(|e| Some((drill::number(&e.event).filter(known)?, e.position))),
            );
            bar.inc((positions.len() - before) as u64);
            if positions.len() >= emitted.at.len() || Instant::now() >= deadline {
                return Ok(stored_at(&positions, &client.commits(since)?));
            }
            if page.is_empty() {
                thread::sleep(POLL);
            }
        }
    }

    /// Waits until the log of a peer has grown by `count` events beyond `since`, with as few requests as
    /// possible.
    pub(super) fn await_growth(
        &self,
        index: usize,
        (since, count): (i64, u64),
        wait: Duration,
    ) -> anyhow::Result<bool> {
        let deadline = Instant::now() + wait;
        let wanted = since + i64::try_from(count).unwrap_or(i64::MAX) - 1;
        loop {
            self.interrupt.check()?;
            match Client::of_folder(&self.peers[index].folder).and_then(|client| client.commits(wanted)) {
                Ok(commits) if !commits.is_empty() => return Ok(true),
                Ok(_) | Err(ClientError::NotReady(_) | ClientError::Http { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            thread::sleep(POLL);
        }
    }
}

/// Runs `emit` for every peer, each in a thread of its own.
fn side_by_side(
    clients: &[Client],
    emit: impl Fn(usize, &Client) -> anyhow::Result<Emitted> + Sync,
) -> anyhow::Result<Emitted> {
    let all: Mutex<anyhow::Result<Emitted>> = Mutex::new(Ok(Emitted::default()));
    thread::scope(|scope| {
        for (index, client) in clients.iter().enumerate() {
            let (all, emit) = (&all, &emit);
            scope.spawn(move || {
                let one = emit(index, client);
                let mut all = all.lock();
                match (&mut *all, one) {
                    (Ok(all), Ok(one)) => {
                        all.at.extend(one.at);
                        all.acknowledged_us.extend(one.acknowledged_us);
                    }
                    (all @ Ok(_), Err(error)) => *all = Err(error),
                    (Err(_), _) => {}
                }
            });
        }
    });
    all.into_inner()
}
