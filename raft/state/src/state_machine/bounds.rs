//! How much the state may hold, and what evidence must bring.

/// Most members ever.
pub const NODES_MAX: usize = 1024;
/// Most configurations.
pub const CONFIGS_MAX: usize = 64;
/// Most models ever.
pub const MODELS_MAX: usize = 16_384;
/// Most segments ever.
pub const SEGMENTS_MAX: usize = 500_000;
/// Most candidates of one configuration that wait for a verdict.
pub const CANDIDATES_MAX: usize = 64;
/// Games that evidence needs, whatever the sequential test says.
pub const EVIDENCE_GAMES_MIN: u32 = 16;
/// The source whose games count towards the training threshold.
pub const SELFPLAY_SOURCE: &str = "selfplay";
