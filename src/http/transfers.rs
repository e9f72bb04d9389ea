//! The limit on simultaneous transfers of content.
//!
//! Invariant: at most [`TRANSFERS_MAX`] transfers run at once; one that stalls gives way to the next.

use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Maximum number of transfers at once.
const TRANSFERS_MAX: usize = 8;
/// A transfer gives way when no piece of it was taken for this long.
const STALL: Duration = Duration::from_secs(15);

/// The running transfers, and when each last took a piece.
#[derive(Default)]
pub(super) struct Transfers(Mutex<(u64, BTreeMap<u64, Instant>)>);

impl Transfers {
    /// Starts a transfer, if there is room or another one stalls.
    pub(super) fn begin(self: &Arc<Self>, now: Instant) -> Option<Transfer> {
        let mut inner = self.0.lock();
        let (next, going_on) = &mut *inner;
        going_on.retain(|_, at| now.saturating_duration_since(*at) < STALL);
        if going_on.len() >= TRANSFERS_MAX {
            return None;
        }
        *next += 1;
        going_on.insert(*next, now);
        Some(Transfer { all: Arc::clone(self), number: *next })
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.lock().1.len()
    }
}

/// One running transfer.
pub(super) struct Transfer {
    all: Arc<Transfers>,
    number: u64,
}

impl Transfer {
    /// Whether the transfer may continue; the call counts as progress.
    pub(super) fn goes_on(&self, now: Instant) -> bool {
        self.all.0.lock().1.get_mut(&self.number).map(|at| *at = now).is_some()
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.all.0.lock().1.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_that_stalls_gives_way() {
        let all = Arc::new(Transfers::default());
        let start = Instant::now();
        let mut going_on: Vec<Transfer> = (0..TRANSFERS_MAX).filter_map(|_| all.begin(start)).collect();
        assert_eq!(going_on.len(), TRANSFERS_MAX);
        assert!(all.begin(start).is_none());
        drop(going_on.pop());
        let last = all.begin(start).unwrap();
        let later = start + STALL;
        assert!(last.goes_on(later));
        let next = all.begin(later).unwrap();
        assert!(next.goes_on(later) && last.goes_on(later) && !going_on[0].goes_on(later));
        drop((going_on, last, next));
        assert_eq!(all.count(), 0);
    }
}
