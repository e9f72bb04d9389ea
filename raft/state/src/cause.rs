//! Causes that decide something, as values: where games come from, why a champion changed, a lease ended or a
//! node drains. The sentence beside a cause is for people, and nothing reads it.
//!
//! Invariant: on disk and on the wire a cause is a text, and every text decodes. A text of another version is
//! kept as it is, decides nothing, and is written again with the same bytes.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, sync::Arc};

/// The text of a cause that this version does not know. Only decoding makes one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnknownCause(Arc<str>);

impl UnknownCause {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UnknownCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Makes enums of the listed causes with their texts, and a variant for every other text.
macro_rules! causes {
    ($(
        $(#[$doc:meta])*
        $name:ident {
            $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)*
        } else $other_doc:literal
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            #[doc = $other_doc]
            Other(UnknownCause),
        }

        impl $name {
            /// The text on disk and on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(UnknownCause(text)) => text,
                }
            }

            /// The cause with this text.
            #[must_use]
            pub fn of(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    other => Self::Other(UnknownCause(other.into())),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(|text| Self::of(&text))
            }
        }
    )*};
}

causes! {
    /// Where the games of a segment come from.
    Source {
        /// Self-play: these games count towards the next training, and models learn from them.
        Selfplay = "selfplay",
        /// The games of an evaluation: matches and baselines.
        Evaluation = "evaluation",
    } else "A source of another version: its games are kept, but they count as neither."

    /// Why a champion changed.
    PromotionKind {
        /// The evidence of an evaluation was enough.
        Evidence = "evidence",
        /// An operator appointed the model.
        Appointed = "appointed",
        /// An earlier champion came back.
        RolledBack = "rolled_back",
    } else "A kind of another version: no earlier champion came back."

    /// Why a lease ended without a completion.
    EndCause {
        /// The holder gave up.
        Failed = "failed",
        /// The holder was silent for too long.
        Expired = "expired",
        /// An operator cancelled it, so the work waits for a while.
        Ordered = "ordered",
        /// The leader cancelled it, because the champion regressed.
        Regressed = "regressed",
        /// It ended with the champion that it built on.
        RolledBack = "rolled_back",
    } else "A cause of another version: it holds no work back."

    /// Why a node drains.
    DrainCause {
        /// An operator ordered it, so only an operator ends it.
        Ordered = "ordered",
        /// The node has no work: it stops by itself once it has handed over what it holds.
        Idle = "idle",
    } else "A cause of another version: the node drains as if an operator had ordered it."
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;

    const KIND: u8 = 0x2d;

    /// Every cause is its text on the wire, and so is a text that is no cause.
    fn check<T>(of: fn(&str) -> T, known: &[(T, &str)], is_other: fn(&T) -> bool)
    where
        T: Serialize + DeserializeOwned + PartialEq + fmt::Debug + fmt::Display,
    {
        for (cause, text) in known {
            assert_eq!((&of(text), cause.to_string().as_str()), (cause, *text));
            assert!(!is_other(cause), "{text}");
        }
        let long = "x".repeat(400);
        let unknown = ["", "Idle", "selfplay ", "é", "cancelled: operator", &long];
        for text in known.iter().map(|(_, text)| *text).chain(unknown) {
            let bytes = wire::encode(KIND, &text.to_owned(), 999).unwrap();
            let cause: T = wire::decode::<_, 999>(KIND, &bytes).unwrap();
            assert_eq!(is_other(&cause), unknown.contains(&text), "{text}");
            assert_eq!(wire::encode(KIND, &cause, 999).unwrap(), bytes);
        }
    }

    #[test]
    fn a_source_of_another_version_is_kept_and_counts_as_neither() {
        let known = [(Source::Selfplay, "selfplay"), (Source::Evaluation, "evaluation")];
        check(Source::of, &known, |source| matches!(source, Source::Other(_)));
    }

    #[test]
    fn a_promotion_of_another_version_is_no_rollback() {
        let known = [
            (PromotionKind::Evidence, "evidence"),
            (PromotionKind::Appointed, "appointed"),
            (PromotionKind::RolledBack, "rolled_back"),
        ];
        check(PromotionKind::of, &known, |kind| matches!(kind, PromotionKind::Other(_)));
    }

    #[test]
    fn an_end_of_another_version_is_no_order() {
        let known = [
            (EndCause::Failed, "failed"),
            (EndCause::Expired, "expired"),
            (EndCause::Ordered, "ordered"),
            (EndCause::Regressed, "regressed"),
            (EndCause::RolledBack, "rolled_back"),
        ];
        check(EndCause::of, &known, |cause| matches!(cause, EndCause::Other(_)));
    }

    #[test]
    fn a_drain_of_another_version_is_not_idle() {
        let known = [(DrainCause::Ordered, "ordered"), (DrainCause::Idle, "idle")];
        check(DrainCause::of, &known, |cause| matches!(cause, DrainCause::Other(_)));
    }
}
