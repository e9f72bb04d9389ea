//! Clusters of real processes on the loopback interface or in namespaces, started and asked as a user would.
//!
//! Invariant: every process that is started here is killed by its pid when its owner is dropped, also after a
//! panic, and it ends by itself when the test's thread does. One cluster runs at a time, because two cores
//! are enough for no more.

mod cluster;
mod network;
mod peer;
mod process;

pub(crate) use cluster::{Cluster, turn};
pub(crate) use network::{Network, Place};
pub(crate) use peer::Peer;
pub(crate) use process::{Busy, Ended, run};

use std::{
    thread,
    time::{Duration, Instant},
};

/// Pause between two looks.
pub(crate) const POLL: Duration = Duration::from_millis(100);
/// How long something may take that takes a moment on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Settings with small sizes, so that games, training and evaluation take seconds.
pub(crate) const QUICK: &str = "
selfplay_threads = 1
[selfplay]
simulations = 4
parallel_games = 8
segment_games = 32
segment_seconds = 1
[training]
threshold_games = 60
batch = 64
seconds_max = 5
window_positions = 20000
[evaluation]
simulations = 4
games_max = 60
baseline_games = 4
elo1 = 100.0
elo_delta_min = 0.0
win_rate_vs_random_min = 0.0
";

/// Looks until there is an answer, and panics with the last reason if there is none in time.
pub(crate) fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Ok(found) => return found,
            Err(reason) => assert!(Instant::now() < deadline, "{what}: not within {limit:?}: {reason}"),
        }
        thread::sleep(POLL);
    }
}

/// An answer, or the reason why not.
pub(crate) fn when<T>(yes: bool, answer: T, reason: impl FnOnce() -> String) -> Result<T, String> {
    if yes { Ok(answer) } else { Err(reason()) }
}
