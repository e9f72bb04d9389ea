//! Whole swarms over loopback TCP.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

mod doors;
mod entry;
mod guests;
mod peers;
mod support;
