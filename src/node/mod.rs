//! One peer: the only place that knows every part of it.
//!
//! Invariant: everything that this node tells the cluster is on its disk before. The node ends when its
//! folder, its peers or consensus cannot go on; a daemon that fails is restarted, and the failure is counted.
//!
//! p2p and Raft run on a runtime of their own (`core`), which nothing else can delay. Daemons and the HTTP
//! interface run on the caller's runtime. Long computations run on threads of the lowest priority
//! ([`crate::compute`]).

pub(crate) mod addresses;
mod admission;
mod backbone;
mod daemons;
mod descriptors;
mod error;
mod founding;
mod membership;
mod options;
mod stages;
mod start;
pub mod status;
mod transport;

pub use error::NodeError;
pub use options::{NodeOptions, Ready, TicketTerms, Told};
pub use start::run;
