//! Placeholder module; filled below.
