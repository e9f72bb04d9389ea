//! The bounds of the state, and the minimum of the evidence for a promotion.

/// Maximum number of members that ever register.
pub const NODES_MAX: usize = 1024;
/// Maximum number of configurations.
pub const CONFIGS_MAX: usize = 64;
/// Maximum number of models that are ever registered.
pub const MODELS_MAX: usize = 16_384;
/// Maximum number of segments that are ever registered.
pub const SEGMENTS_MAX: usize = 500_000;
/// Maximum number of candidates of one configuration that wait for a verdict.
pub const CANDIDATES_MAX: usize = 64;
/// Number of rejected models in a row after which training continues from the champion again: what they
/// learned leads nowhere, and whoever trained one of them may have broken it.
pub const REJECTED_MAX: u32 = 3;
/// Minimum number of games in the evidence for a promotion, whatever the sequential test says.
pub const EVIDENCE_GAMES_MIN: u32 = 16;
