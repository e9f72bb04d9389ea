//! What the checks find and everybody knows of: work that is under way.
//!
//! Invariant: nothing is added here to make a new fault pass. The list shrinks until this file can go.

/// Words of the faults that are known, as the checks print them.
const KNOWN: [&str; 1] = ["a comment is wider than"];

/// Fails unless everything found is known.
pub(crate) fn check(found: impl IntoIterator<Item = String>) {
    let new: Vec<String> =
        found.into_iter().filter(|fault| !KNOWN.iter().any(|known| fault.contains(known))).collect();
    assert!(new.is_empty(), "{} faults:\n{}", new.len(), new.join("\n"));
}
