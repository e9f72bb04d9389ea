//! The payload of each event, grouped by flow.
//!
//! Invariant: fields are named as in the event-flow map (docs/EVENT_FLOW_INTEGRATION.md), where it gives a
//! payload. Every payload has `node_id` and `timestamp`; all but those of hosts and leaders have
//! `config_key`, such as `hex8_2p`. A field that an operator may leave out has a default.

mod cluster;
mod evaluation;
mod promotion;
mod regression;
mod selfplay;
mod training;
mod work;

pub use cluster::*;
pub use evaluation::*;
pub use promotion::*;
pub use regression::*;
pub use selfplay::*;
pub use training::*;
pub use work::*;

/// What delivery needs to know about a payload.
pub(super) trait Payload {
    /// The configuration that the event is about.
    fn config_key(&self) -> Option<&ConfigKey>;
    /// The subject of the event: two events of one name and one subject report the same thing, unless it
    /// recurs.
    fn subject(&self) -> Option<String>;
    /// Whether the same thing can happen to the subject again.
    fn recurs(&self) -> bool;
}

macro_rules! config_payload {
    ($payload:ident, $subject:expr) => {
        config_payload!(@ $payload, false, $subject);
    };
    ($payload:ident, recurs, $subject:expr) => {
        config_payload!(@ $payload, true, $subject);
    };
    (@ $payload:ident, $recurs:expr, $subject:expr) => {
        impl Payload for $payload {
            fn config_key(&self) -> Option<&cluster_state::ConfigKey> {
                Some(&self.config_key)
            }
            fn subject(&self) -> Option<String> {
                let subject: fn(&Self) -> Option<String> = $subject;
                subject(self)
            }
            fn recurs(&self) -> bool {
                $recurs
            }
        }
    };
}
macro_rules! cluster_payload {
    ($payload:ident, $subject:expr) => {
        impl Payload for $payload {
            fn config_key(&self) -> Option<&cluster_state::ConfigKey> {
                None
            }
            fn subject(&self) -> Option<String> {
                let subject: fn(&Self) -> Option<String> = $subject;
                subject(self)
            }
            fn recurs(&self) -> bool {
                true
            }
        }
    };
}
use cluster_state::ConfigKey;
use {cluster_payload, config_payload};
