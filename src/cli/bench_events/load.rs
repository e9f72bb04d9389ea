//! How busy the machine is during a measurement, because a figure without its load says little.

use serde::Serialize;
use std::{fs, time::Instant};

/// Clock ticks a second in `/proc`; Linux fixes this number for programs.
const TICKS: f64 = 100.0;

/// The average number of busy cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Load {
    /// Cores busy with anything.
    pub(super) machine: f64,
    /// Cores busy with the peers.
    pub(super) peers: f64,
    /// Cores that the machine has.
    pub(super) cores: usize,
}

/// The counters at one moment.
pub(super) struct Meter {
    began: Instant,
    machine: f64,
    peers: f64,
}

impl Meter {
    pub(super) fn start(pids: &[u32]) -> Self {
        Self { began: Instant::now(), machine: machine(), peers: pids.iter().copied().map(process).sum() }
    }

    /// The average since the start. The processes must be the same as at the start.
    pub(super) fn stop(&self, pids: &[u32]) -> Load {
        let seconds = self.began.elapsed().as_secs_f64().max(1e-3);
        let peers: f64 = pids.iter().copied().map(process).sum();
        Load {
            machine: (machine() - self.machine) / seconds,
            peers: (peers - self.peers) / seconds,
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}

/// CPU seconds that the machine has spent since it started.
fn machine() -> f64 {
    fs::read_to_string("/proc/stat").ok().and_then(|text| busy(&text)).unwrap_or(0.0)
}

/// CPU seconds that a process has spent.
fn process(pid: u32) -> f64 {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|text| used(&text)).unwrap_or(0.0)
}

/// All values of the first line of `/proc/stat`, except idle time, waits for a disk, and guests, which are
/// counted twice.
fn busy(stat: &str) -> Option<f64> {
    let fields: Vec<f64> =
        stat.lines().next()?.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    let all: f64 = fields.iter().take(8).sum();
    Some((all - fields.get(3)? - fields.get(4)?) / TICKS)
}

/// User and system time of `/proc/PID/stat`. The name before them may contain any character.
fn used(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(busy("cpu  100 20 30 4000 500 6 4 40 9 9\ncpu0 1 2\n"), Some(2.0));
        assert_eq!(busy("nonsense"), None);
        let stat = "42 (a) b) S 1 42 42 0 -1 4194304 1 0 0 0 150 50 7 7 20 0 1 0 99";
        assert_eq!(used(stat), Some(2.0));
        assert_eq!(used("42 (a"), None);
        assert!(machine() > 0.0);
    }
}
