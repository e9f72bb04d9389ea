//! The check of a card: a report of what was held against the CPU, measured, and set beside a prediction.
//!
//! Invariant: whatever is measured is held against what the card could do at most and what was predicted of
//! it, in the same report; nothing that the CPU did counts as the card's.

mod benchmarks;
mod correctness;
mod driver;
pub(crate) mod figure;
mod live;
mod program;
mod report;
mod sanitizer;
mod scope;
mod torch;

pub use benchmarks::{measure_speed, selfplay_cases, selfplay_on_card, selfplay_on_host};
pub use correctness::{check_correctness, write_golden};
pub use driver::driver_version;
pub use figure::{Figure, SelfplayFigures};
pub use live::{LiveReport, ReportError, write_document};
pub use report::{CardDescription, CheckReport};
pub use sanitizer::{SanitizerRun, SanitizerVerdict, sanitize};
pub use scope::{CheckPart, CheckScope};
pub use torch::{TorchReport, measure_torch};
