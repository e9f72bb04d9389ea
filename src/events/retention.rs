//! How long the log keeps what.

use std::time::Duration;

/// How long an event waits for what it follows before it goes on without.
pub(super) const HORIZON: Duration = Duration::from_secs(15 * 60);
/// The newest events that are kept.
pub(super) const KEPT: i64 = 200_000;
/// Events are kept for this long at most.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// What is known of events is forgotten after this long; an older one cannot be told from a replay, and is
/// refused.
pub(super) const FORGOTTEN: Duration = Duration::from_secs(4 * 7 * 24 * 3600);
/// Most rows that one round of pruning removes.
pub(super) const PRUNED_MAX: i64 = 20_000;
/// Most keys of what was handled that are remembered, and of what was told: the newest.
pub(super) const REMEMBERED_MAX: i64 = 1_000_000;
