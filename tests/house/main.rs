//! Whether the house is in order: what may import what, links, and names of files.
//!
//! Invariant: these tests read files and nothing else; they need no part of the
//! program, so they are as fast as reading.
//!
//! `rooms` and `crates` hold the order in which the project is built up, and compare it with ARCHITECTURE.md;
//! `cited` follows what pages and comments send their readers to; `map` looks for the components of the
//! event-flow map; `width` measures comments. Each check is tested with faults that were planted.

mod cited;
mod crates;
mod faults;
mod imports;
mod lex;
mod map;
mod pages;
mod rooms;
mod tree;
mod width;
