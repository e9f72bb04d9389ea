//! The wall clock, for what is shown and recorded. No decision orders two events by it, because the clocks of
//! two hosts may disagree.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch; 0 on a clock that stands before it.
#[must_use]
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// [`now_ms`] as SQLite stores it: a signed integer.
#[must_use]
pub fn now_ms_i64() -> i64 {
    i64::try_from(now_ms()).unwrap_or(i64::MAX)
}

/// Microseconds since the Unix epoch; 0 on a clock that stands before it. Two processes of one host may
/// compare theirs.
#[must_use]
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
