//! The key of a configuration of the game.
//!
//! Invariant: on disk and on the wire a key is its text and nothing else. Decoding takes any text, and the
//! state machine refuses a text that is no key by its syntax alone, so that nodes whose versions know
//! different games agree. Only [`ConfigKey::game`] asks the rules, and the state machine never calls it.

use crate::command::CONFIG_KEY_BYTES_MAX;
use rules::Config;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

/// Key of a configuration, such as `hex8_2p`. It is cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigKey(Arc<str>);

/// This text is no key of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no key of a configuration, which looks like hex8_2p")]
pub struct ConfigKeyError(String);

impl ConfigKey {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The game that this version of the rules knows by this key.
    #[must_use]
    pub fn game(&self) -> Option<Config> {
        self.0.parse().ok()
    }

    /// A text as it was decoded, which need not be a key.
    pub(crate) fn decoded(text: &str) -> Self {
        Self(text.into())
    }

    /// Whether the text has the syntax of a key.
    pub(crate) fn is_well_formed(&self) -> bool {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        (1..=CONFIG_KEY_BYTES_MAX).contains(&self.0.len()) && self.0.bytes().all(plain)
    }
}

impl From<Config> for ConfigKey {
    fn from(game: Config) -> Self {
        Self(game.key().into())
    }
}

impl FromStr for ConfigKey {
    type Err = ConfigKeyError;

    fn from_str(text: &str) -> Result<Self, ConfigKeyError> {
        let key = Self::decoded(text);
        if key.is_well_formed() { Ok(key) } else { Err(ConfigKeyError(text.chars().take(40).collect())) }
    }
}

impl Borrow<str> for ConfigKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConfigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ConfigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for ConfigKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ConfigKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: u8 = 0x2d;

    #[test]
    fn a_key_is_its_text_on_the_wire_and_any_text_decodes() {
        for text in ["hex8_2p", "", "no key", "é", &"x".repeat(300)] {
            let bytes = wire::encode(KIND, &text.to_owned(), 999).unwrap();
            let key: ConfigKey = wire::decode::<_, 999>(KIND, &bytes).unwrap();
            assert_eq!(key.as_str(), text);
            assert_eq!(wire::encode(KIND, &key, 999).unwrap(), bytes);
        }
    }

    #[test]
    fn only_the_syntax_of_a_key_is_read() {
        for game in Config::all() {
            let key = ConfigKey::from(game);
            assert_eq!((key.to_string().parse(), key.game()), (Ok(key.clone()), Some(game)));
        }
        // Another version may know this game.
        assert_eq!("hex12_2p".parse::<ConfigKey>().unwrap().game(), None);
        for bad in ["", "Hex8_2p", "hex8-2p", "hex8_2p ", "../hex8_2p", "é", &"x".repeat(33)] {
            assert!(bad.parse::<ConfigKey>().is_err(), "{bad}");
        }
    }
}
