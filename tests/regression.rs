//! A champion regresses: training stops, the previous champion comes back, once, and training goes on.

use crate::support::{Cluster, Peer, QUICK, SOON, until, when};
use cluster_state::ModelId;
use ringrift::{
    api::{
        status::{ConfigView, Status},
        work::PauseCause,
    },
    events::{Event, Logged, PromotionRolledBack},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};
use wire::Hash;

const KEY: &str = "hex8_2p";
/// How long a promotion may take, on two cores that others use as well.
const LOOP: Duration = Duration::from_secs(300);
/// How long a job that is not wanted any more may take to end: it ends between two steps.
const AT_ONCE: Duration = Duration::from_secs(3);
/// How long it may take until training is paused no more.
const SETTLED: Duration = Duration::from_secs(5);
/// How long the games of a watch may take to show that a champion is bad.
const WATCHED: Duration = Duration::from_secs(240);

/// Settings that are as quick, but let training run as long as it may, so that a test can interrupt it.
fn settings(watch_seconds: u32) -> String {
    let long = QUICK.replace("seconds_max = 5", "seconds_max = 12\nreuse = 40.0");
    format!("{long}watch_seconds = {watch_seconds}\n")
}

fn config(status: &Status) -> Result<&ConfigView, String> {
    status.configs.first().ok_or_else(|| "no configuration yet".to_owned())
}

fn champions(peer: &Peer) -> Result<Vec<(u64, ModelId, ModelId)>, String> {
    let status = peer.status()?;
    let config = config(&status)?;
    Ok(config.history.iter().map(|step| (step.generation, step.previous, step.model)).collect())
}

fn all_events(peer: &Peer) -> Result<Vec<Logged>, String> {
    let mut all: Vec<Logged> = Vec::new();
    loop {
        let last = all.last().map_or(0, |logged| logged.position);
        let page = peer.client()?.events(last, 500).map_err(|error| error.to_string())?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

fn names(events: &[Logged]) -> Vec<&'static str> {
    events.iter().map(|logged| logged.event.name()).collect()
}

/// Waits until every peer agrees on the champion and has its bytes in the file that events name.
fn the_champion_is_everywhere(cluster: &Cluster, champion: ModelId) {
    for peer in &cluster.peers {
        until(&format!("{} has the champion", peer.name), SOON, || {
            let status = peer.status()?;
            let told = config(&status)?.champion;
            when(told == champion, (), || format!("{told} is champion"))?;
            let file = peer.folder.join(format!("models/canonical_{KEY}.safetensors"));
            let bytes = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            when(ModelId(Hash::of(&bytes)) == champion, (), || "another model is in the file".to_owned())
        });
    }
}

fn emit(peer: &Peer, event: &str, payload: &str) {
    let ended = peer.read(&["events", "emit", event, "--payload", payload]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Waits for a peer that reports its own training, so that the job really runs, and returns it.
fn trains(cluster: &Cluster) -> usize {
    until("a training run", LOOP, || {
        for (index, peer) in cluster.peers.iter().enumerate() {
            if peer.status()?.work.training.is_some_and(|run| run.epochs_completed > 0) {
                return Ok(index);
            }
        }
        Err("nobody trains".to_owned())
    })
}

fn a_promotion(cluster: &Cluster) -> (ModelId, ModelId) {
    until("a promotion", LOOP, || {
        let status = cluster.peers[0].status()?;
        let config = config(&status)?;
        let last = config.history.last().ok_or_else(|| format!("{config:?}"))?;
        Ok((last.model, last.previous))
    })
}

#[test]
fn an_injected_regression_is_rolled_back_once_and_training_goes_on() {
    // The watch has its own test.
    let mut cluster = Cluster::start(3, &settings(100_000));
    a_promotion(&cluster);
    let trainer = trains(&cluster);
    let before = champions(&cluster.peers[0]).unwrap();
    let (_, previous, champion) = *before.last().unwrap();
    let dropped = dropped(&cluster).unwrap();
    let injected = Instant::now();
    emit(&cluster.peers[1], "REGRESSION_CRITICAL", r#"{"config_key": "hex8_2p", "elo_drop": 150}"#);

    // These are the peers that pause, and when the job has stopped.
    let mut paused = BTreeSet::new();
    let mut stopped = None;
    until("every peer says that training is paused, and the job stops", SETTLED, || {
        for (index, peer) in cluster.peers.iter().enumerate() {
            let status = peer.status()?;
            let causes = config(&status)?.training_paused.iter().map(|pause| pause.cause);
            paused.extend(causes.filter(|cause| *cause == PauseCause::RegressionCritical).map(|_| index));
            if index == trainer && status.work.training.is_none() {
                stopped.get_or_insert_with(|| injected.elapsed());
            }
        }
        when(paused.len() == 3 && stopped.is_some(), (), || format!("{paused:?} {stopped:?}"))
    });
    eprintln!("the job stopped {stopped:?} after the event");
    assert!(stopped.is_some_and(|took| took < AT_ONCE), "{stopped:?}");
    rolled_back(&cluster, champion, previous);
    let back = Instant::now();
    pauses_no_more(&cluster);
    eprintln!("no pause {:?} after the rollback was seen", back.elapsed());
    the_champion_is_everywhere(&cluster, previous);
    until("every peer has dropped the network that was left", SOON, || {
        let now = self::dropped(&cluster)?;
        when(now.iter().zip(&dropped).all(|(now, before)| now > before), (), || {
            format!("{dropped:?} {now:?}")
        })
    });
    until("training goes on", LOOP, || {
        let names = names(&all_events(&cluster.peers[0])?);
        let back = names.iter().position(|name| *name == "PROMOTION_ROLLED_BACK").ok_or("no rollback")?;
        when(names[back..].contains(&"TRAINING_STARTED"), (), || format!("{:?}", &names[back..]))
    });
    the_leader_dies_right_after_the_event(&mut cluster);
}

/// Returns how many networks each peer has dropped because they play no more.
fn dropped(cluster: &Cluster) -> Result<Vec<u64>, String> {
    cluster.peers.iter().map(|peer| Ok(peer.status()?.work.cache.invalidated)).collect()
}

/// Waits until no peer sees a reason that pauses training.
fn pauses_no_more(cluster: &Cluster) {
    for peer in &cluster.peers {
        until(&format!("{} does not pause any more", peer.name), SETTLED, || {
            let status = peer.status()?;
            let config = config(&status)?;
            when(config.training_paused.is_empty(), (), || format!("{config:?}"))
        });
    }
}

fn rollback(event: &Event) -> Option<&PromotionRolledBack> {
    if let Event::PromotionRolledBack(back) = event { Some(back) } else { None }
}

/// Checks that every peer has one event of a rollback from this champion to that one, after the events that
/// led to it.
fn rolled_back(cluster: &Cluster, from: ModelId, to: ModelId) {
    for peer in &cluster.peers {
        let events = until(&format!("{} knows of the rollback", peer.name), SOON, || {
            let events = all_events(peer)?;
            let found = events.iter().filter_map(|it| rollback(&it.event)).any(|back| back.model_id == to);
            // The event of the emergency stands before the rollback or after it.
            let told = ["CURRICULUM_EMERGENCY_UPDATE", "REGRESSION_CRITICAL"];
            let told = told.iter().all(|name| names(&events).contains(name));
            when(found && told, events.clone(), || format!("{:?}", names(&events)))
        });
        let names = names(&events);
        let position = |name: &str| names.iter().position(|it| *it == name);
        let mut order = ["REGRESSION_CRITICAL", "TRAINING_ROLLBACK_NEEDED", "PROMOTION_ROLLED_BACK"]
            .map(position)
            .to_vec();
        assert!(order.iter().all(Option::is_some), "{}: {order:?} {names:?}", peer.name);
        // An operator's event comes by gossip and the cluster's decision by Raft, so a third peer may get
        // them in either order.
        if events.iter().any(|it| it.injected && it.event.name() == "REGRESSION_CRITICAL") {
            order.remove(0);
        }
        assert!(order.is_sorted(), "{}: {order:?} {names:?}", peer.name);
        let back = events.iter().filter_map(|it| rollback(&it.event));
        let back: Vec<_> = back.filter(|back| back.model_id == to).collect();
        assert_eq!(back.len(), 1, "{}: {back:?}", peer.name);
        let champions = champions(peer).unwrap();
        let left = champions.iter().find(|(generation, ..)| *generation == back[0].from_version);
        assert_eq!(left.map(|(_, _, model)| *model), Some(from), "{}: {champions:?}", peer.name);
    }
}

/// A rollback is neither lost nor done twice: a peer that does not lead emits the regression, and the leader
/// is killed right after.
fn the_leader_dies_right_after_the_event(cluster: &mut Cluster) {
    let (model, _) = until("another promotion", LOOP, || {
        let status = cluster.peers[0].status()?;
        let config = config(&status)?;
        let last = config.history.last().ok_or("no promotion")?;
        when(last.elo_delta > 0.0, (last.model, last.previous), || format!("{config:?}"))
    });
    let leader = cluster.leader();
    let teller = (leader + 1) % 3;
    let payload = format!(r#"{{"config_key": "{KEY}", "elo_drop": 90, "model_id": "{model}"}}"#);
    emit(&cluster.peers[teller], "REGRESSION_CRITICAL", &payload);
    cluster.peers[leader].kill();
    let steps = |peer: &Peer| -> Result<usize, String> {
        let champions = champions(peer)?;
        // A rollback replaced this champion, or a better one did before the event arrived.
        Ok(champions.iter().filter(|(_, previous, _)| *previous == model).count())
    };
    until("the rollback without the leader", SOON, || {
        let steps = steps(&cluster.peers[teller])?;
        when(steps == 1, (), || format!("{steps} steps from {model}"))
    });
    // The killed leader comes back, and handles the event as well.
    cluster.peers[leader].start(None);
    cluster.whole();
    until("every peer has handled the event", SOON, || {
        for peer in &cluster.peers {
            let told = all_events(peer)?.iter().filter(|it| it.injected).count();
            let waiting: u64 = peer
                .status()?
                .events
                .handlers
                .iter()
                .filter(|it| it.handler == "training")
                .map(|it| it.waiting)
                .sum();
            when(told == 2 && waiting == 0, (), || format!("{}: {told} events, {waiting} wait", peer.name))?;
        }
        Ok(())
    });
    for peer in &cluster.peers {
        let rollbacks =
            names(&all_events(peer).unwrap()).iter().filter(|name| **name == "PROMOTION_ROLLED_BACK").count();
        assert_eq!((rollbacks, steps(peer).unwrap()), (2, 1), "{}", peer.name);
    }
}

#[test]
fn a_bad_champion_is_found_by_its_games_and_rolled_back() {
    let cluster = Cluster::start(3, &settings(1));
    let (champion, untrained) = a_promotion(&cluster);
    let (code, models) = cluster.peers[1].ask(&["model", "list"]);
    assert_eq!(code, Some(0), "{models}");
    let listed = |model: ModelId| {
        let name = model.to_string();
        let models = models.as_array().unwrap().iter();
        models.clone().find(|it| it["model"] == name.as_str()).cloned().unwrap_or(Value::Null)
    };
    assert_eq!(listed(champion)["status"], "champion", "{models}");
    assert_eq!(listed(untrained)["status"], "retired", "{models}");
    refusals(&cluster.peers[1]);

    // A candidate that is better than a bad champion would replace it before its games show the regression,
    // so none is trained meanwhile.
    emit(&cluster.peers[0], "P2P_CLUSTER_UNHEALTHY", r#"{"node_count": 3, "healthy_nodes": 1}"#);
    let champion = until("nothing but the champion is left to play", LOOP, || {
        let status = cluster.peers[0].status()?;
        let config = config(&status)?;
        let idle = config.training.node_id.is_none() && config.candidates.is_empty();
        when(idle && !config.training_paused.is_empty(), config.champion, || format!("{config:?}"))
    });
    let appoint = ["model", "promote", KEY, &untrained.to_string()[..12], "--reason", "a drill"];
    let (code, moved) = cluster.peers[1].ask(&appoint);
    assert_eq!(code, Some(0), "{moved}");
    assert_eq!(moved["champion"], untrained.to_string().as_str(), "{moved}");
    let appointed = Instant::now();
    let mut causes = BTreeSet::new();
    until("the bad champion pauses training, and is left", WATCHED, || {
        let status = cluster.peers[0].status()?;
        let config = config(&status)?;
        causes.extend(config.training_paused.iter().map(|pause| pause.cause));
        let steps = &config.history;
        let left = steps.len() > 2 && steps.iter().any(|it| (it.previous, it.model) == (untrained, champion));
        when(left && causes.contains(&PauseCause::RegressionCritical), (), || {
            format!("{causes:?} {config:?}")
        })
    });
    eprintln!("a bad champion was found and left after {:?}", appointed.elapsed());
    emit(&cluster.peers[0], "P2P_CLUSTER_HEALTHY", r#"{"node_count": 3, "healthy_nodes": 3}"#);
    pauses_no_more(&cluster);
    rolled_back(&cluster, untrained, champion);
    for peer in &cluster.peers {
        let events = all_events(peer).unwrap();
        let critical = |event: &Event| {
            if let Event::RegressionCritical(regression) = event { Some(regression.clone()) } else { None }
        };
        let found = events.iter().find_map(|it| critical(&it.event)).expect("a regression");
        assert!(found.games_played >= 50 && found.elo_drop > 20.0, "{found:?}");
        assert_eq!(found.model_id, Some(untrained), "{found:?}");
        let told = |it: &Logged| it.injected && it.event.name().starts_with("REGRESSION");
        assert!(!events.iter().any(told), "nobody told them");
    }
    the_champion_is_everywhere(&cluster, champion);
    // An operator's event is enough without games.
    let (code, moved) = cluster.peers[2].ask(&["model", "rollback", KEY, "--reason", "a drill"]);
    assert_eq!(code, Some(0), "{moved}");
    let left = moved["promotion"]["previous"].as_str().expect("a step of the history");
    let shown = cluster.peers[2].ask(&["model", "show", left]).1;
    assert_eq!(shown["status"], "rejected", "{shown}");
}

fn refusals(peer: &Peer) {
    let check = |command: &[&str], code: i32, says: &str| {
        let ended = peer.read(command);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.stderr.contains(says), "{says}: {ended:?}");
    };
    check(&["model", "show", "00000000"], 1, "there is no model");
    check(&["model", "show", "xyz"], 1, "hex digits");
    check(&["model", "promote", KEY, "00000000", "--reason", "r"], 1, "there is no model");
    check(&["model", "rollback", "square8_2p", "--reason", "r"], 1, "no configuration");
    check(&["model", "rollback", KEY, "--reason", " "], 1, "a reason");
    check(&["model", "rollback", KEY], 2, "--reason");
}
