//! What is refused whatever the state.
//!
//! Invariant: a command that passes is bounded in every part, so that its log entry and the rows it leaves fit their
//! limits, and holds no number that arithmetic turns into none.

use crate::{
    command::{
        ADDRESSES_MAX, CONFIG_KEY_BYTES_MAX, Command, EVIDENCE_SEGMENTS_MAX, Feedback, HOLDERS_MAX,
        SelfplayTarget, TEXT_BYTES_MAX,
    },
    response::Refusal,
};

/// Largest gain or loss that one evaluation may claim: ratings are sums of them.
const ELO_DELTA_MAX: f64 = 100_000.0;
/// Latest time that a command may bear, milliseconds since the epoch: the end of the year 9999. No clock is asked, since
/// every node must come to the same.
const AT_MS_MAX: u64 = 253_402_300_799_999;

/// Refuses what is too large or senseless, before anything else looks at it.
///
/// # Errors
/// [`Refusal::Invalid`].
pub fn check(command: &Command) -> Result<(), Refusal> {
    if command.at_ms() > AT_MS_MAX {
        return Err(Refusal::Invalid("time".into()));
    }
    match command {
        Command::RegisterNode { peer_id, name, addrs, http, version, boot: _, at_ms: _ } => {
            if peer_id.is_empty() || addrs.len() > ADDRESSES_MAX {
                return Err(Refusal::Invalid("peer id or addresses".into()));
            }
            texts([peer_id, name, http, version].into_iter().chain(addrs))
        }
        Command::SetOnline { reason, .. } => texts([reason]),
        Command::SetLeader { .. } | Command::AddSegmentHolder { .. } | Command::ModelHeld { .. } => Ok(()),
        Command::InitConfig { config_key, threshold, target, .. } => {
            if *threshold == 0 {
                return Err(Refusal::Invalid("threshold".into()));
            }
            check_target(target).and_then(|()| key(config_key))
        }
        Command::RegisterSegment { config_key, games, source, holders, .. } => {
            if *games == 0 || holders.len() > HOLDERS_MAX {
                return Err(Refusal::Invalid("segment".into()));
            }
            texts([source]).and_then(|()| key(config_key))
        }
        Command::ThresholdReached { config_key, .. }
        | Command::RenewLease { config_key, .. }
        | Command::GrantLease { config_key, .. } => key(config_key),
        Command::ExpireLease { config_key, reason, .. } | Command::Reject { config_key, reason, .. } => {
            texts([reason]).and_then(|()| key(config_key))
        }
        Command::FailLease { config_key, error, .. } => texts([error]).and_then(|()| key(config_key)),
        Command::CompleteTraining { config_key, report, .. } => {
            numbers(&[report.final_loss, report.val_loss, report.seconds]).and_then(|()| key(config_key))
        }
        Command::CompleteEvaluation { config_key, evidence, .. } => {
            let results = u64::from(evidence.wins) + u64::from(evidence.losses);
            if results > u64::from(evidence.games) || evidence.segments.len() > EVIDENCE_SEGMENTS_MAX {
                return Err(Refusal::Invalid("evidence".into()));
            }
            if evidence.elo_delta.abs() > ELO_DELTA_MAX {
                return Err(Refusal::Invalid("elo gain".into()));
            }
            numbers(&[
                evidence.elo_delta,
                evidence.elo_error,
                evidence.win_rate_vs_random,
                evidence.win_rate_vs_heuristic,
            ])
            .and_then(|()| key(config_key))
        }
        Command::Promote { config_key, elo_delta_min, .. } => {
            numbers(&[*elo_delta_min]).and_then(|()| key(config_key))
        }
        Command::SetTarget { config_key, target, .. } => check_target(target).and_then(|()| key(config_key)),
        Command::ReportRegression { config_key, elo_drop, reason, .. } => {
            if elo_drop.abs() > ELO_DELTA_MAX {
                return Err(Refusal::Invalid("elo drop".into()));
            }
            numbers(&[*elo_drop]).and_then(|()| texts([reason])).and_then(|()| key(config_key))
        }
        Command::Rollback { config_key, expected_champion, reason, triggered_by, trigger, at_ms: _ } => {
            // It could not be told from a repetition.
            if expected_champion.is_none() && trigger.is_none() {
                return Err(Refusal::Invalid("rollback of no champion, for no event".into()));
            }
            texts([reason, triggered_by]).and_then(|()| key(config_key))
        }
        Command::SetBackpressure { config_key, .. } => key(config_key),
        Command::SetFeedback { config_key, feedback, .. } => {
            let Feedback { learning_rate, exploration, simulations, reason } = feedback;
            factors(&[*learning_rate, *exploration, *simulations])
                .and_then(|()| texts([reason]))
                .and_then(|()| key(config_key))
        }
        Command::SetLearningRate { config_key, scale: factor, reason, .. }
        | Command::SetCurriculum { config_key, weight: factor, reason, .. } => {
            factors(&[*factor]).and_then(|()| texts([reason])).and_then(|()| key(config_key))
        }
        Command::CancelLease { config_key, reason, .. } | Command::Appoint { config_key, reason, .. } => {
            texts([reason]).and_then(|()| key(config_key))
        }
        Command::SetDraining { reason, .. } => texts([reason]),
    }
}

/// Factors and weights: whatever they multiply stays sensible.
fn factors(factors: &[f64]) -> Result<(), Refusal> {
    if factors.iter().all(|factor| (0.01..=100.0).contains(factor)) {
        Ok(())
    } else {
        Err(Refusal::Invalid("factor".into()))
    }
}

fn check_target(target: &SelfplayTarget) -> Result<(), Refusal> {
    if target.weight < 0.0 {
        return Err(Refusal::Invalid("weight".into()));
    }
    numbers(&[target.weight]).and_then(|()| texts([&target.reason]))
}

fn key(config_key: &str) -> Result<(), Refusal> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if config_key.is_empty() || config_key.len() > CONFIG_KEY_BYTES_MAX || !config_key.bytes().all(plain) {
        return Err(Refusal::Invalid("configuration key".into()));
    }
    Ok(())
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> Result<(), Refusal> {
    if texts.into_iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(Refusal::Invalid(format!("text over {TEXT_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn numbers(numbers: &[f64]) -> Result<(), Refusal> {
    if numbers.iter().any(|n| !n.is_finite()) {
        return Err(Refusal::Invalid("number".into()));
    }
    Ok(())
}
