//! The devices that a node computes on: what its settings ask for, and what it uses.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The device that a setting or an argument asks for, written `auto`, `cpu`, `cuda` or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// All usable cards; the CPU if there are none.
    #[default]
    Auto,
    /// The CPU, even if there are cards.
    Cpu,
    Cuda,
    /// The card of this number.
    Card(u16),
}

/// A text that names no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no device: expected auto, cpu, cuda or cuda:N, as in cuda:0")]
pub struct UnknownDevice(String);

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        let number =
            |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        match (text, text.strip_prefix("cuda:").and_then(number)) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda),
            (_, Some(card)) => Ok(Self::Card(card)),
            _ => Err(UnknownDevice(text.to_owned())),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = UnknownDevice;

    fn try_from(text: String) -> Result<Self, UnknownDevice> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda => f.write_str("cuda"),
            Self::Card(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// The devices that a node computes on, and its self-play threads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicesView {
    /// What the settings ask for.
    pub wanted: DeviceChoice,
    /// The cards that are used, or the CPU.
    pub in_use: Vec<DeviceView>,
    /// Why no card is used, or why only some are.
    pub message: Option<String>,
    /// Threads that play self-play games.
    pub selfplay_threads: usize,
    /// Games that each of these threads plays at the same time.
    pub parallel_games: usize,
}

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceView {
    /// Name of the device, for people.
    pub name: String,
    /// Version of CUDA that the card's driver supports.
    pub driver: Option<String>,
    /// How often the device has failed since the process began; each time the CPU did the work instead.
    pub failures: u64,
    pub last_failure: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_names() {
        for (text, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda", DeviceChoice::Cuda),
            ("cuda:0", DeviceChoice::Card(0)),
            ("cuda:12", DeviceChoice::Card(12)),
        ] {
            assert_eq!((text.parse(), choice.to_string().as_str()), (Ok(choice), text));
        }
        for text in
            ["", "gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cuda:+1", "cuda: 1", "cuda:99999", "cuda:0,1"]
        {
            let error = text.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(error.contains("cuda:N"), "{text}: {error}");
        }
    }
}
