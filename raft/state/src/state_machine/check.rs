//! Checks that need no state: they refuse a command whatever the state is.
//!
//! Invariant: a command that passes is bounded in every part, so that its log entry and the rows that it
//! leaves fit their limits, and it holds no number that arithmetic turns into NaN or infinity.

use crate::{
    admission::{TICKET_TTL_MS_MAX, TICKET_USES_MAX},
    cause::EndCause,
    command::{
        ADDRESSES_MAX, CancelLease, Command, CompleteEvaluation, CompleteTraining, ConfirmEvidence,
        EVIDENCE_SEGMENTS_MAX, HOLDERS_MAX, InitConfig, IssueTicket, MODEL_BYTES_MAX, RegisterNode,
        RegisterSegment, ReportRegression, Rollback, SEGMENT_BYTES_MAX, SetFeedback, TEXT_BYTES_MAX,
    },
    evidence::Tallies,
    key::ConfigKey,
    response::Refusal,
    steering::{Feedback, SelfplayTarget},
};
use std::collections::BTreeSet;

/// Largest loss in Elo points that a report may claim.
const ELO_DELTA_MAX: f64 = 100_000.0;
/// Latest time that a command may carry, in milliseconds since the epoch: the end of the year 9999. The check
/// uses no clock, because every node must come to the same result.
const AT_MS_MAX: u64 = 253_402_300_799_999;

/// Refuses a command that is too large or invalid, before any other code looks at it.
///
/// # Errors
/// Returns [`Refusal::Invalid`] with the name of the part that is out of bounds.
pub fn check(command: &Command) -> Result<(), Refusal> {
    if command.at_ms() > AT_MS_MAX {
        return Err(Refusal::Invalid("time".into()));
    }
    match command {
        Command::RegisterNode(it) => register_node(it),
        Command::SetOnline(it) => texts([&it.reason]),
        Command::SetDraining(it) => text(it.cause.as_str()).and_then(|()| texts([&it.reason])),
        Command::SetLeader(_)
        | Command::AddSegmentHolder(_)
        | Command::ReportForgery(_)
        | Command::ModelHeld(_)
        | Command::SetSecret(_)
        | Command::RevokeTicket(_) => Ok(()),
        Command::IssueTicket(it) => issue_ticket(it),
        Command::RemoveNode(it) => texts([&it.reason]),
        Command::PardonNode(it) => texts([&it.reason]),
        Command::SetOperators(it) if it.nodes.len() > HOLDERS_MAX => {
            Err(Refusal::Invalid(format!("operators' members: at most {HOLDERS_MAX}")))
        }
        Command::SetOperators(_) => Ok(()),
        Command::InitConfig(it) => init_config(it),
        Command::RegisterSegment(it) => register_segment(it),
        Command::ThresholdReached(it) => key(&it.config_key),
        Command::GrantLease(it) => key(&it.config_key),
        Command::RenewLease(it) => key(&it.config_key),
        Command::ExpireLease(it) => key(&it.config_key).and_then(|()| texts([&it.reason])),
        Command::FailLease(it) => key(&it.config_key).and_then(|()| texts([&it.error])),
        Command::CancelLease(it) => cancel_lease(it),
        Command::CompleteTraining(it) => complete_training(it),
        Command::CompleteEvaluation(it) => complete_evaluation(it),
        Command::ConfirmEvidence(it) => confirm_evidence(it),
        Command::Promote(it) => key(&it.config_key).and_then(|()| numbers(&[it.elo_delta_min])),
        Command::Reject(it) => key(&it.config_key).and_then(|()| texts([&it.reason])),
        Command::Appoint(it) => key(&it.config_key).and_then(|()| texts([&it.reason])),
        Command::Rollback(it) => rollback(it),
        Command::ReportRegression(it) => report_regression(it),
        Command::SetTarget(it) => key(&it.config_key).and_then(|()| target(&it.target)),
        Command::SetBackpressure(it) => key(&it.config_key),
        Command::SetFeedback(it) => set_feedback(it),
        Command::SetLearningRate(it) => steered(&it.config_key, it.scale, &it.reason),
        Command::SetCurriculum(it) => steered(&it.config_key, it.weight, &it.reason),
    }
}

fn register_node(command: &RegisterNode) -> Result<(), Refusal> {
    let RegisterNode { peer_id, name, addrs, http, version, boot: _, admission: _, at_ms: _ } = command;
    if peer_id.is_empty() || addrs.len() > ADDRESSES_MAX {
        return Err(Refusal::Invalid("peer id or addresses".into()));
    }
    texts([peer_id, name, http, version].into_iter().chain(addrs))
}

fn issue_ticket(command: &IssueTicket) -> Result<(), Refusal> {
    let IssueTicket { ticket: _, key: _, uses, expires_ms, note, at_ms } = command;
    if !(1..=TICKET_USES_MAX).contains(uses) {
        return Err(Refusal::Invalid(format!("uses of a ticket: 1 to {TICKET_USES_MAX}")));
    }
    if !(1..=TICKET_TTL_MS_MAX).contains(&expires_ms.saturating_sub(*at_ms)) {
        let days = TICKET_TTL_MS_MAX / 86_400_000;
        return Err(Refusal::Invalid(format!("validity of a ticket: at most {days} days")));
    }
    texts([note])
}

fn init_config(command: &InitConfig) -> Result<(), Refusal> {
    key(&command.config_key)?;
    if command.threshold == 0 {
        return Err(Refusal::Invalid("threshold".into()));
    }
    size(command.size, MODEL_BYTES_MAX)?;
    target(&command.target)
}

fn register_segment(command: &RegisterSegment) -> Result<(), Refusal> {
    key(&command.config_key)?;
    if command.games == 0 || command.receipts.len() > HOLDERS_MAX {
        return Err(Refusal::Invalid("segment".into()));
    }
    // Every replica verifies every signature.
    let nodes: BTreeSet<_> = command.receipts.iter().map(|receipt| receipt.node).collect();
    if nodes.len() != command.receipts.len() {
        return Err(Refusal::Invalid("receipts: a node gives one".into()));
    }
    size(command.bytes, SEGMENT_BYTES_MAX)?;
    text(command.source.as_str())
}

fn cancel_lease(command: &CancelLease) -> Result<(), Refusal> {
    key(&command.config_key)?;
    match &command.cause {
        EndCause::Failed | EndCause::Expired => {
            return Err(Refusal::Invalid("cause of a cancellation".into()));
        }
        EndCause::Ordered | EndCause::Regressed | EndCause::RolledBack | EndCause::Other(_) => {}
    }
    text(command.cause.as_str()).and_then(|()| texts([&command.reason]))
}

fn complete_training(command: &CompleteTraining) -> Result<(), Refusal> {
    key(&command.config_key)?;
    size(command.model.size, MODEL_BYTES_MAX)?;
    let report = &command.report;
    numbers(&[report.final_loss, report.val_loss, report.seconds])
}

fn complete_evaluation(command: &CompleteEvaluation) -> Result<(), Refusal> {
    key(&command.config_key)?;
    let evidence = &command.evidence;
    if evidence.segments.len() > EVIDENCE_SEGMENTS_MAX || !evidence.holds() {
        return Err(Refusal::Invalid("evidence".into()));
    }
    Ok(())
}

fn confirm_evidence(command: &ConfirmEvidence) -> Result<(), Refusal> {
    key(&command.config_key)?;
    let bounded = command.counted.as_ref().is_none_or(Tallies::are_bounded);
    if bounded { Ok(()) } else { Err(Refusal::Invalid("counts".into())) }
}

fn rollback(command: &Rollback) -> Result<(), Refusal> {
    let Rollback { config_key, expected_champion, reason, triggered_by, trigger, at_ms: _ } = command;
    key(config_key)?;
    // Without champion and event, the command could not be distinguished from a repetition.
    if expected_champion.is_none() && trigger.is_none() {
        return Err(Refusal::Invalid("rollback of no champion, for no event".into()));
    }
    texts([reason, triggered_by])
}

fn report_regression(command: &ReportRegression) -> Result<(), Refusal> {
    key(&command.config_key)?;
    if command.elo_drop.abs() > ELO_DELTA_MAX {
        return Err(Refusal::Invalid("elo drop".into()));
    }
    numbers(&[command.elo_drop]).and_then(|()| texts([&command.reason]))
}

fn set_feedback(command: &SetFeedback) -> Result<(), Refusal> {
    key(&command.config_key)?;
    let Feedback { learning_rate, exploration, simulations, reason } = &command.feedback;
    factors(&[*learning_rate, *exploration, *simulations]).and_then(|()| texts([reason]))
}

fn steered(config_key: &ConfigKey, by: f64, reason: &String) -> Result<(), Refusal> {
    key(config_key).and_then(|()| factors(&[by])).and_then(|()| texts([reason]))
}

/// Checks factors and weights, so that every product with them stays in a useful range.
fn factors(factors: &[f64]) -> Result<(), Refusal> {
    if factors.iter().all(|factor| (0.01..=100.0).contains(factor)) {
        Ok(())
    } else {
        Err(Refusal::Invalid("factor".into()))
    }
}

fn target(target: &SelfplayTarget) -> Result<(), Refusal> {
    if target.weight < 0.0 {
        return Err(Refusal::Invalid("weight".into()));
    }
    numbers(&[target.weight]).and_then(|()| texts([&target.reason]))
}

fn size(bytes: u64, bytes_max: u64) -> Result<(), Refusal> {
    if (1..=bytes_max).contains(&bytes) { Ok(()) } else { Err(Refusal::Invalid("size".into())) }
}

fn key(config_key: &ConfigKey) -> Result<(), Refusal> {
    if config_key.is_well_formed() { Ok(()) } else { Err(Refusal::Invalid("configuration key".into())) }
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> Result<(), Refusal> {
    texts.into_iter().try_for_each(|it| text(it))
}

fn text(text: &str) -> Result<(), Refusal> {
    if text.len() > TEXT_BYTES_MAX {
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
