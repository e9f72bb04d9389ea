//! CacheCoordinationOrchestrator: drops loaded models that play no more.

use super::handlers::{Handled, decide as decide_now};
use crate::{events::log::Logged, node::Context};
use std::sync::Arc;

/// Has the leader look at the state now.
///
/// # Errors
/// When no leader is known.
pub async fn handle(node: Context, _: Arc<Logged>) -> Handled {
    decide_now(node).await
}
