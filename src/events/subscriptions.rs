//! Which handlers get which events.

use std::{collections::BTreeMap, sync::Arc};

/// Which handlers an event goes to, by the event's name.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions(Arc<BTreeMap<&'static str, Vec<&'static str>>>);

impl Subscriptions {
    /// From pairs of event and handler.
    pub fn new(pairs: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        let mut all: BTreeMap<&'static str, Vec<&'static str>> = BTreeMap::new();
        for (event, handler) in pairs {
            all.entry(event).or_default().push(handler);
        }
        Self(Arc::new(all))
    }

    pub(super) fn of(&self, event: &str) -> &[&'static str] {
        self.0.get(event).map_or(&[], Vec::as_slice)
    }
}
