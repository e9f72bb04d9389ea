//! The search of the node, compiled here once more: its crate needs this one, so it cannot be a dependency.

#![allow(dead_code, unreachable_pub, reason = "written for another crate, which uses all of it")]

#[path = "../../../../src/search/choose.rs"]
mod choose;
#[path = "../../../../src/search/gumbel.rs"]
mod gumbel;
#[path = "../../../../src/search/tree.rs"]
mod tree;
#[path = "../../../../src/search/work.rs"]
mod work;

pub(super) use choose::{random, sample_at, unit};
pub(super) use gumbel::SearchSettings;
pub(super) use work::Search;
use work::SearchError;
