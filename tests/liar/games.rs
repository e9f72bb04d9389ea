//! Games: as an honest node plays them, as the liar forges them, and what a training run makes of them.

use super::KEY;
use cluster_state::{ConfigKey, ModelId, NodeId, SegmentId};
use kernels::{AnyEvaluator, Architecture, Checkpoint, CpuEvaluator, Network};
use ringrift::{
    learner::{
        ReplayWindow,
        arena::ModelPlayer,
        audit::Auditor,
        backend,
        evaluation::{EvaluationJob, EvaluationResult, evaluate},
        selfplay::Selfplay,
        settings::EvaluationConfig,
    },
    store::{GameRecord, Segment},
};
use rules::Config;
use std::sync::Arc;

/// Simulations of every search.
const SIMULATIONS: u32 = 4;
/// Positions of one step of training, how often each new one is used, and the most positions of the window:
/// what the settings of the test say.
pub(super) const BATCH: u64 = 64;
pub(super) const REUSE: f64 = 3.0;
pub(super) const WINDOW: usize = 50_000;

pub(super) fn key() -> ConfigKey {
    KEY.into()
}

fn config() -> Config {
    KEY.parse().unwrap()
}

fn evaluator(network: Network) -> Box<dyn AnyEvaluator> {
    Box::new(CpuEvaluator::new(Arc::new(network)))
}

/// The network in a checkpoint.
pub(super) fn network(checkpoint: &[u8]) -> Network {
    Checkpoint::for_config(checkpoint, config()).unwrap().network
}

/// A network that no model of the cluster has.
pub(super) fn another() -> Network {
    Network::seeded(Architecture::small(config().board), 4711)
}

/// Games of `network`, whose records say that `model` has played them.
pub(super) fn play(
    network: Network,
    model: ModelId,
    node: NodeId,
    (count, seed): (usize, u64),
) -> Vec<GameRecord> {
    let mut games = Selfplay::new(config(), 16, seed, node);
    games.set_backend(backend::cpu());
    games.set_model(model, evaluator(network), SIMULATIONS);
    let mut records = Vec::new();
    while records.len() < count {
        records.extend(games.step());
    }
    records.truncate(count);
    records
}

/// Games that another network has played; in every second one the policies are made up as well.
pub(super) fn forge(model: ModelId, node: NodeId, count: usize) -> Vec<GameRecord> {
    let mut records = play(another(), model, node, (count, 13));
    for record in records.iter_mut().step_by(2) {
        for decision in &mut record.decisions {
            let mut weights: Vec<u16> = decision.policy.iter().map(|&(_, weight)| weight).collect();
            weights.reverse();
            decision.policy.iter_mut().zip(weights).for_each(|(entry, weight)| entry.1 = weight);
        }
    }
    records
}

/// The shortest evaluation that counts, with games that were really played (by whatever network).
pub(super) fn evaluation(
    candidate: ModelId,
    champion: ModelId,
    (node, lease): (NodeId, u64),
) -> EvaluationResult {
    let settings = EvaluationConfig {
        simulations: 2,
        games_max: 16,
        baseline_games: 2,
        win_rate_vs_random_min: 0.0,
        ..EvaluationConfig::default()
    };
    let backend = backend::cpu().to_owned();
    let job = EvaluationJob { config: config(), settings, parallel: 16, lease, node, backend };
    let player = |hash| ModelPlayer { hash, evaluator: evaluator(another()) };
    evaluate(&job, player(candidate), player(champion), &|| false, &mut |_| {}).unwrap()
}

/// How many positions a training run uses, counted as often as it uses them, if what is new in its window is
/// these games and nothing else.
pub(super) fn positions_used(records: &[GameRecord]) -> u64 {
    let mut window = ReplayWindow::new(config(), WINDOW);
    for record in records {
        window.add(record).unwrap();
    }
    let steps = (window.training_added() as f64 * REUSE / BATCH as f64).ceil() as u64;
    steps.max(1) * BATCH
}

/// Whether a decision of a segment comes out otherwise when the champion of that time makes it again: the
/// proof that FORGERY_FOUND names, as anybody checks it.
pub(super) fn is_forged(segment: &[u8], checkpoint: &[u8], model: ModelId, (game, ply): (u32, u32)) -> bool {
    let (_, games) = Segment::read(segment).unwrap();
    let mut evaluator = evaluator(network(checkpoint));
    let mut auditor =
        Auditor { config: config(), model, evaluator: &mut *evaluator, backend: backend::cpu() };
    auditor.confirm(game, &games[game as usize], ply).unwrap().forged.is_some()
}

/// The name and the bytes of a segment of self-play.
pub(super) fn segment(model: ModelId, node: NodeId, records: Vec<GameRecord>) -> (SegmentId, Vec<u8>) {
    let built = Segment::build(&key(), cluster_state::Source::Selfplay, model, node, records).unwrap();
    (built.hash(), built.into_bytes())
}
