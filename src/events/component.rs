//! The components of the event-flow map: who emits and who handles events, and in which file each stands.
//!
//! Invariant: a name is the handler's in every node's database, so it stays as it is when a file moves.

use super::EventKind;
use serde::{Serialize, Serializer};

macro_rules! components {
    ($($variant:ident = $name:literal in $file:literal,)*) => {
        /// A part of this program that emits or handles events.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Component {
            $($variant,)*
        }

        impl Component {
            /// Every component, by name.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in the databases, in the log and in `ringrift events --map`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The file that it stands in, seen from the root of the repository.
            #[must_use]
            pub const fn file(self) -> &'static str {
                match self {
                    $(Self::$variant => $file,)*
                }
            }
        }
    };
}

components! {
    Audit = "audit" in "src/daemons/audit.rs",
    AutoPromotion = "auto_promotion" in "src/leader/auto_promotion.rs",
    Autoscaler = "autoscaler" in "src/daemons/autoscaler.rs",
    Cache = "cache" in "src/daemons/cache.rs",
    Consolidation = "consolidation" in "src/daemons/consolidation.rs",
    Curriculum = "curriculum" in "src/leader/curriculum.rs",
    DataPipeline = "data_pipeline" in "src/leader/data_pipeline.rs",
    Distribution = "distribution" in "src/daemons/distribution.rs",
    Evaluation = "evaluation" in "src/leader/evaluation.rs",
    Feedback = "feedback" in "src/leader/feedback.rs",
    FeedbackLoop = "feedback_loop" in "src/leader/feedback_loop.rs",
    Gauntlet = "gauntlet" in "src/daemons/gauntlet.rs",
    Health = "health" in "src/daemons/health.rs",
    IdleShutdown = "idle_shutdown" in "src/daemons/idle_shutdown.rs",
    NodeMonitor = "node_monitor" in "src/leader/node_monitor.rs",
    Promotion = "promotion" in "src/leader/promotion.rs",
    Queue = "queue" in "src/leader/queue.rs",
    Regression = "regression" in "src/leader/regression.rs",
    Replication = "replication" in "src/segments/copy.rs",
    Roles = "roles" in "src/leader/roles.rs",
    Scheduler = "scheduler" in "src/leader/scheduler.rs",
    Selfplay = "selfplay" in "src/daemons/selfplay.rs",
    Supervisor = "supervisor" in "src/daemons/supervisor.rs",
    Sync = "sync" in "src/segments/acknowledge.rs",
    Training = "training" in "src/leader/training.rs",
    Watchdog = "watchdog" in "src/daemons/watchdog.rs",
}

/// How a component handles an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HandlingMode {
    /// Every node wakes its leader's turn, and only the leader acts, by the replicated state and never by the
    /// payload.
    LeadersTurn,
    /// Every node proposes the command that the event asks for, and the state machine counts it once. An
    /// event that tells of an applied command asks for nothing any more: it only wakes the leader's turn.
    Proposes,
    /// The component does something of its own, on every node.
    Own,
}

/// What one component does about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HandlerEntry {
    pub daemon: Component,
    /// What comes of it.
    pub effect: &'static str,
    pub how: HandlingMode,
}

impl EventKind {
    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// How a component handles it, if it does.
    #[must_use]
    pub fn handled_by(self, component: Component) -> Option<HandlingMode> {
        let mut handlers = self.handlers().iter();
        handlers.find(|handles| handles.daemon == component).map(|handles| handles.how)
    }
}

impl Component {
    /// The events that it handles, in the order of their encoding.
    pub fn events(self) -> impl Iterator<Item = EventKind> {
        EventKind::ALL.iter().copied().filter(move |kind| kind.handled_by(self).is_some())
    }
}

impl Serialize for Component {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// An event with who emits and who handles it, as `ringrift events --map --json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventRow {
    pub event: EventKind,
    /// Who emits it; operators can emit every event.
    pub emitters: &'static [Component],
    pub handlers: Vec<EventRowHandler>,
}

/// A handler of an event, with its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventRowHandler {
    #[serde(flatten)]
    pub handles: HandlerEntry,
    /// Where it stands, seen from the root of the repository.
    pub file: &'static str,
}

/// The table of events, in the order of their encoding.
pub fn rows() -> impl Iterator<Item = EventRow> {
    let handler = |handles: &HandlerEntry| EventRowHandler { handles: *handles, file: handles.daemon.file() };
    EventKind::ALL.iter().map(move |&event| EventRow {
        event,
        emitters: event.emitters(),
        handlers: event.handlers().iter().map(handler).collect(),
    })
}

/// Names of events with the names of their handlers: what the log is opened with.
pub fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    EventKind::ALL
        .iter()
        .flat_map(|kind| kind.handlers().iter().map(move |handles| (kind.name(), handles.daemon.name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_component_has_its_file_and_is_listed_by_name() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for component in Component::ALL {
            assert!(root.join(component.file()).is_file(), "{component:?} has no file {}", component.file());
        }
        assert!(Component::ALL.iter().map(|component| component.name()).is_sorted());
    }

    #[test]
    fn a_row_is_printed_by_its_names() {
        let json = serde_json::to_value(rows().next().unwrap()).unwrap();
        assert_eq!(
            (json["event"].as_str(), json["emitters"][0].as_str()),
            (Some("SELFPLAY_COMPLETE"), Some("selfplay"))
        );
        let first = serde_json::json!({
            "daemon": "consolidation",
            "effect": "merges the segment into the canonical database, if this node holds it",
            "how": "own",
            "file": "src/daemons/consolidation.rs",
        });
        assert_eq!(json["handlers"][0], first);
    }
}
