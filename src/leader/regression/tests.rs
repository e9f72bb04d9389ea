use super::*;
use crate::learner::settings::EvaluationConfig;
use crate::{
    daemons::fixture::{KEY, World, hash},
    learner::sprt::expected_score,
    search::unit,
};
use cluster_state::{
    EndCause, NodeId,
    command::{CancelLease, Reject},
    samples,
};
use rules::playout::Choices;

const MINUTE: Duration = Duration::from_secs(60);

fn watch(wins: u64, games: u64) -> Watch {
    Watch { opponent: hash("before"), games, wins, losses: games - wins, rounds: 1, epoch: 1, at_ms: 0 }
}

#[test]
fn the_verdict_on_sums_of_games() {
    use ChampionVerdict::{Open, Regressed, Sound};
    let (minor, critical) = (Regressed(Severity::Minor), Regressed(Severity::Critical));
    let table = [
        (watch(0, 48), Open, "too few, however clear"),
        (watch(5, 50), critical, "-382"),
        (watch(15, 50), critical, "-147: at once"),
        (watch(17, 50), Open, "-115: not quite"),
        (watch(25, 50), Open, "equal so far"),
        (watch(170, 500), critical, "-115"),
        (watch(195, 500), minor, "-78: critical cannot be told from -20 yet"),
        (watch(260, 600), minor, "-46"),
        (watch(300, 600), Sound, "equal"),
        (watch(70, 100), Sound, "better"),
        (watch(475, 1000), Open, "-17: neither equal nor clearly worse"),
    ];
    for (games, expected, what) in table {
        assert_eq!(judge(&games, 2), expected, "{what}: {games:?}");
    }
    assert_eq!(judge(&watch(4, 60), 4), critical, "a quarter of the games is fair with four seats");
    assert_eq!(judge(&watch(30, 60), 4), Sound);
}

/// Share of champions of a true difference that are found sound, minor and critical at any time, and
/// games until the first word.
fn simulate(elo: f64, runs: u32) -> [f64; 4] {
    let mut choices = Choices::new(7);
    let mut found = [0.0; 4];
    for _ in 0..runs {
        let (mut wins, mut games, mut spoken, mut worst) = (0, 0, false, None);
        while games < GAMES_MAX {
            for _ in 0..WATCH_GAMES / 2 {
                // The two games of a pair: the opening favours a side by up to 50 points.
                let bias = f64::from(unit(&mut choices) - 0.5) * 100.0;
                for swing in [bias, -bias] {
                    wins += u64::from(f64::from(unit(&mut choices)) < expected_score(elo + swing, 2));
                }
            }
            games += u64::from(WATCH_GAMES);
            let verdict = judge(&watch(wins, games), 2);
            if verdict != ChampionVerdict::Open && !spoken {
                spoken = true;
                found[3] += games as f64;
            }
            match verdict {
                ChampionVerdict::Open => {}
                ChampionVerdict::Sound => {
                    found[0] += f64::from(worst.is_none());
                    break;
                }
                ChampionVerdict::Regressed(severity) => worst = worst.max(Some(severity)),
            }
            if worst == Some(Severity::Critical) {
                break;
            }
        }
        found[3] += if spoken { 0.0 } else { games as f64 };
        found[1] += f64::from(worst.is_some());
        found[2] += f64::from(worst == Some(Severity::Critical));
    }
    let shares = found.map(|count| count / f64::from(runs));
    println!(
        "{elo:+}: {:.3} sound, {:.3} worse, {:.3} critical, {:.0} games",
        shares[0], shares[1], shares[2], shares[3]
    );
    shares
}

#[test]
fn errors_are_as_rare_as_they_should_be() {
    let [sound, worse, critical, games] = simulate(0.0, 1_000);
    assert!(sound > 0.85 && worse < 0.06 && critical < 0.005 && games < 500.0);
    let [_, worse, critical, _] = simulate(-20.0, 1_000);
    assert!((0.2..0.8).contains(&worse) && critical < 0.05);
    let [_, worse, critical, _] = simulate(-40.0, 1_000);
    assert!(worse > 0.85 && critical < 0.25);
    let [_, worse, critical, _] = simulate(-75.0, 1_000);
    assert!(worse > 0.98 && (0.3..0.9).contains(&critical));
    let [_, _, critical, games] = simulate(-130.0, 1_000);
    assert!(critical > 0.95 && games < 100.0);
    let [_, worse, _, games] = simulate(60.0, 1_000);
    assert!(worse < 0.01 && games < 200.0, "a better one is left alone soon");
}

/// A second champion, `b`, after `a`, and nothing left to evaluate.
fn world() -> World {
    let mut world = World::with_nodes(3);
    for name in ["a", "b"] {
        world.train(name, 2);
        world.evaluate(name, 3, true);
        (1..=3).for_each(|node| world.held(name, node));
        world.promote(name);
    }
    world
}

/// A round that both others confirm.
fn round(world: &mut World, wins: u32, losses: u32) {
    unconfirmed(world, wins, losses);
    [1, 3].into_iter().for_each(|node| world.confirm_round(node));
}

fn unconfirmed(world: &mut World, wins: u32, losses: u32) {
    let config = world.state.config(KEY).unwrap();
    let (champion, before) = (config.champion, config.fallback().unwrap().model);
    // One opening each for the games that were won and those that were lost, and a set of both.
    let sets = [losses / 2, wins % 2, wins / 2];
    world.evaluated(2, samples::evidence_of((champion, before), sets));
}

/// Applies what is reported, and says what it was.
fn reported(world: &mut World) -> Option<Option<Severity>> {
    let commands = decide(&world.state, world.now);
    let [command] = &commands[..] else {
        assert_eq!(commands, []);
        return None;
    };
    let Command::ReportRegression(ReportRegression { severity, trigger: None, .. }) = command else {
        panic!()
    };
    let severity = *severity;
    world.apply(command.clone());
    assert_eq!(decide(&world.state, world.now), [], "once");
    Some(severity)
}

#[test]
fn each_verdict_is_reported_once() {
    let mut world = world();
    assert_eq!(reported(&mut world), None);
    round(&mut world, 25, 25);
    assert_eq!(reported(&mut world), None);
    round(&mut world, 185, 265);
    assert_eq!(reported(&mut world), Some(Some(Severity::Minor)));
    round(&mut world, 10, 140);
    assert_eq!(reported(&mut world), Some(Some(Severity::Critical)));
}

#[test]
fn one_evaluator_alone_brings_no_champion_down() {
    let (mut world, mut watching) = (world(), RegressionDecider::default());
    unconfirmed(&mut world, 0, 200);
    assert_eq!(reported(&mut world), None);
    let mut due = |world: &World| watching.decide(&world.state, Duration::ZERO, world.now);
    assert_eq!(due(&world), [], "the verifiers are at work");
    world.confirm_round(1);
    assert_eq!((reported(&mut world), due(&world)), (None, vec![]), "one of two");
    world.now += 7_200_000;
    let again = due(&world);
    assert!(
        matches!(&again[..], [Command::GrantLease(GrantLease { node, .. })] if *node != NodeId(2)),
        "another node plays the round again: {again:?}"
    );
    world.confirm_round(3);
    assert_eq!(reported(&mut world), Some(Some(Severity::Critical)));
}

#[test]
fn a_minor_regression_is_cleared_by_games_after_it() {
    let mut world = world();
    round(&mut world, 70, 30);
    world.apply(Command::ReportRegression(ReportRegression {
        config_key: KEY.into(),
        champion: None,
        severity: Some(Severity::Minor),
        elo_drop: 30.0,
        games: 0,
        reason: "a drill".into(),
        trigger: Some(hash("event")),
        at_ms: world.now + 1,
    }));
    assert_eq!(reported(&mut world), None, "the games were before it was said");
    world.now += 60_000;
    round(&mut world, 30, 20);
    assert_eq!(reported(&mut world), Some(None));
}

#[test]
fn a_champion_is_watched_while_nothing_else_is_to_evaluate() {
    let mut world = World::with_nodes(3);
    let mut watching = RegressionDecider::default();
    let mut granted = |world: &mut World, passed_s: u64| {
        world.now += passed_s * 1000;
        let commands = watching.decide(&world.state, MINUTE, world.now);
        let champion = world.state.config(KEY).unwrap().champion;
        for command in &commands {
            assert!(
                matches!(command, Command::GrantLease(GrantLease { kind: LeaseKind::Evaluation, subject, .. })
                    if *subject == Some(champion)),
                "{command:?}"
            );
        }
        commands.len()
    };
    assert_eq!([granted(&mut world, 0), granted(&mut world, 61)], [0, 0], "nothing was before it");
    world.train("a", 2);
    world.evaluate("a", 3, true);
    (1..=3).for_each(|node| world.held("a", node));
    world.promote("a");
    assert_eq!([granted(&mut world, 0), granted(&mut world, 59), granted(&mut world, 1)], [0, 0, 1]);
    round(&mut world, 25, 25);
    assert_eq!([granted(&mut world, 59), granted(&mut world, 59), granted(&mut world, 1)], [0, 0, 1]);
    world.train("b", 2);
    assert_eq!(granted(&mut world, 61), 0, "a candidate waits");
    let reason = "weaker".into();
    world.apply(Command::Reject(Reject { config_key: KEY.into(), candidate: hash("b"), reason, at_ms: 0 }));
    assert_eq!(granted(&mut world, 1), 1);
    let epoch = world.grant(LeaseKind::Evaluation, 2, Some(hash("a")));
    assert_eq!(granted(&mut world, 61), 0, "it is being played");
    let (kind, config_key) = (LeaseKind::Evaluation, KEY.into());
    world.apply(Command::CancelLease(CancelLease {
        kind,
        config_key,
        epoch,
        cause: EndCause::Ordered,
        reason: String::new(),
        at_ms: 0,
    }));
    round(&mut world, 250, 200);
    assert_eq!([granted(&mut world, 0), granted(&mut world, 61)], [0, 0], "it is sound");
}

#[test]
fn the_watch_does_not_touch_a_promotion() {
    let mut world = world();
    let evidence = world.state.models.get(&hash("b")).unwrap().evidence.clone();
    round(&mut world, 1, 49);
    assert_eq!(
        crate::leader::promotion::PromotionDecider::default().decide(
            &world.state,
            &EvaluationConfig::default(),
            0
        ),
        []
    );
    assert_eq!(world.state.models.get(&hash("b")).unwrap().evidence, evidence);
}
