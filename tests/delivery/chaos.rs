//! Five real peers are killed and stalled while all of them emit: every acknowledged event is in every log
//! once, in causal order, and every handler is past it. `RINGRIFT_SEED=7` chooses another course of things.

use super::SETTINGS;
use crate::support::{Cluster, Network, Peer, SOON, until, when};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use ringrift::{
    api::status::Status,
    events::{self, Event, Logged, envelope::EventId},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    thread,
    time::{Duration, Instant},
};

pub(super) const PEERS: usize = 5;
/// How long peers are killed and stalled.
const STORM: Duration = Duration::from_secs(20);
const PAIRS: [(&str, &str); 3] = [
    ("TRAINING_STARTED", "TRAINING_COMPLETED"),
    ("EVALUATION_STARTED", "EVALUATION_COMPLETED"),
    ("MODEL_PROMOTED", "MODEL_DISTRIBUTION_COMPLETE"),
];
const FLOWS: [&str; 2] = ["square8_3p", "square8_4p"];

/// Whether the beginning and the end of a job were emitted.
#[derive(Default)]
struct Told {
    begun: bool,
    ended: bool,
}

/// Returns the payload of an event about job `number`, without what the event has no field for.
fn payload(event: &str, number: usize) -> Value {
    let model = format!("{number:064x}");
    let mut payload = super::payload(event);
    let job = [
        ("config_key", json!(FLOWS[number % 2])),
        ("job_id", json!(format!("job:{number}"))),
        ("model_id", json!(model)),
        ("generation", json!(number)),
        ("node_id", json!("node-1")),
    ];
    for (field, value) in job {
        if let Some(content) = payload.get_mut(field) {
            *content = value;
        }
    }
    payload
}

/// Returns the job that an injected event is about.
fn number(logged: &Logged) -> Option<usize> {
    let body = serde_json::to_value(&logged.event).unwrap();
    let payload = &body[logged.event.name()];
    match (payload["job_id"].as_str(), payload["model_id"].as_str()) {
        (Some(job), _) => job.strip_prefix("job:")?.parse().ok(),
        (None, Some(model)) => usize::from_str_radix(model, 16).ok(),
        (None, None) => None,
    }
}

/// Returns the positions of injected events in a log, by name and job.
type Places = HashMap<(&'static str, usize), Vec<usize>>;

fn places(log: &[Logged]) -> Places {
    let mut found = Places::new();
    for (place, logged) in log.iter().enumerate().filter(|(_, logged)| logged.injected) {
        if let Some(job) = number(logged) {
            found.entry((logged.event.name(), job)).or_default().push(place);
        }
    }
    found
}

pub(super) struct Storm {
    pub(super) cluster: Cluster,
    seed: u64,
    random: Pcg64Mcg,
    told: BTreeMap<(usize, usize), Told>,
    jobs: usize,
    /// The number of events that each peer has acknowledged.
    pub(super) acknowledged: [usize; PEERS],
    failed: usize,
    kills: usize,
    stalls: usize,
    /// The peers that are dead or stalled, and until when.
    down: HashMap<usize, (Instant, bool)>,
}

impl Storm {
    /// Starts five peers, in a network of namespaces or not, and waits until they are well.
    pub(super) fn new(network: Option<Network>) -> Self {
        let seed = std::env::var("RINGRIFT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        let settings = SETTINGS.replace("segment_seconds = 3600", "segment_seconds = 1");
        Self {
            cluster: Cluster::start_in(network, PEERS, &format!("{settings}true\n")),
            seed,
            random: Pcg64Mcg::seed_from_u64(seed),
            told: BTreeMap::new(),
            jobs: 0,
            acknowledged: [0; PEERS],
            failed: 0,
            kills: 0,
            stalls: 0,
            down: HashMap::new(),
        }
    }

    fn up(&mut self) -> usize {
        loop {
            let peer = self.random.random_range(0..PEERS);
            if !self.down.contains_key(&peer) {
                return peer;
            }
        }
    }

    /// Emits the beginning of a job at a peer, or the end of a job at another peer that has seen it begin.
    fn emit(&mut self) {
        let (peer, kind) = (self.up(), self.random.random_range(0..PAIRS.len()));
        let open = self.told.iter().filter(|((k, _), told)| *k == kind && told.begun && !told.ended);
        let open: Vec<usize> = open.map(|((_, job), _)| *job).collect();
        let log = if self.random.random_bool(0.5) { self.cluster.peers[peer].logged().ok() } else { None };
        let heard = log.and_then(|log| {
            let places = places(&log);
            open.into_iter().find(|job| places.contains_key(&(PAIRS[kind].0, *job)))
        });
        let (job, event) = match heard {
            Some(job) => (job, PAIRS[kind].1),
            None => {
                self.jobs += 1;
                (self.jobs, PAIRS[kind].0)
            }
        };
        match self.cluster.peers[peer].emit(event, payload(event, job)) {
            Ok(_) => {
                self.acknowledged[peer] += 1;
                let told = self.told.entry((kind, job)).or_default();
                if heard.is_some() { told.ended = true } else { told.begun = true }
            }
            // The event may have been kept or not.
            Err(_) => self.failed += 1,
        }
    }

    fn harm(&mut self) {
        if self.down.len() == 2 {
            return;
        }
        let peer = self.up();
        // In turn, because chance may leave one of them out of a short storm.
        let killed = (self.kills + self.stalls) % 3 != 1;
        let back = Instant::now() + Duration::from_millis(self.random.random_range(1000..5000));
        if killed {
            self.cluster.peers[peer].kill();
            self.kills += 1;
        } else {
            self.cluster.peers[peer].stall();
            self.stalls += 1;
        }
        self.down.insert(peer, (back, killed));
    }

    /// Brings back every peer that is due by `now`.
    fn mend(&mut self, now: Instant) {
        let due: Vec<usize> =
            self.down.iter().filter(|(_, (at, _))| *at <= now).map(|(peer, _)| *peer).collect();
        for peer in due {
            match self.down.remove(&peer) {
                Some((_, true)) => self.cluster.peers[peer].start(None),
                Some((_, false)) => self.cluster.peers[peer].go_on(),
                None => {}
            }
        }
    }

    /// Emits events, and kills and stalls peers, until then.
    pub(super) fn blow(&mut self, end: Instant) {
        while Instant::now() < end {
            for _ in 0..self.random.random_range(4..16) {
                self.emit();
            }
            self.harm();
            self.mend(Instant::now());
            thread::sleep(Duration::from_millis(50)); // a pace, not a wait
        }
    }

    /// Brings every peer back, waits until every acknowledged event is in every log and handled, and returns
    /// how long that took.
    pub(super) fn calm(mut self) {
        self.mend(Instant::now() + Duration::from_secs(3600));
        let calm = Instant::now();
        self.cluster.whole();
        let whole = calm.elapsed();
        for peer in &self.cluster.peers {
            until(&format!("everything is at {} and handled", peer.name), SOON, || {
                complete(peer, &self.told)
            });
        }
        let batches = batches(&self.cluster.peers[0].logged().unwrap()).unwrap();
        let Self { seed, failed, kills, stalls, .. } = self;
        let acknowledged: usize = self.acknowledged.iter().sum();
        println!(
            "seed {seed}: {acknowledged} events acknowledged, {failed} not; {batches} batches of games; {kills} peers \
             killed, {stalls} stalled; the cluster is whole {:.1} s after the last came back, and everything everywhere \
             and handled {:.1} s later",
            whole.as_secs_f64(),
            (calm.elapsed() - whole).as_secs_f64()
        );
        assert!(acknowledged > 50 && kills >= 2 && stalls >= 1, "too kind");
    }
}

#[test]
fn peers_that_are_killed_and_stalled_lose_nothing() {
    let mut storm = Storm::new(None);
    storm.blow(Instant::now() + STORM);
    storm.calm();
}

/// Whether a peer has every acknowledged event, and its handlers are past them. It panics if the events are
/// not in order.
fn complete(peer: &Peer, told: &BTreeMap<(usize, usize), Told>) -> Result<(), String> {
    let log = peer.logged()?;
    ordered(&log);
    let places = places(&log);
    for ((kind, job), told) in told {
        let [begun, ended] = [PAIRS[*kind].0, PAIRS[*kind].1].map(|event| {
            let found = places.get(&(event, *job)).map_or(&[][..], Vec::as_slice);
            assert!(found.len() <= 1, "{event} of {job} twice at {}", peer.name);
            found.first()
        });
        let what = format!("{:?} {job} at {}: {begun:?}, {ended:?}", PAIRS[*kind], peer.name);
        assert!(ended.is_none_or(|end| begun.is_some_and(|begin| begin < end)), "{what}");
        if (told.begun && begun.is_none()) || (told.ended && ended.is_none()) {
            return Err(what);
        }
    }
    batches(&log)?;
    handled(&peer.status()?, &log)
}

/// Checks that the peer which played a batch of games that the cluster counts has emitted its event once,
/// whenever it was killed. Returns how many batches there are.
fn batches(log: &[Logged]) -> Result<usize, String> {
    let (mut told, mut counted) = (BTreeSet::new(), BTreeSet::new());
    for logged in log.iter().filter(|logged| !logged.injected) {
        match &logged.event {
            Event::SelfplayComplete(games) => {
                assert!(told.insert(games.segment), "{} is told of twice", games.segment);
            }
            Event::NewGamesAvailable(games) => drop(counted.insert(games.segment)),
            _ => {}
        }
    }
    let missing: Vec<_> = counted.difference(&told).collect();
    when(missing.is_empty(), counted.len(), || format!("nobody told of {missing:?}"))
}

/// Checks that each event is there once, and after every event in this log that it follows.
fn ordered(log: &[Logged]) {
    let places: HashMap<EventId, usize> = log.iter().map(Logged::id).zip(0..).collect();
    assert_eq!(places.len(), log.len(), "once each");
    for (place, logged) in log.iter().enumerate() {
        let previous = logged.flow_previous.map(|sequence| EventId { sequence, ..logged.id() });
        for before in logged.causes.iter().chain(&previous) {
            assert!(places.get(before).is_none_or(|at| *at < place), "{before} comes before {}", logged.id());
        }
    }
}

/// Whether every handler is past every event of the log, each once.
fn handled(status: &Status, log: &[Logged]) -> Result<(), String> {
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    for (event, daemon) in events::pairs() {
        *expected.entry(daemon).or_default() += log.iter().filter(|l| l.event.name() == event).count() as u64;
    }
    for (daemon, count) in expected.into_iter().filter(|(_, count)| *count > 0) {
        let found = status.events.handlers.iter().find(|handler| handler.handler == daemon);
        let done = found.map_or(0, |handler| handler.handled + handler.duplicates + handler.dead);
        when(done == count, (), || format!("{daemon} is past {done} of {count}: {found:?}"))?;
    }
    Ok(())
}
