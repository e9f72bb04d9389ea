//! `ringrift model pull`: has a peer fetch a model, or a segment of games.

use crate::{api::content::Pulled, client::Client, store::write_atomic};
use anyhow::{Context, ensure};
use std::{fs, path::PathBuf};
use wire::Hash;

/// What to fetch, and where to copy it.
#[derive(Debug, clap::Args)]
pub(super) struct PullArgs {
    /// The first hex digits of a model's hash, four or more; or the whole hash of a segment.
    hash: String,
    /// Also copy it to this file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Makes the peer fetch the content, and copies it to a file if asked for.
///
/// # Errors
/// The peer's refusal, or a file that cannot be written.
pub(super) fn pull(client: &Client, what: &PullArgs) -> anyhow::Result<Pulled> {
    let hash = match what.hash.parse::<Hash>() {
        Ok(hash) => hash,
        Err(_) => (client.model(&what.hash)?.model).0,
    };
    let pulled = client.pull(hash)?;
    if let Some(out) = &what.out {
        let bytes =
            fs::read(&pulled.path).with_context(|| format!("cannot read {}", pulled.path.display()))?;
        ensure!(Hash::of(&bytes) == pulled.hash, "{} was changed meanwhile", pulled.path.display());
        write_atomic(out, &bytes).with_context(|| format!("cannot write {}", out.display()))?;
    }
    Ok(pulled)
}

/// The answer as text for people.
pub(super) fn summary(pulled: &Pulled, what: &PullArgs) -> String {
    let file = what.out.as_ref().unwrap_or(&pulled.path).display();
    format!("{} of {}, {} bytes, checked: {file}\n", pulled.kind, pulled.config_key, pulled.size)
}
