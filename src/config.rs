//! Settings of a node, validated once at start.
//!
//! A value on the command line replaces the one in `ringrift.toml` of the data folder, which replaces the one
//! in `Settings::default()`.

use crate::{
    api::devices::DeviceChoice,
    bounds::{OutOfBounds, bounds, check},
    leader::{autoscaler::AutoscalerConfig, idle_shutdown::IdleShutdownConfig},
    learner::settings::{AuditConfig, EvaluationConfig, SelfplayConfig, TrainingConfig},
    peer::settings::{DistributionConfig, EventsConfig, HttpConfig},
    store,
};
use rules::Config as GameConfig;
use serde::{Deserialize, Serialize};
use std::{io::ErrorKind, path::Path};

/// The largest file of settings, in bytes: the parser takes some thirty times as much memory.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// All settings of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Keys of the configurations to learn, such as `hex8_2p`.
    pub configs: Vec<String>,
    /// The device to compute on: `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: DeviceChoice,
    /// Compute threads for self-play; 0 means one fewer than there are cores, at least one, and with a card
    /// two for each core.
    pub selfplay_threads: usize,
    /// Seed of everything random in self-play; it is mixed with the node id and the time.
    pub seed: u64,
    /// Copies of every game segment that the cluster keeps (bounded by the number of nodes).
    pub segment_copies: usize,
    pub selfplay: SelfplayConfig,
    pub training: TrainingConfig,
    /// Settings of evaluation and promotion.
    pub evaluation: EvaluationConfig,
    /// How much this node looks at the games of others.
    pub audit: AuditConfig,
    pub events: EventsConfig,
    /// How models and segments reach this node.
    pub distribution: DistributionConfig,
    /// Who may use the HTTP interface.
    pub http: HttpConfig,
    /// How many peers the cluster should have.
    pub autoscaler: AutoscalerConfig,
    /// Whether this host may stop itself.
    pub idle_shutdown: IdleShutdownConfig,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            configs: vec!["hex8_2p".to_owned()],
            device: DeviceChoice::Auto,
            selfplay_threads: 0,
            seed: 0,
            segment_copies: 3,
            selfplay: SelfplayConfig::default(),
            training: TrainingConfig::default(),
            evaluation: EvaluationConfig::default(),
            audit: AuditConfig::default(),
            events: EventsConfig::default(),
            distribution: DistributionConfig::default(),
            http: HttpConfig::default(),
            autoscaler: AutoscalerConfig::default(),
            idle_shutdown: IdleShutdownConfig::default(),
        }
    }
}

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read {path}")]
    Read {
        /// Path of the settings file.
        path: std::path::PathBuf,
        source: std::io::Error,
    },
    /// The file is no valid TOML for these settings.
    #[error("{path}: {message}")]
    Parse {
        path: std::path::PathBuf,
        /// Where the error is and what it is.
        message: String,
    },
    #[error(transparent)]
    Value(#[from] OutOfBounds),
}

impl Settings {
    /// The file's settings over the defaults; only the defaults when there is no file.
    ///
    /// # Errors
    /// Returns [`SettingsError`] when the file exists and is unusable.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let refused = |message: String| SettingsError::Parse { path: path.to_owned(), message };
        match store::read_small(path, FILE_BYTES_MAX) {
            Ok(Some(text)) => {
                let text = str::from_utf8(&text).map_err(|e| refused(e.to_string()))?;
                Self::parse(text).map_err(|e| refused(e.to_string()))
            }
            Ok(None) => Ok(Self::default()),
            // A path that is no folder is reported by the code that opens the folder.
            Err(e) if e.kind() == ErrorKind::NotADirectory => Ok(Self::default()),
            Err(source) => Err(SettingsError::Read { path: path.to_owned(), source }),
        }
    }

    /// The text's settings over the defaults.
    pub(crate) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Checks every bound once; no other code checks them again.
    ///
    /// # Errors
    /// Returns the first setting that is out of bounds.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let count = self.configs.len();
        check((1..=12).contains(&count), "configs", format!("{:?}", self.configs), "1 to 12 configurations")?;
        for key in &self.configs {
            let allowed = "BOARD_Np: square8, square19, hex8 or hexagonal with 2 to 4 players, as in hex8_2p";
            check(key.parse::<GameConfig>().is_ok(), "configs", key.clone(), allowed)?;
        }
        bounds("selfplay_threads", self.selfplay_threads, 0..=1024)?;
        bounds("segment_copies", self.segment_copies, 1..=16)?;
        self.selfplay.validate()?;
        self.training.validate()?;
        self.evaluation.validate()?;
        self.audit.validate()?;
        self.distribution.validate()?;
        self.http.validate()?;
        self.autoscaler.validate()?;
        Ok(self.idle_shutdown.validate()?)
    }

    /// The configurations, parsed. Valid settings have only known configurations.
    #[must_use]
    pub fn games(&self) -> Vec<GameConfig> {
        self.configs.iter().filter_map(|key| key.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_survive_toml() {
        let config = Settings::default();
        config.validate().unwrap();
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Settings>(&text).unwrap(), config);
    }

    /// Every number in the settings, as (section, name, value).
    fn numbers() -> Vec<(String, String, toml::Value)> {
        let table: toml::Table = toml::to_string(&Settings::default()).unwrap().parse().unwrap();
        let mut found = Vec::new();
        for (name, value) in table {
            match value {
                toml::Value::Table(section) => {
                    found.extend(section.into_iter().map(|(key, value)| (name.clone(), key, value)));
                }
                value => found.push((String::new(), name, value)),
            }
        }
        found.retain(|(_, _, value)| value.is_integer() || value.is_float());
        found
    }

    #[test]
    fn every_number_has_bounds() {
        // Every number is valid as a seed.
        for (section, name, value) in numbers().into_iter().filter(|(_, name, _)| name != "seed") {
            let huge = if value.is_float() { "1e30" } else { "2000000000" };
            let header = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
            let config: Settings = toml::from_str(&format!("{header}{name} = {huge}")).unwrap();
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(&section) && error.contains(&name), "{section} {name}: {error}");
        }
    }

    #[test]
    fn refusals_name_the_setting() {
        let check = |text: &str, expected: &str| {
            let error = match toml::from_str::<Settings>(text) {
                Ok(config) => config.validate().unwrap_err().to_string(),
                Err(error) => error.to_string(),
            };
            assert!(error.contains(expected), "{error}");
        };
        check("configs = ['hex9_2p']", "hex9_2p");
        check("configs = []", "1 to 12");
        check("[selfplay]\nsimulations = 1", "selfplay.simulations = 1");
        check("[training]\nbacth = 3", "bacth");
        check("device = 'gpu'", "\"gpu\" is no device");
        check("device = 'cuda:x'", "cuda:N");
        check("[selfplay]\nparallel_games = 2000", "selfplay.parallel_games = 2000");
        check("[selfplay]\ncard_games = 20000", "selfplay.card_games = 20000");
        check("[evaluation]\nelo1 = nan", "evaluation.elo1");
        check("[distribution]\nswarm = false\nhttp = false", "distribution = no way");
        check("[distribution]\nrsync = ['rsync', '{host}']", "{target}");
        check("[distribution]\nrsync = ['{host}', '{target}']", "distribution.rsync");
        check("[autoscaler]\nnodes_min = 30", "autoscaler.nodes_min, nodes_max = 30, 20");
        check("[autoscaler]\ncommand = ['']", "autoscaler.command");
        check("[idle_shutdown]\nseconds = 1", "idle_shutdown.seconds");
        check("[evaluation]\nbackpressure_off = 5", "evaluation.backpressure_off = 5");
        check("[evaluation]\nwatch_seconds = 0", "evaluation.watch_seconds = 0");
    }
}
