//! One number for the state of the cluster, and the alerts that a person should look at. Pure.

use super::Claim;
use crate::api::health::{Alert, DaemonFailures};
use cluster_state::{ClusterState, ConfigKey, ModelId, Severity};

/// What each kind of trouble may take from the score of 100 points. Offline hosts weigh most, because
/// everything waits for them. Next come champions that regressed, because they spoil the games; then failing
/// daemons, which are restarted; then dead letters, which a person has to look at.
const HOSTS: f64 = 40.0;
const CHAMPIONS: f64 = 25.0;
const DAEMONS: f64 = 20.0;
const LETTERS: f64 = 15.0;
/// Failures of daemons in the last five minutes that cost all points of that kind.
const FAILURES_MAX: f64 = 10.0;
/// Dead letters that cost all points of that kind and raise an alert: more than a person replays one by one.
const LETTERS_MAX: u64 = 50;
/// A minor regression of a champion costs this share of its points.
const MINOR: f64 = 0.5;
/// Free bytes below which the disk raises an alert. It is not a share, because what a node writes does not
/// grow with its disk; a checkpoint with its copies, a window of segments and the databases' logs fit into
/// it.
const DISK_FREE_MIN: u64 = 1 << 30;
/// Most alerts in a view.
const ALERTS_MAX: usize = 64;

/// The figures that the score is computed from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Troubles {
    pub(super) online: usize,
    /// Hosts that are known to be online or offline.
    pub(super) known: usize,
    pub(super) members: usize,
    pub(super) regression: Option<Severity>,
    /// Failures of daemons on this node in the last five minutes.
    pub(super) failures: usize,
    pub(super) dead_letters: u64,
}

impl Troubles {
    /// The score from 0 to 100; none while half of the members or more are unknown.
    pub(super) fn score(&self) -> Option<f64> {
        if self.known * 2 <= self.members {
            return None;
        }
        let hosts = self.online as f64 / self.known as f64;
        let champions = match self.regression {
            None => 1.0,
            Some(Severity::Minor) => 1.0 - MINOR,
            Some(Severity::Critical) => 0.0,
        };
        let left = |count: f64, max: f64| 1.0 - (count / max).min(1.0);
        let daemons = left(self.failures as f64, FAILURES_MAX);
        let letters = left(self.dead_letters as f64, LETTERS_MAX as f64);
        Some(HOSTS * hosts + CHAMPIONS * champions + DAEMONS * daemons + LETTERS * letters)
    }
}

/// The worst regression of a champion.
pub(super) fn worst(state: &ClusterState, claims: &[Claim]) -> Option<Severity> {
    let known = state.configs.values().filter_map(|config| config.steering.regression.as_ref());
    let claimed = claims.iter().filter_map(|claim| match claim {
        Claim::Regression { severity, .. } => Some(*severity),
        Claim::Host(_) | Claim::Cluster(_) | Claim::Distribution { .. } => None,
    });
    known.map(|regression| regression.severity).chain(claimed).max()
}

/// The subject of an alert, and its text.
pub(super) type Alarm = (String, String);

/// All alarms of this node.
pub(super) fn alarms(
    state: &ClusterState,
    claims: &[Claim],
    unhealthy: Option<&str>,
    failures: &[DaemonFailures],
    dead_letters: u64,
) -> Vec<Alarm> {
    let mut alarms: Vec<Alarm> = Vec::new();
    alarms.extend(unhealthy.map(|reason| ("cluster_unhealthy".to_owned(), reason.to_owned())));
    let critical = |key: &ConfigKey, reason: &str| {
        (format!("regression_critical:{key}"), format!("the champion of {key} plays much worse: {reason}"))
    };
    for config in state.configs.values() {
        let regression = config.steering.regression.as_ref();
        let regression = regression.filter(|it| it.severity == Severity::Critical && !it.rolled_back);
        alarms.extend(regression.map(|it| critical(&config.config_key, &it.reason)));
    }
    for claim in claims {
        match claim {
            Claim::Regression { config_key, severity: Severity::Critical, reason } => {
                alarms.push(critical(config_key, reason));
            }
            Claim::Distribution { config_key, model, error } if !everywhere(state, model) => {
                let text = format!("model {} of {config_key} is not everywhere: {error}", model.short());
                alarms.push((format!("distribution_failed:{config_key}"), text));
            }
            Claim::Regression { .. } | Claim::Distribution { .. } | Claim::Host(_) | Claim::Cluster(_) => {}
        }
    }
    for failed in failures.iter().filter(|failed| failed.crash_loop) {
        let text =
            format!("{} failed {} times in a row: {}", failed.daemon, failed.in_row, failed.last_error);
        alarms.push((format!("crash_loop:{}", failed.daemon), text));
    }
    if dead_letters >= LETTERS_MAX {
        let text = format!("{dead_letters} events could not be handled here: see `ringrift dlq list`");
        alarms.push(("dead_letters".to_owned(), text));
    }
    alarms
}

/// Whether every online node holds a model that the cluster knows.
fn everywhere(state: &ClusterState, model: &ModelId) -> bool {
    let known = state.models.get(model);
    known.is_some_and(|known| state.online().all(|node| known.holders.contains(&node.id)))
}

/// The alarm for too little free space on the disk.
pub(super) fn disk(free: u64) -> Option<Alarm> {
    let text = || format!("only {} MiB are free on the disk of the data folder", free >> 20);
    (free < DISK_FREE_MIN).then(|| ("disk".to_owned(), text()))
}

/// Turns alarms into alerts: one per name, sorted by name; an alert that existed before keeps its time.
pub(super) fn alerts(alarms: Vec<Alarm>, before: &[Alert], now_ms: u64) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = Vec::new();
    for (name, message) in alarms {
        if alerts.len() == ALERTS_MAX || alerts.iter().any(|alert| alert.name == name) {
            continue;
        }
        let since_ms = before.iter().find(|alert| alert.name == name).map_or(now_ms, |alert| alert.since_ms);
        alerts.push(Alert { name, message, since_ms });
    }
    alerts.sort_by(|a, b| a.name.cmp(&b.name));
    alerts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{KEY, World, hash};

    #[test]
    fn the_score_says_how_bad_it_is_and_nothing_when_little_is_known() {
        let fine = Troubles { online: 4, known: 4, members: 4, ..Troubles::default() };
        let check = |troubles: Troubles, expected: Option<f64>| {
            assert_eq!(troubles.score(), expected, "{troubles:?}")
        };
        check(fine, Some(100.0));
        check(Troubles::default(), None);
        check(Troubles { known: 2, online: 2, ..fine }, None);
        check(Troubles { known: 3, online: 3, ..fine }, Some(100.0));
        check(Troubles { online: 2, ..fine }, Some(80.0));
        check(Troubles { regression: Some(Severity::Minor), ..fine }, Some(87.5));
        check(Troubles { regression: Some(Severity::Critical), ..fine }, Some(75.0));
        check(Troubles { failures: 5, ..fine }, Some(90.0));
        check(Troubles { failures: 999, ..fine }, Some(80.0));
        check(Troubles { dead_letters: 25, ..fine }, Some(92.5));
        let worst = Troubles {
            online: 0,
            regression: Some(Severity::Critical),
            failures: usize::MAX,
            dead_letters: u64::MAX,
            ..fine
        };
        check(worst, Some(0.0));
    }

    #[test]
    fn alerts_are_raised_once_and_keep_their_time() {
        let alarm = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let first = alerts(vec![alarm("b", "1"), alarm("a", "2"), alarm("b", "3")], &[], 5);
        let names: Vec<_> = first.iter().map(|it| (it.name.as_str(), it.message.as_str())).collect();
        assert_eq!(names, [("a", "2"), ("b", "1")]);
        let second = alerts(vec![alarm("b", "4"), alarm("c", "5")], &first, 9);
        let times: Vec<_> = second.iter().map(|it| (it.name.as_str(), it.since_ms)).collect();
        assert_eq!(times, [("b", 5), ("c", 9)]);
        let many = (0..999).map(|n| alarm(&format!("{n:03}"), "x")).collect();
        assert_eq!(alerts(many, &[], 0).len(), ALERTS_MAX);
        assert!(disk(DISK_FREE_MIN).is_none() && disk(DISK_FREE_MIN - 1).is_some());
    }

    #[test]
    fn a_failed_distribution_is_over_once_every_node_has_the_model() {
        let mut world = World::with_nodes(2);
        let claim = |model: &str| Claim::Distribution {
            config_key: KEY.into(),
            model: hash(model),
            error: "x".to_owned(),
        };
        let raised = |world: &World, claim: &Claim| {
            !alarms(&world.state, std::slice::from_ref(claim), None, &[], 0).is_empty()
        };
        assert!(raised(&world, &claim("nobody knows it")));
        assert!(!raised(&world, &claim("untrained")));
        world.train("a", 1);
        assert!(raised(&world, &claim("a")));
        world.held("a", 2);
        assert!(!raised(&world, &claim("a")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let world = World::with_nodes(2);
        let claimed =
            |severity| Claim::Regression { config_key: KEY.into(), severity, reason: "drill".into() };
        let names = |claims: &[Claim], failed: &[DaemonFailures], letters| -> Vec<String> {
            let found = alarms(&world.state, claims, Some("x"), failed, letters);
            found.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(&[claimed(Severity::Minor)], &[], 0), ["cluster_unhealthy"]);
        assert_eq!(worst(&world.state, &[claimed(Severity::Minor)]), Some(Severity::Minor));
        let critical = [claimed(Severity::Critical)];
        assert_eq!(names(&critical, &[], 49), ["cluster_unhealthy", "regression_critical:hex8_2p"]);
        let failed = |crash_loop| DaemonFailures {
            daemon: "sync".into(),
            failures: 9,
            in_row: 5,
            crash_loop,
            restarts: 0,
            last_error: "disk".into(),
        };
        let all = names(&[], &[failed(false), failed(true)], 50);
        assert_eq!(all, ["cluster_unhealthy", "crash_loop:sync", "dead_letters"]);
    }
}
