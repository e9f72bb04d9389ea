//! A cluster of five of which one lies. It tells every lie of this list in one run, and the honest nodes find
//! each, lose nothing, and crown the champions that they crown without it.
//!
//! Four members are real processes. The fifth is in the process of the test (`liar/member.rs`): an operator's
//! ticket admitted it, it follows Raft as a learner, is asked and answered as a node is, and speaks by the
//! project's own crates. Nothing in the binary knows how to lie.
//!
//! The same run is made twice, with the liar and without. In each round an honest node has a batch of games,
//! which crosses the threshold; a node trains; the candidate is judged; the operator appoints it. Which
//! candidate wins a match depends on its games, and these on the time, so nothing here is left to matches:
//! the settings reject every candidate that loses one of many games against random play, and only the
//! operator moves the champion. A forgery that the honest nodes believed would still move it, because forged
//! evidence loses no game.
//!
//! What is compared, at every honest node, is the list of champions: for each its generation, in which
//! training run of the cluster it was made, from which run's weights, which champion it replaced, the
//! difference in strength with which it was crowned (0 if an operator has appointed it), and whether its
//! training used exactly as many positions as the batches of the honest node give, so that no forged game was
//! in its window. The hashes of the models differ from run to run, because the seed of a training follows
//! from the number of its log entry, and are not compared.
//!
//! `scripts/liar` runs the same with more games, more rounds, and the share of audits that nodes have by
//! default.

mod games;
mod lies;
mod member;

use crate::support::{Cluster, Peer, SOON, until, when};
use cluster_state::{ModelId, NodeId, SegmentId};
use games::{BATCH, REUSE, WINDOW, key};
use lies::Found;
use member::Liar;
use ringrift::{
    api::models::{ChampionOrder, ModelView},
    store::GameRecord,
};
use serde_json::json;
use std::{fs, time::Duration};

const KEY: &str = "hex8_2p";
/// Honest processes.
const HONEST: usize = 4;
/// The honest node that has the batches: the one that asks the liar first to keep them.
const HOLDER: usize = 3;
/// How long training and evaluation may take, on two cores that others use as well.
const LOOP: Duration = Duration::from_secs(240);
/// A user sets this variable for the longer run.
const LONG: &str = "RINGRIFT_LIAR_LONG";

/// How much is played.
struct Size {
    rounds: usize,
    /// Games of a batch, each of which crosses the threshold.
    batch: usize,
    /// Games that the liar forges.
    forged: usize,
    /// Share of games that are audited.
    share: f64,
}

impl Size {
    fn wanted() -> Self {
        match std::env::var_os(LONG) {
            None => Self { rounds: 2, batch: 64, forged: 24, share: 1.0 },
            Some(_) => Self { rounds: 4, batch: 256, forged: 200, share: 0.13 },
        }
    }

    fn settings(&self) -> String {
        let Self { batch, share, .. } = self;
        format!(
            "device = \"cpu\"\nselfplay_threads = 1\n[selfplay]\nenabled = false\n\
             [training]\nthreshold_games = {batch}\nbatch = {BATCH}\nreuse = {REUSE:?}\nseconds_max = 3600\n\
             window_positions = {WINDOW}\n\
             [evaluation]\nsimulations = 2\ngames_max = 16\nbaseline_games = 400\nelo_delta_min = 0.0\n\
             win_rate_vs_random_min = 1.0\nwatch_seconds = 604800\n\
             [audit]\nshare = {share:?}\n[distribution]\nunregistered_mib_max = 128\n"
        )
    }
}

#[test]
fn a_liar_in_a_cluster_of_five_is_found_and_changes_no_champion() {
    let size = Size::wanted();
    let (without, _) = run(&size, false);
    let (with, found) = run(&size, true);
    let row = |lie: &str, how: &str| eprintln!("{lie:<29} | {how}");
    row("lie", "how it was found");
    found.iter().for_each(|found| row(found.lie, &found.how));
    let champions = with.iter().map(|reign| format!("{} by run {}", reign.generation, reign.run));
    row("all of them", &format!("champions {}", champions.collect::<Vec<_>>().join(", ")));
    assert_eq!(with, without, "the champions with the liar, and without");
    assert!(with.len() == size.rounds && with.iter().all(|reign| reign.honest), "{with:?}");
}

/// A champion, in terms that are the same in each run of one cluster.
#[derive(Debug, PartialEq)]
struct Reign {
    generation: u64,
    /// The number of its training run, from 1; 0 is the seeded network.
    run: usize,
    /// That of the model whose weights the run began with.
    parent: usize,
    /// That of the champion that it replaced.
    previous: usize,
    elo_delta: f64,
    /// Whether its run used as many positions as the batch of the honest node gives.
    honest: bool,
}

/// Runs the cluster from its founding to its last champion, with the liar in it or without.
fn run(size: &Size, lying: bool) -> (Vec<Reign>, Vec<Found>) {
    let mut cluster = Cluster::start(HONEST, &size.settings());
    let liar = lying.then(|| Liar::join(&cluster.peers[1]));
    if let Some(liar) = &liar {
        assert_eq!(liar.id, NodeId(5));
        for peer in &cluster.peers {
            peer.until_status("the liar is a member", |status| {
                status.nodes.iter().any(|it| it.id == liar.id)
            });
        }
        lies::events::false_floors_begin(&mut cluster, liar);
    }
    let (mut found, mut batches) = (Vec::new(), Vec::new());
    for round in 0..size.rounds {
        let (batch, games) = a_batch_is_played(&cluster, round, size.batch);
        let candidate = a_candidate_is_trained(&cluster, round);
        batches.push(games);
        if let Some(liar) = liar.as_ref().filter(|_| round == 0) {
            found.push(lies::learning::forged_evidence(&cluster, liar, candidate.model, batch));
        }
        a_candidate_is_appointed(&cluster, &candidate, round);
        if let Some(liar) = liar.as_ref().filter(|_| round == 0) {
            found.push(lies::content::false_holders(&cluster, liar, batch));
            found.push(lies::content::withheld_pieces(&cluster, liar));
            found.push(lies::learning::forged_games(&cluster, liar, size));
        }
    }
    if let Some(liar) = &liar {
        found.push(lies::events::false_floors(&cluster, liar));
        found.push(lies::events::flood(&cluster, liar));
        found.push(lies::events::equivocation(&cluster, liar));
    }
    (champions(&cluster, &batches), found)
}

fn blob(peer: &Peer, model: ModelId) -> Vec<u8> {
    fs::read(peer.folder.join(format!("blobs/{model}"))).expect("its bytes")
}

/// An honest node has a batch of games of the present champion, and another one tells.
fn a_batch_is_played(cluster: &Cluster, round: usize, count: usize) -> (SegmentId, Vec<GameRecord>) {
    let holder = &cluster.peers[HOLDER];
    let status = holder.until_status("a configuration", |status| status.configs.len() == 1);
    let (champion, node) = (status.configs[0].champion, NodeId(HOLDER as u64 + 1));
    let network = games::network(&blob(holder, champion));
    let games = games::play(network, champion, node, (count, round as u64));
    let (segment, bytes) = games::segment(champion, node, games.clone());
    fs::write(holder.folder.join(format!("blobs/{segment}")), bytes).expect("the batch is stored");
    let payload = json!({
        "config_key": KEY, "node_id": status.answered_by, "game_count": count, "total_games": count,
        "db_path": "", "segment": segment.to_string(),
    });
    cluster.peers[1].emit("SELFPLAY_COMPLETE", payload).expect("an event");
    (segment, games)
}

/// The models, in the order of their training, first the seeded network.
fn models(peer: &Peer) -> Result<Vec<ModelView>, String> {
    let mut models = peer.client()?.models(Some(&key()), 100).map_err(|error| error.to_string())?;
    models.reverse();
    Ok(models)
}

fn a_candidate_is_trained(cluster: &Cluster, round: usize) -> ModelView {
    until("a candidate", LOOP, || {
        let models = models(&cluster.peers[0])?;
        let count = models.len();
        when(count == round + 2, models.last().cloned(), || {
            let status = cluster.peers[0].status();
            format!("{count} models, {:?}", status.map(|status| status.configs))
        })
    })
    .expect("the newest")
}

/// The candidate is rejected by honest evidence; then the operator appoints it all the same.
fn a_candidate_is_appointed(cluster: &Cluster, candidate: &ModelView, round: usize) {
    until("a verdict", LOOP, || {
        let models = models(&cluster.peers[0])?;
        let model = models.iter().find(|model| model.model == candidate.model).ok_or("unknown")?;
        assert_ne!(model.status, "champion", "evidence made it champion: {model:?}");
        when(model.status == "rejected", (), || format!("{model:?}"))
    });
    let order = ChampionOrder {
        config_key: key(),
        model: Some(candidate.model.to_string()),
        reason: format!("round {round}"),
    };
    until("the operator appoints it", SOON, || {
        cluster.peers[0].client()?.promote(&order).map(drop).map_err(|error| error.to_string())
    });
    for peer in &cluster.peers {
        until(&format!("{} has the champion", peer.name), SOON, || {
            let status = peer.status()?;
            let here = peer.folder.join(format!("blobs/{}", candidate.model)).exists();
            let reigns = status.configs[0].champion == candidate.model;
            when(here && reigns, (), || format!("{here} {reigns}"))
        });
    }
}

/// The champions as every honest node has them.
fn champions(cluster: &Cluster, batches: &[Vec<GameRecord>]) -> Vec<Reign> {
    let of = |peer: &Peer| {
        let status = peer.until_status("it answers", |status| status.configs.len() == 1);
        let models = models(peer).unwrap();
        let number = |model: ModelId| models.iter().position(|it| it.model == model).expect("a model");
        let reign = |step: &ringrift::api::models::PromotionView| {
            let run = number(step.model);
            let used = models[run].report.as_ref().map(|report| report.samples);
            let batch = run.checked_sub(1).and_then(|run| batches.get(run));
            Reign {
                generation: step.generation,
                run,
                parent: number(models[run].parent),
                previous: number(step.previous),
                elo_delta: step.elo_delta,
                honest: used == batch.map(|batch| games::positions_used(batch)),
            }
        };
        status.configs[0].history.iter().map(reign).collect::<Vec<_>>()
    };
    let all: Vec<Vec<Reign>> = cluster.peers.iter().map(of).collect();
    assert!(all.iter().all(|champions| *champions == all[0]), "every node has one history: {all:?}");
    all.into_iter().next().expect("four nodes")
}
