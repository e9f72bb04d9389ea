//! The timeouts of consensus.
//!
//! After a leader's death a follower waits for the lease (`election_max`) and then for its own timeout
//! (between `election_min` and `election_max`) before it campaigns: with the defaults there is a new leader
//! after 1.4 to 1.8 s.

use std::time::Duration;

/// The timeouts of consensus. The defaults suit one site, even if every core is busy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time between heartbeats; it is also the timeout of replication requests.
    pub heartbeat: Duration,
    /// Shortest election timeout. It must be several times the heartbeat.
    pub election_min: Duration,
    /// Longest election timeout.
    pub election_max: Duration,
    /// Timeout of one piece of a snapshot.
    pub snapshot: Duration,
    /// How long [`crate::RaftHandle::propose`] keeps trying.
    pub propose: Duration,
    /// How long [`crate::RaftHandle::linearizable`] keeps trying.
    pub read: Duration,
    /// Time between two looks at the voters.
    pub voters_tick: Duration,
    /// How long a learner must have been healthy before it may become a voter.
    pub stable: Duration,
    /// How long a voter must have been silent before it is replaced.
    pub dead: Duration,
    /// Number of log entries between two snapshots; as many are kept after a snapshot.
    pub snapshot_entries: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(150),
            election_min: Duration::from_millis(500),
            election_max: Duration::from_millis(900),
            snapshot: Duration::from_secs(10),
            propose: Duration::from_secs(8),
            read: Duration::from_secs(3),
            voters_tick: Duration::from_secs(1),
            stable: Duration::from_secs(2),
            dead: Duration::from_secs(30),
            snapshot_entries: 5000,
        }
    }
}

impl Timing {
    /// The same values in openraft's terms.
    pub(crate) fn config(&self) -> Result<openraft::Config, String> {
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        openraft::Config {
            cluster_name: "ringrift".into(),
            heartbeat_interval: ms(self.heartbeat),
            election_timeout_min: ms(self.election_min),
            election_timeout_max: ms(self.election_max),
            install_snapshot_timeout: ms(self.snapshot),
            enable_pre_vote: Some(true),
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(self.snapshot_entries),
            max_in_snapshot_log_to_keep: self.snapshot_entries,
            purge_batch_size: 256,
            max_payload_entries: 300,
            replication_lag_threshold: self.snapshot_entries.saturating_mul(2),
            ..openraft::Config::default()
        }
        .validate()
        .map_err(|e| e.to_string())
    }
}
