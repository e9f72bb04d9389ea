//! The macro that turns the table of events into types: what an event is called and carries, who emits it and
//! who handles it are one entry, so that none of the parts can be forgotten.

macro_rules! events {
    ($(
        $(#[$doc:meta])*
        $variant:ident($payload:ident) = $name:literal {
            emitters [$($emitter:ident),*]
            handlers [$($handler:ident: $how:ident $effect:expr,)*]
        }
    )*) => {
        /// One thing that happened. In JSON an object of one key, the map's name, holding the payload.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum Event {
            $($(#[$doc])* #[serde(rename = $name)] $variant($payload),)*
        }

        /// The kinds of events, without their payloads, in the order of the encoding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum EventKind {
            $($(#[$doc])* $variant,)*
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in the map, in the database and in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Who emits it; operators can emit every event.
            #[must_use]
            pub const fn emitters(self) -> &'static [Component] {
                match self {
                    $(Self::$variant => &[$(Component::$emitter),*],)*
                }
            }

            /// Who handles it.
            #[must_use]
            pub const fn handlers(self) -> &'static [HandlerEntry] {
                match self {
                    $(Self::$variant => &[$(HandlerEntry {
                        daemon: Component::$handler,
                        effect: $effect,
                        how: HandlingMode::$how,
                    }),*],)*
                }
            }
        }

        impl Event {
            /// Every name, in the order of the encoding.
            pub const NAMES: &[&str] = &[$($name),*];

            /// Its kind.
            #[must_use]
            pub const fn kind(&self) -> EventKind {
                match self {
                    $(Self::$variant(_) => EventKind::$variant,)*
                }
            }

            pub(super) fn payload(&self) -> &dyn Payload {
                match self {
                    $(Self::$variant(payload) => payload,)*
                }
            }
        }
    };
}

pub(super) use events;
