//! Commands that ask a running peer: which peer they ask, how they print its answer, and the exit status if
//! it does not answer.

use crate::client::{Client, ClientError};
use serde::Serialize;
use std::{path::PathBuf, process::ExitCode};

/// Exit status when the peer does not answer.
pub(super) const UNREACHABLE: u8 = 3;

/// The peer to ask, and how to print its answer.
#[derive(Debug, clap::Args)]
pub(super) struct PeerArgs {
    /// Data folder of the peer to ask.
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl PeerArgs {
    /// # Errors
    /// [`ClientError`], when no peer runs on the data folder.
    pub(super) fn client(&self) -> Result<Client, ClientError> {
        Client::of_folder(&self.data_dir)
    }

    /// Prints an answer as JSON, or as the text that `text` makes of it; `text` ends its lines itself.
    ///
    /// # Errors
    /// When JSON cannot express the answer.
    pub(super) fn print<T: Serialize>(
        &self,
        answer: &T,
        text: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(answer)?);
        } else {
            print!("{}", text(answer));
        }
        Ok(())
    }
}

/// Reports why a peer did not do what it was asked: the status is 1 when it refused, and 3 when it did not
/// answer.
///
/// # Errors
/// Any error that the peer did not cause.
pub(super) fn unanswered(error: anyhow::Error) -> anyhow::Result<ExitCode> {
    let Some(from_peer) = error.downcast_ref::<ClientError>() else { return Err(error) };
    eprintln!("error: {error:#}");
    Ok(if from_peer.is_refusal() { ExitCode::FAILURE } else { ExitCode::from(UNREACHABLE) })
}
