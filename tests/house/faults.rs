//! How the checks fail: with everything that is wrong, a line each.

/// Fails unless nothing is wrong.
pub(crate) fn none(found: impl IntoIterator<Item = String>) {
    let faults: Vec<String> = found.into_iter().collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
