//! `ringrift pull`: has a model or a segment brought to a peer.

use crate::client::Client;
use anyhow::Context;
use std::{fs, path::PathBuf, process::ExitCode};
use wire::Hash;

/// Have a model or a segment brought to a peer, from the swarm, over HTTP, or by the operator's command.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Prints the file, whose content was checked. Exit status: 0; 1 when there is no such content or nobody \
    delivers it; 2 for wrong arguments; 3 when the peer does not answer.\n\n\
    Examples:\n  ringrift pull HASH --data-dir n1\n  ringrift pull HASH --data-dir n1 --out champion.safetensors"
)]
pub(super) struct Args {
    /// Its hash, 64 digits, as `ringrift status --json` shows it.
    hash: Hash,
    /// Data folder of the peer to ask.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Also copy it to this file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// If the copy or the answer cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match act(args) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => super::unanswered(error),
    }
}

fn act(args: &Args) -> anyhow::Result<()> {
    let pulled = Client::of_folder(&args.data_dir)?.pull(args.hash)?;
    if let Some(out) = &args.out {
        let bytes =
            fs::read(&pulled.path).with_context(|| format!("cannot read {}", pulled.path.display()))?;
        anyhow::ensure!(Hash::of(&bytes) == pulled.hash, "{} was changed meanwhile", pulled.path.display());
        crate::store::write_atomic(out, &bytes).with_context(|| format!("cannot write {}", out.display()))?;
    }
    if args.json {
        println!("{}", serde_json::to_string(&pulled)?);
    } else {
        let file = args.out.as_ref().unwrap_or(&pulled.path);
        println!("{} of {}, {} bytes: {}", pulled.kind, pulled.config_key, pulled.size, file.display());
    }
    Ok(())
}
