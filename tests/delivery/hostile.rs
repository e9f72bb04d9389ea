//! A member of the cluster that says what it must not, by gossip and when it is asked: everything is refused,
//! counted by reason, logged, and without effect.

use super::SETTINGS;
use crate::support::{Cluster, SOON, until, when};
use futures::future::{Either, select};
use p2p::{Class, KeyRing, P2p, P2pConfig, P2pHandle, P2pInbox, Signer};
use ringrift::{
    events::{
        Event,
        envelope::{Envelope, EventId, RAFT, Signed},
        repair::{Floor, RepairAnswer, RepairQuestion},
    },
    peer::EVENTS_TOPIC,
};
use serde_json::json;
use std::{
    collections::BTreeSet,
    path::Path,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{runtime::Runtime, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// A text in every payload that must not arrive.
const MARK: &str = "hostile";
const REASONS: [&str; 7] = ["malformed", "forged", "stranger", "clock", "payload", "replayed", "newer"];
/// Frame kinds of a signed event and of an envelope.
const SIGNED: u8 = 0x50;
const ENVELOPE: u8 = 0x56;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn event(mark: &str) -> Event {
    let payload = json!({"config_key": "square8_3p", "elo_drop": 1.0, "reason": mark});
    Event::from_operator("REGRESSION_CLEARED", payload, MARK, 1.5).unwrap()
}

/// Makes an event in the name of `origin`, under a number of its own.
fn envelope(origin: &str, sequence: i64) -> Envelope {
    let id = EventId { origin: origin.to_owned(), epoch: 77, sequence };
    Envelope { id, at_ms: now_ms(), flow_previous: None, causes: vec![], injected: false, event: event(MARK) }
}

struct Hostile {
    signer: Signer,
    stranger: Signer,
    /// Another peer's event, as it was sent.
    captured: Signed,
    /// The origin of that event.
    victim: String,
    count: i64,
}

impl Hostile {
    /// Makes every wrong message anew, because gossip that was seen is not passed on.
    fn nonsense(&mut self) -> Vec<Vec<u8>> {
        self.count += 100;
        let (me, count, hour) = (self.signer.peer_id(), self.count, 3_600_000);
        let sign = |envelope: Envelope| envelope.sign(&self.signer).unwrap().encode().unwrap();
        let mut mistyped = event(MARK);
        if let Event::RegressionCleared(regression) = &mut mistyped {
            regression.config_key = "hex9_7p".into();
        }
        let id = envelope(&me, count).id;
        // An envelope with the type of an event that nobody knows.
        let unknown = (&id, now_ms(), None::<i64>, Vec::<EventId>::new(), false, 9999u32);
        let unknown = wire::encode(ENVELOPE, &unknown, 4096).unwrap();
        let signature = self.signer.sign(&[b"ringrift/event/1", &unknown[..]].concat());
        let truncated = sign(envelope(&me, count));
        vec![
            b"nonsense".to_vec(),
            truncated[..truncated.len() / 2].to_vec(),
            wire::encode(SIGNED, &(&unknown, vec![0u8; 64]), 4096).unwrap(),
            wire::encode(SIGNED, &(&unknown, signature), 4096).unwrap(),
            wire::encode(SIGNED, &(vec![0u8; 20_000], vec![0u8; 64]), 40_000).unwrap(),
            sign(Envelope { flow_previous: Some(count + 1), ..envelope(&me, count + 1) }),
            sign(Envelope { event: mistyped, ..envelope(&me, count + 2) }),
            sign(Envelope { at_ms: now_ms() + hour + 60_000, ..envelope(&me, count + 3) }),
            sign(Envelope { at_ms: now_ms() - hour - 60_000, ..envelope(&me, count + 4) }),
            sign(envelope(&self.victim, count)),
            sign(envelope(RAFT, count)),
            envelope(&self.stranger.peer_id(), 1).sign(&self.stranger).unwrap().encode().unwrap(),
            self.captured.encode().unwrap(),
        ]
    }

    /// Makes two events under one number, of which whichever comes first is good.
    fn two_under_one_number(&mut self) -> [Vec<u8>; 2] {
        self.count += 1;
        let said = |reason: &str| Envelope { event: event(reason), ..envelope(&self.signer.peer_id(), 1) };
        ["good", "another"].map(|reason| {
            let at_ms = now_ms() + self.count;
            Envelope { at_ms, ..said(reason) }.sign(&self.signer).unwrap().encode().unwrap()
        })
    }

    /// Returns its answer to a peer that asks for what it lacks.
    fn answer(&self, round: usize) -> Vec<u8> {
        let floor = |origin: &str, epoch| Floor { origin: origin.to_owned(), epoch, lost_to: 1 << 40 };
        let epoch = Envelope::clone(&self.opened()).id.epoch;
        let forged = envelope(&self.victim, 9_000).sign(&self.signer).unwrap();
        let stranger = envelope(&self.stranger.peer_id(), 1).sign(&self.stranger).unwrap();
        let answer = match round % 4 {
            0 => return b"nonsense".to_vec(),
            1 => RepairAnswer { now_ms: now_ms(), events: vec![forged, stranger], ..RepairAnswer::default() },
            2 => RepairAnswer { now_ms: now_ms() + 7_200_000, ..RepairAnswer::default() },
            _ => {
                let floors = vec![floor(&self.victim, epoch), floor(RAFT, 0)];
                RepairAnswer { now_ms: now_ms(), floors, ..RepairAnswer::default() }
            }
        };
        answer.encode().unwrap()
    }

    fn opened(&self) -> Envelope {
        self.captured.open(now_ms()).unwrap()
    }
}

/// Starts the peer of a member that is not running, with its key.
async fn impersonate(
    folder: &Path,
    keys: Arc<KeyRing>,
    scratch: &Path,
    bootstrap: &str,
    tasks: &mut JoinSet<()>,
    shutdown: &CancellationToken,
) -> (P2pHandle, P2pInbox) {
    let config = P2pConfig {
        key_path: folder.join("peer.key"),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        bootstrap: vec![bootstrap.parse().unwrap()],
        keys,
        boot: 4711,
        topics: vec![EVENTS_TOPIC.to_owned(), ringrift::peer::MODELS_TOPIC.to_owned()],
        direct_topics: Vec::new(),
        pending_max: 64,
        members_max: 64,
        blob_dir: scratch.join("blobs"),
    };
    P2p::start(config, tasks, shutdown.clone()).await.unwrap()
}

/// Returns one of the victim's events, as the victim serves it.
async fn capture(handle: &P2pHandle, victim: &str) -> Signed {
    for _ in 0..100 {
        let question = RepairQuestion::default().encode().unwrap();
        let answer = handle.request(Class::Control, victim, question, Duration::from_secs(5)).await;
        let answer = answer.ok().and_then(|answer| RepairAnswer::decode(&answer, now_ms()).ok());
        let events = answer.map(|answer| answer.events).unwrap_or_default();
        let own = |signed: &Signed| signed.open(now_ms()).is_ok_and(|envelope| envelope.id.origin == victim);
        if let Some(found) = events.into_iter().find(own) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("{victim} serves no event of its own");
}

#[test]
fn a_hostile_member_is_refused_counted_and_without_effect() {
    let mut cluster = Cluster::start(3, &format!("{SETTINGS}true\n"));
    let clear = |reason: &str| json!({"config_key": "square8_3p", "elo_drop": 1.0, "reason": reason});
    cluster.peers[0].emit("REGRESSION_CLEARED", clear("first")).unwrap();
    let victim = peer_id(&mut cluster, 0);
    cluster.peers[2].kill();
    let (bootstrap, keys) = (cluster.peers[0].address(), cluster.peers[0].keys());
    let (runtime, shutdown, mut tasks) = (Runtime::new().unwrap(), CancellationToken::new(), JoinSet::new());
    let scratch = tempfile::tempdir().unwrap();
    let signer = Signer::load(&cluster.peers[2].folder.join("peer.key")).unwrap();
    let stranger = Signer::load(&scratch.path().join("stranger.key")).unwrap();
    let folder = cluster.peers[2].folder.clone();
    let (handle, mut inbox) =
        runtime.block_on(impersonate(&folder, keys, scratch.path(), &bootstrap, &mut tasks, &shutdown));
    let captured = runtime.block_on(capture(&handle, &victim));
    let mut hostile = Hostile { signer, stranger, captured, victim, count: 0 };
    let mut asked = 0;

    for peer in 0..2 {
        until("everything is refused, by reason", SOON, || {
            runtime.block_on(say(&handle, &mut inbox, &mut hostile, &mut asked));
            let refused = cluster.peers[peer].status()?.events.refused;
            let mut missing: BTreeSet<&str> =
                REASONS.into_iter().filter(|r| !refused.contains_key(*r)).collect();
            if peer == 0 {
                missing.remove("replayed"); // its own event does not surprise it
            }
            when(missing.is_empty() && asked > 8, (), || {
                format!("{missing:?} of {refused:?}, asked {asked} times")
            })
        });
    }
    // The victim goes on: its next event arrives, through gossip or repair.
    cluster.peers[0].emit("REGRESSION_CLEARED", clear("second")).unwrap();
    for peer in &cluster.peers[..2] {
        until("the next event arrives", SOON, || {
            runtime.block_on(say(&handle, &mut inbox, &mut hostile, &mut asked));
            let log = peer.logged()?;
            let said = |reason: &str| {
                log.iter().filter(|l| l.injected && format!("{:?}", l.event).contains(reason)).count()
            };
            when((said("first"), said("second")) == (1, 1), (), || {
                format!("{} {}", said("first"), said("second"))
            })
        });
        let log = peer.logged().unwrap();
        let hostile: Vec<_> =
            log.iter().filter(|l| format!("{:?}", l.event).contains("reason: \"hostile\"")).collect();
        assert_eq!(hostile, Vec::<&ringrift::events::Logged>::new(), "no effect");
        let status = peer.until_status("it goes on", |status| status.leader.is_some());
        assert!(status.failures.is_empty(), "{:?}", status.failures);
        for reason in REASONS.into_iter().filter(|reason| status.events.refused.contains_key(*reason)) {
            assert!(peer.log().contains(reason), "{reason} is logged");
        }
    }
    // Whoever says two things under one number is shunned by all, whichever of them they have heard.
    for peer in &cluster.peers[..2] {
        until("it is shunned", SOON, || {
            for message in hostile.two_under_one_number() {
                let _ = handle.publish(EVENTS_TOPIC, message);
            }
            let shunned = peer.status()?.events.shunned;
            let named = shunned.iter().any(|it| it.node_id == "node-3" && it.sequence == 1);
            when(named, (), || format!("{shunned:?}"))
        });
    }
    // An operator's refused events are counted as well.
    let counted = |reason: &str| {
        let refused = cluster.peers[0].status().unwrap().events.refused;
        refused.get(reason).copied().unwrap_or_default()
    };
    let before = counted("payload");
    for (event, payload) in
        [("HOST_GONE", json!({})), ("HOST_OFFLINE", json!({})), ("HOST_OFFLINE", json!({"node_id": 7}))]
    {
        cluster.peers[0].emit(event, payload).unwrap_err();
    }
    assert!(counted("payload") >= before + 3, "{before}");
    shutdown.cancel();
    runtime.block_on(async { while tasks.join_next().await.is_some() {} });
}

fn peer_id(cluster: &mut Cluster, peer: usize) -> String {
    cluster.peers[peer].address().rsplit('/').next().unwrap().to_owned()
}

/// Gossips all the nonsense and answers questions for a while.
async fn say(handle: &P2pHandle, inbox: &mut P2pInbox, hostile: &mut Hostile, asked: &mut usize) {
    for message in hostile.nonsense() {
        // Its own node refuses it while it is busy.
        let _ = handle.publish(EVENTS_TOPIC, message);
    }
    let answering = async {
        while let Some(request) = inbox.control.recv().await {
            *asked += 1;
            // The peer that asked may have given up.
            let _ = request.reply.send(hostile.answer(*asked));
        }
    };
    let (answering, pause) = (pin!(answering), pin!(tokio::time::sleep(Duration::from_millis(400))));
    if let Either::Left(_) = select(answering, pause).await {
        panic!("the service ended");
    }
    while inbox.gossip.try_recv().is_ok() {}
}
