//! How often a card has failed: whoever uses the card counts, and its status shows.

use crate::error::DeviceError;
use parking_lot::Mutex;
use std::sync::Arc;

/// The failures of a card since the process began. The CPU went on each time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// How many there were.
    pub count: u64,
    /// The latest one.
    pub last: Option<DeviceError>,
}

/// The count of a card's failures, shared by everybody who uses the card.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailureCount(Arc<Mutex<Failures>>);

impl FailureCount {
    pub(crate) fn add(&self, error: &DeviceError) {
        let mut failures = self.0.lock();
        failures.count = failures.count.saturating_add(1);
        failures.last = Some(error.clone());
    }

    pub(crate) fn get(&self) -> Failures {
        self.0.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_over_clones() {
        let failures = FailureCount::default();
        assert_eq!(failures.get(), Failures::default());
        let errors = [DeviceError::Memory { bytes: 1 }, DeviceError::Absent("gone".into())];
        errors.iter().for_each(|error| failures.clone().add(error));
        assert_eq!(failures.get(), Failures { count: 2, last: Some(errors[1].clone()) });
    }
}
