//! Shows a lease's work in the node's activity while it lasts.
//!
//! Invariant: what a guard shows is gone when the guard is, also where the work fails, panics or is dropped.

use crate::{api::activity::NodeActivity, peer::Context};
use std::sync::Arc;

/// See the module.
pub(super) struct RunGuard {
    node: Context,
    hide: fn(&mut NodeActivity),
}

impl RunGuard {
    /// Shows the work with `show` now, and no more with `hide` when the guard is dropped.
    pub(super) fn new(
        node: &Context,
        show: impl FnOnce(&mut NodeActivity),
        hide: fn(&mut NodeActivity),
    ) -> Self {
        node.activity.update(show);
        Self { node: Arc::clone(node), hide }
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        self.node.activity.update(self.hide);
    }
}
