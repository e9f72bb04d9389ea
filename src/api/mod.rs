//! The plain types of the HTTP interface: the requests to a node, and its answers.
//!
//! The server, the client, the command line and the tests share these types, so a request or an answer is
//! described once. Each file is one subject, and its types are in the order in which an answer shows them.
//!
//! Invariant: the types are data. They hold no handle, open no file and know no clock; every field is always
//! present in the JSON that a node sends, and a request with an unknown field is refused.

pub mod activity;
pub mod admission;
pub mod autoscaler;
pub mod cluster;
pub mod content;
pub mod dead_letters;
pub mod devices;
pub mod events;
pub mod health;
pub mod models;
pub mod status;
pub mod work;

use serde::{Deserialize, Serialize};

/// The body of every error response.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong, as a sentence for people.
    pub error: String,
}
