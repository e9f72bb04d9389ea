//! The effect of each command.
//!
//! Invariant: `apply` is a pure function of state, log index and command: it uses no clock, no randomness, no
//! I/O and no hash maps. A refusal changes nothing, and neither does a repeated command.

mod admissions;
mod bounds;
mod check;
mod configs;
mod forgery;
mod leases;
mod lookup;
mod nodes;
mod promotion;
mod review;
mod rollback;
mod segments;
mod steering;

pub use admissions::admit;
pub use bounds::{
    CANDIDATES_MAX, CONFIGS_MAX, EVIDENCE_GAMES_MIN, MODELS_MAX, NODES_MAX, REJECTED_MAX, SEGMENTS_MAX,
};
pub use check::check;
pub use forgery::{REPORTS_OPEN_MAX, needed_reporters};

use crate::{command::Command, response::Response, state::ClusterState};
use lookup::Outcome;

/// Applies one command, which is entry `index` of the log.
pub fn apply(state: &mut ClusterState, index: u64, command: &Command) -> Response {
    let outcome = check(command).and_then(|()| dispatch(state, index, command));
    state.applied = index;
    outcome.unwrap_or_else(Response::Refused)
}

fn dispatch(state: &mut ClusterState, index: u64, command: &Command) -> Outcome {
    match command {
        Command::RegisterNode(it) => nodes::register(state, it),
        Command::SetOnline(it) => nodes::set_online(state, it),
        Command::SetLeader(it) => nodes::set_leader(state, it),
        Command::SetDraining(it) => nodes::set_draining(state, it),
        Command::SetSecret(it) => admissions::set_secret(state, it),
        Command::IssueTicket(it) => admissions::issue_ticket(state, it),
        Command::RevokeTicket(it) => admissions::revoke_ticket(state, it),
        Command::SetOperators(it) => admissions::set_operators(state, it),
        Command::RemoveNode(it) => admissions::remove_node(state, it),
        Command::InitConfig(it) => configs::init(state, index, it),
        Command::ThresholdReached(it) => configs::threshold_reached(state, it),
        Command::SetTarget(it) => configs::set_target(state, it),
        Command::RegisterSegment(it) => segments::register(state, index, it),
        Command::AddSegmentHolder(it) => segments::add_holder(state, it),
        Command::ReportForgery(it) => forgery::report(state, index, it),
        Command::PardonNode(it) => forgery::pardon(state, index, it),
        Command::GrantLease(it) => leases::grant(state, index, it),
        Command::RenewLease(it) => leases::renew(state, it),
        Command::ExpireLease(it) => leases::expire(state, it),
        Command::FailLease(it) => leases::fail(state, it),
        Command::CancelLease(it) => leases::cancel(state, it),
        Command::CompleteTraining(it) => leases::complete_training(state, index, it),
        Command::CompleteEvaluation(it) => leases::complete_evaluation(state, it),
        Command::Promote(it) => promotion::promote(state, index, it),
        Command::Appoint(it) => promotion::appoint(state, index, it),
        Command::Reject(it) => promotion::reject(state, it),
        Command::ModelHeld(it) => promotion::model_held(state, it),
        Command::Rollback(it) => rollback::rollback(state, index, it),
        Command::ReportRegression(it) => steering::report_regression(state, it),
        Command::SetBackpressure(it) => steering::set_backpressure(state, it),
        Command::SetFeedback(it) => steering::set_feedback(state, it),
        Command::SetLearningRate(it) => steering::set_learning_rate(state, it),
        Command::SetCurriculum(it) => steering::set_curriculum(state, it),
        Command::ConfirmEvidence(it) => review::confirm(state, it),
    }
}

#[cfg(test)]
mod tests;
