//! The base of the daemons: what a running peer offers to every part that works in it.

pub(crate) mod activity;
pub(crate) mod announcements;
mod content;
pub(crate) mod context;
pub(crate) mod control;
pub(crate) mod daemon;
pub(crate) mod error;
pub(crate) mod exchange;
pub(crate) mod hearing;
pub mod letters;
pub(crate) mod nonsense;
pub(crate) mod pass;
pub(crate) mod quota;
pub mod settings;
pub(crate) mod shun;
pub(crate) mod transfer;

pub use activity::Activity;
pub use announcements::{MODELS_TOPIC, Manifest, announce};
pub use context::{Context, EVENTS_TOPIC, PeerContext, blocking};
pub use daemon::{Daemon, Wake};
pub use error::WorkError;
pub use letters::DeadLetters;
pub use nonsense::{ContentKind, Nonsense};
pub use settings::PeerSettings;
pub use transfer::{TransferError, TransferMethod};
