//! The table of all targets.
//!
//! Invariant: names are unique, and each has a folder under `corpus` once fuzzing found something.

mod consensus;
mod events;
mod game;
mod nodes;
mod operators;
mod peers;
mod store;

use crate::Target;

/// Every target, from the ground up.
pub const TARGETS: &[Target] = &[
    Target { name: "frame", run: peers::frame, seeds: peers::frame_seeds },
    Target { name: "stream", run: peers::stream, seeds: peers::stream_seeds },
    Target { name: "handshake", run: peers::handshake, seeds: peers::handshake_seeds },
    Target { name: "hello", run: peers::hello, seeds: peers::hello_seeds },
    Target { name: "announce", run: peers::announce, seeds: peers::announce_seeds },
    Target { name: "identity", run: peers::identity, seeds: peers::identity_seeds },
    Target { name: "signature", run: peers::signature, seeds: peers::signature_seeds },
    Target { name: "address", run: peers::address, seeds: peers::address_seeds },
    Target { name: "blob-question", run: peers::blob_question, seeds: peers::blob_question_seeds },
    Target { name: "blob-answer", run: peers::blob_answer, seeds: peers::blob_answer_seeds },
    Target { name: "outline", run: peers::outline, seeds: peers::outline_seeds },
    Target { name: "raft-request", run: consensus::request, seeds: consensus::request_seeds },
    Target { name: "raft-reply", run: consensus::reply, seeds: consensus::reply_seeds },
    Target { name: "raft-entry", run: consensus::entry, seeds: consensus::entry_seeds },
    Target { name: "raft-stored", run: consensus::stored, seeds: consensus::stored_seeds },
    Target { name: "raft-snapshot", run: consensus::snapshot, seeds: consensus::snapshot_seeds },
    Target { name: "commands", run: consensus::commands, seeds: consensus::commands_seeds },
    Target { name: "signed", run: events::signed, seeds: events::signed_seeds },
    Target { name: "envelope", run: events::envelope, seeds: events::envelope_seeds },
    Target { name: "injection", run: events::injection, seeds: events::injection_seeds },
    Target { name: "repair-question", run: events::question, seeds: events::question_seeds },
    Target { name: "proof", run: events::proof, seeds: events::proof_seeds },
    Target { name: "repair-answer", run: events::answer, seeds: events::answer_seeds },
    Target { name: "manifest", run: nodes::manifest, seeds: nodes::manifest_seeds },
    Target { name: "control", run: nodes::control, seeds: nodes::control_seeds },
    Target { name: "control-answer", run: nodes::control_answer, seeds: nodes::control_answer_seeds },
    Target { name: "ask", run: nodes::ask, seeds: nodes::ask_seeds },
    Target { name: "told", run: nodes::told, seeds: nodes::told_seeds },
    Target { name: "position", run: game::position, seeds: game::position_seeds },
    Target { name: "move", run: game::mv, seeds: game::move_seeds },
    Target { name: "trace", run: game::trace, seeds: game::trace_seeds },
    Target { name: "game", run: store::game, seeds: store::game_seeds },
    Target { name: "stored-game", run: store::stored_game, seeds: store::stored_game_seeds },
    Target { name: "segment", run: store::segment, seeds: store::segment_seeds },
    Target { name: "checkpoint", run: store::checkpoint, seeds: store::checkpoint_seeds },
    Target { name: "folder-files", run: store::folder_files, seeds: store::folder_files_seeds },
    Target { name: "settings", run: store::settings, seeds: store::settings_seeds },
    Target { name: "claim", run: store::claim, seeds: store::claim_seeds },
    Target { name: "range", run: operators::range, seeds: operators::range_seeds },
    Target { name: "pass", run: operators::pass, seeds: operators::pass_seeds },
    Target { name: "http-bodies", run: operators::bodies, seeds: operators::bodies_seeds },
    Target { name: "http-answers", run: operators::answers, seeds: operators::answers_seeds },
    Target { name: "names", run: operators::names, seeds: operators::names_seeds },
    Target { name: "engine", run: operators::engine, seeds: operators::engine_seeds },
];
