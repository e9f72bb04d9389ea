//! What operators claimed in events, until each claim ends.
//!
//! Invariant: the newest claim about a subject counts, by the clocks of the nodes that sent it and in any
//! order of arrival, so that all nodes reach the same result. No claim counts for longer than [`LASTS`], so
//! that a forgotten drill ends. A claim is stored in the same transaction as the handler's cursor, so it
//! survives a restart.

use crate::events::{Event, LogError, Logged, caused::node_name, runner::Effect, schema::connect};
use cluster_state::ModelId;
use cluster_state::{ClusterState, ConfigKey, NodeId, Severity};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, path::Path, time::Duration};

/// How long a claim counts unless it is withdrawn.
const LASTS: Duration = Duration::from_secs(15 * 60);
/// How long an ended claim is remembered, so that an older claim that arrives late changes nothing.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Longest text of a claim that is kept.
const TEXT_CHARS_MAX: usize = 200;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS health_claims(
        subject  TEXT PRIMARY KEY,
        claim    TEXT,
        at_ms    INTEGER NOT NULL,
        until_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS health_told(
        only      INTEGER PRIMARY KEY CHECK (only = 1),
        unhealthy INTEGER NOT NULL
    ) STRICT;";

/// What a claim says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Claim {
    /// The host is offline.
    Host(NodeId),
    /// The cluster is unhealthy, for the reason given.
    Cluster(String),
    /// The champion of a configuration regressed.
    Regression { config_key: ConfigKey, severity: Severity, reason: String },
    /// A model did not reach every node. The cluster also reports this itself.
    Distribution { config_key: ConfigKey, model: ModelId, error: String },
}

impl Claim {
    /// Reads a stored claim.
    pub(crate) fn parse(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    pub(super) fn unhealthy(&self) -> Option<String> {
        match self {
            Self::Cluster(reason) => Some(reason.clone()),
            Self::Host(_) | Self::Regression { .. } | Self::Distribution { .. } => None,
        }
    }
}

/// Hosts that operators claim to be offline.
pub(super) fn hosts(claims: &[Claim], state: &ClusterState) -> BTreeSet<NodeId> {
    let claimed = claims.iter().filter_map(|claim| match claim {
        Claim::Host(id) => Some(*id),
        Claim::Cluster(_) | Claim::Regression { .. } | Claim::Distribution { .. } => None,
    });
    claimed.filter(|id| state.nodes.contains_key(id)).collect()
}

/// What an event says about a subject: it makes a claim, or it ends one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ClaimChange {
    subject: String,
    claim: Option<Claim>,
    at_ms: i64,
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

impl ClaimChange {
    /// What an event says, if it counts. A claim comes from an operator, or concerns something that only
    /// events report. It ends when an operator withdraws it or when the real event arrives.
    pub(super) fn of(logged: &Logged, state: &ClusterState) -> Option<Self> {
        let (subject, claim) = about_host(logged, state)
            .or_else(|| about_cluster(logged))
            .or_else(|| about_regression(logged))
            .or_else(|| about_distribution(logged))?;
        Some(Self { subject, claim, at_ms: logged.at_ms })
    }

    /// Returns the change of `node.db` that stores this.
    pub(super) fn effect(self) -> Effect {
        Box::new(move |tx| {
            tx.execute_batch(SCHEMA)?;
            self.write(tx)
        })
    }

    fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let lasts = if self.claim.is_some() { LASTS.as_millis() as i64 } else { 0 };
        let claim = self.claim.as_ref().map(serde_json::to_string).transpose();
        let claim = claim.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let sql = "INSERT INTO health_claims VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET claim = excluded.claim, \
                   at_ms = excluded.at_ms, until_ms = excluded.until_ms WHERE excluded.at_ms >= health_claims.at_ms";
        let row = params![self.subject, claim, self.at_ms, self.at_ms.saturating_add(lasts)];
        connection.prepare_cached(sql)?.execute(row)?;
        let sql = "DELETE FROM health_claims WHERE until_ms < ?";
        connection.prepare_cached(sql)?.execute([self.at_ms.saturating_sub(KEPT.as_millis() as i64)])?;
        Ok(())
    }
}

/// A subject, and the claim about it if it does not end.
type Said = (String, Option<Claim>);

fn about_host(logged: &Logged, state: &ClusterState) -> Option<Said> {
    let (name, offline) = if let Event::HostOffline(it) = &logged.event
        && logged.injected
    {
        (&it.node_id, true)
    } else if let Event::HostOnline(it) = &logged.event {
        (&it.node_id, false)
    } else {
        return None;
    };
    let Some(id) = state.nodes.keys().find(|id| node_name(**id) == *name).copied() else {
        tracing::warn!(
            host = cut(name),
            event = logged.event.name(),
            "a claim about an unknown host is ignored"
        );
        return None;
    };
    Some((format!("host {id}"), offline.then_some(Claim::Host(id))))
}

/// Only an operator's events count: of the cluster's health every node judges by itself.
fn about_cluster(logged: &Logged) -> Option<Said> {
    let claim = if let Event::P2pClusterUnhealthy(it) = &logged.event {
        Some(Claim::Cluster(format!("an operator says so: {}", cut(&it.reason))))
    } else if let Event::P2pClusterHealthy(_) = &logged.event {
        None
    } else {
        return None;
    };
    logged.injected.then(|| ("cluster".to_owned(), claim))
}

fn about_regression(logged: &Logged) -> Option<Said> {
    let (it, severity) = if let Event::RegressionDetected(it) = &logged.event
        && logged.injected
    {
        (it, Some(Severity::Minor))
    } else if let Event::RegressionCritical(it) = &logged.event
        && logged.injected
    {
        (it, Some(Severity::Critical))
    } else if let Event::RegressionCleared(it) = &logged.event {
        (it, None)
    } else {
        return None;
    };
    let (config_key, reason) = (&it.config_key, cut(&it.reason));
    let claim =
        severity.map(|severity| Claim::Regression { config_key: config_key.clone(), severity, reason });
    Some((format!("regression {config_key}"), claim))
}

fn about_distribution(logged: &Logged) -> Option<Said> {
    let Event::ModelDistributionFailed(it) = &logged.event else { return None };
    let (config_key, error) = (it.config_key.clone(), cut(&it.error));
    let claim = Claim::Distribution { config_key, model: it.model_id, error };
    Some((format!("distribution {}", it.config_key), Some(claim)))
}

/// The claims that this node has stored.
pub(super) struct Claims(Connection);

impl Claims {
    pub(super) fn open(path: &Path) -> Result<Self, LogError> {
        let connection = connect(path)?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(connection))
    }

    /// Claims that count at `now_ms`.
    pub(super) fn current(&self, now_ms: u64) -> Result<Vec<Claim>, LogError> {
        let sql = "SELECT claim FROM health_claims WHERE claim IS NOT NULL AND until_ms > ? ORDER BY subject";
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement
            .query_map([i64::try_from(now_ms).unwrap_or(i64::MAX)], |row| row.get::<_, String>(0))?;
        let mut found = Vec::new();
        for text in rows {
            match Claim::parse(&text?) {
                Ok(claim) => found.push(claim),
                Err(error) => tracing::warn!(%error, "a stored claim is unreadable"),
            }
        }
        Ok(found)
    }

    /// Whether this node last reported to the others that the cluster is unhealthy. At first they take it to
    /// be healthy.
    pub(super) fn reported_unhealthy(&self) -> Result<bool, LogError> {
        let sql = "SELECT COALESCE(MAX(unhealthy), 0) FROM health_told";
        Ok(self.0.query_row(sql, [], |row| row.get(0))?)
    }
}

/// Stores the verdict that was reported, in the transaction that keeps the event, so that it is not reported
/// twice after a kill between the two. [`Claims::open`] has created the table.
pub(super) fn store_report(connection: &Connection, unhealthy: bool) -> rusqlite::Result<()> {
    connection.execute("INSERT OR REPLACE INTO health_told VALUES (1, ?)", [unhealthy]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::now_ms,
        daemons::fixture::World,
        events::{
            ClusterHealth, Component, HostOffline, HostOnline,
            golden::examples,
            runner::kills::{Started, at_every_await_point},
        },
    };
    use futures::FutureExt;
    use std::sync::Arc;

    fn logged(event: Event, injected: bool, at_ms: i64) -> Logged {
        Logged {
            position: 1,
            origin: "somebody".into(),
            epoch: 1,
            sequence: 1,
            at_ms,
            flow: "cluster".into(),
            flow_previous: None,
            causes: vec![],
            subject: None,
            injected,
            event,
        }
    }

    fn offline(node: &str) -> Event {
        let (node_id, host, reason) = (node.to_owned(), String::new(), String::new());
        Event::HostOffline(HostOffline { node_id, host, reason, timestamp: 0.0 })
    }

    fn online(node: &str) -> Event {
        Event::HostOnline(HostOnline { node_id: node.to_owned(), host: String::new(), timestamp: 0.0 })
    }

    fn cluster(unhealthy: bool) -> Event {
        let told = ClusterHealth {
            node_id: "node-1".into(),
            node_count: 3,
            healthy_nodes: 1,
            quorum_met: true,
            leader_id: None,
            reason: "drill".into(),
            timestamp: 0.0,
        };
        if unhealthy { Event::P2pClusterUnhealthy(told) } else { Event::P2pClusterHealthy(told) }
    }

    /// Checks the claims that count at time `at` after the events in `words`: each is (event, injected, at).
    fn check(words: &[(Event, bool, i64)], at: u64, expected: &[Claim]) {
        let world = World::with_nodes(3);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.db");
        let claims = Claims::open(&path).unwrap();
        for (event, injected, at_ms) in words {
            if let Some(word) = ClaimChange::of(&logged(event.clone(), *injected, *at_ms), &world.state) {
                word.write(&claims.0).unwrap();
            }
        }
        drop(claims);
        let reopened = Claims::open(&path).unwrap();
        assert_eq!(reopened.current(at).unwrap(), expected, "{words:?}");
    }

    #[test]
    fn an_operators_event_counts_if_the_table_sends_it_here() {
        let world = World::with_nodes(3);
        for event in examples() {
            let handled = event.kind().handled_by(Component::Health).is_some();
            let counts = ClaimChange::of(&logged(event.clone(), true, 10), &world.state).is_some();
            assert_eq!(counts, handled, "{}", event.name());
        }
    }

    #[test]
    fn the_newest_word_counts_and_ends() {
        let lasts = LASTS.as_millis() as u64;
        let host = [Claim::Host(NodeId(2))];
        check(&[(offline("node-2"), true, 10)], 11, &host);
        check(&[(offline("node-2"), true, 10)], 10 + lasts, &[]);
        check(&[(offline("node-2"), false, 10)], 11, &[]); // the leader's word: this node sees for itself
        check(&[(offline("node-9"), true, 10)], 11, &[]); // unknown
        check(&[(offline("node-2"), true, 10), (online("node-2"), false, 12)], 13, &[]);
        check(&[(offline("node-2"), true, 10), (online("node-2"), true, 12)], 13, &[]);
        check(&[(offline("node-2"), true, 10), (online("node-3"), true, 12)], 13, &host);
        // The same events in the other order of arrival.
        check(&[(online("node-2"), true, 12), (offline("node-2"), true, 10)], 13, &[]);
        check(&[(online("node-2"), true, 12), (offline("node-2"), true, 14)], 15, &host);
        let claimed = [Claim::Cluster("an operator says so: drill".into())];
        check(&[(cluster(true), true, 10)], 11, &claimed);
        check(&[(cluster(true), false, 10)], 11, &[]); // another node's verdict
        check(&[(cluster(true), true, 10), (cluster(false), false, 11)], 12, &claimed);
        check(&[(cluster(true), true, 10), (cluster(false), true, 11)], 12, &[]);
    }

    #[test]
    fn a_kill_at_any_await_point_loses_no_word() {
        let world = World::with_nodes(3);
        let words =
            [offline("node-2"), cluster(true), offline("node-3"), offline("node-9"), online("node-2")];
        let expected = [Claim::Cluster("an operator says so: drill".into()), Claim::Host(NodeId(3))];
        let start = |_: &Path| {
            let state = Arc::new(world.state.clone());
            let handle = move |logged: Arc<Logged>| {
                let state = Arc::clone(&state);
                async move {
                    tokio::task::yield_now().await;
                    Ok(ClaimChange::of(&logged, &state).map(ClaimChange::effect))
                }
                .boxed()
            };
            Started { handle: Box::new(handle), beside: std::future::pending().boxed() }
        };
        let read = |folder: &Path| {
            let claims = Claims::open(&folder.join("node.db")).unwrap();
            claims.current(now_ms()).unwrap()
        };
        let found = at_every_await_point(&words, start, read);
        assert!(found.len() > 10, "{} await points", found.len());
        for (polls, found) in found.iter().enumerate() {
            assert_eq!(found[..], expected, "killed after {polls} polls");
        }
    }

    #[test]
    fn what_was_told_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.db");
        assert!(!Claims::open(&path).unwrap().reported_unhealthy().unwrap());
        store_report(&Claims::open(&path).unwrap().0, true).unwrap();
        assert!(Claims::open(&path).unwrap().reported_unhealthy().unwrap());
        store_report(&Claims::open(&path).unwrap().0, false).unwrap();
        assert!(!Claims::open(&path).unwrap().reported_unhealthy().unwrap());
    }
}
