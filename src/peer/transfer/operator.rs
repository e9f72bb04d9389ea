//! Transfer by a command that the operator gives, such as `rsync`.
//!
//! Invariant: the command is run without a shell; what others may choose (a host's name) cannot become an
//! option or a second argument. The file that it leaves is checked in the same way as what a peer sends.

use super::WantedContent;
use crate::process::listen;
use p2p::{P2pHandle, blobs::BlobError};
use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::Command;

/// Time between two looks at the file that the command writes.
const LOOK: Duration = Duration::from_millis(200);
/// Maximum number of bytes of the command's error output that are reported.
const WORDS_MAX: usize = 512;

/// Why the command did not deliver.
#[derive(Debug, thiserror::Error)]
pub(super) enum OperatorError {
    #[error("{0:?} is no host name that a command may be given")]
    Host(String),
    #[error("the path of the content folder is no text")]
    Path,
    #[error("it cannot be run: {0}")]
    Run(#[from] std::io::Error),
    #[error("it failed: {0}")]
    Failed(String),
    #[error("it wrote more than {0} bytes")]
    TooLarge(u64),
    #[error("not in time")]
    Timeout,
    #[error("what it brought is not the content")]
    Wrong,
}

impl OperatorError {
    /// Whether the command brought something other than the content.
    pub(super) fn is_lie(&self) -> bool {
        match self {
            Self::Wrong | Self::TooLarge(_) => true,
            Self::Host(_) | Self::Path | Self::Run(_) | Self::Failed(_) | Self::Timeout => false,
        }
    }
}

/// Whether a host's name is one word and no option.
fn is_host(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=253).contains(&name.len()) && name.chars().all(plain) && !name.starts_with(['-', '.'])
}

/// The words of the command line. `{path}` is the path of the content in the holder's data folder.
fn words(template: &[String], host: &str, wanted: &WantedContent, target: &str) -> Vec<String> {
    let hash = wanted.hash.to_string();
    let fill = |word: &String| {
        // The target is replaced last, because a folder's name may look like a placeholder.
        let word = word.replace("{host}", host).replace("{path}", &format!("blobs/{hash}"));
        word.replace("{hash}", &hash).replace("{target}", target)
    };
    template.iter().map(fill).collect()
}

/// Has the command bring content from a host. The outer error is a failure of this node's disk.
pub(super) async fn fetch(
    p2p: &P2pHandle,
    template: &[String],
    wanted: WantedContent,
    host: &str,
    limit: Duration,
) -> Result<Result<(), OperatorError>, BlobError> {
    if !is_host(host) {
        return Ok(Err(OperatorError::Host(host.chars().take(64).collect())));
    }
    let Some(intake) = p2p.intake(wanted.hash).await? else { return Ok(Ok(())) };
    let target = intake.whole_path()?;
    let Some(text) = target.to_str() else { return Ok(Err(OperatorError::Path)) };
    let words = words(template, host, &wanted, text);
    if let Err(error) = run(&words, &target, wanted.bytes_max, limit).await {
        // The file is not used, so its fate does not matter.
        let _ = tokio::task::spawn_blocking(move || intake.take_whole(0)).await;
        return Ok(Err(error));
    }
    let most = wanted.size.unwrap_or(wanted.bytes_max).min(wanted.bytes_max);
    match tokio::task::spawn_blocking(move || intake.take_whole(most)).await {
        Ok(taken) => Ok(if taken? { Ok(()) } else { Err(OperatorError::Wrong) }),
        Err(error) => Ok(Err(OperatorError::Failed(error.to_string()))),
    }
}

/// Runs the command to its end, unless it takes too long or writes too much.
async fn run(words: &[String], target: &Path, bytes_max: u64, limit: Duration) -> Result<(), OperatorError> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(OperatorError::Failed("there is no command".to_owned()));
    };
    let deadline = Instant::now() + limit;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn()?;
    let output = child.stderr.take();
    let watch = async {
        loop {
            if Instant::now() >= deadline {
                return OperatorError::Timeout;
            }
            if fs::metadata(target).is_ok_and(|metadata| metadata.len() > bytes_max) {
                return OperatorError::TooLarge(bytes_max);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        (ended, output) = async { tokio::join!(child.wait(), listen(output, WORDS_MAX)) } => {
            let ended = ended?;
            let output = String::from_utf8_lossy(&output).trim().to_owned();
            if ended.success() { Ok(()) } else { Err(OperatorError::Failed(format!("{ended} {output}"))) }
        }
        error = watch => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Hash;

    #[test]
    fn what_others_choose_stays_one_word_and_no_option() {
        for name in ["gpu-03", "n1", "192.0.2.1", "a_b.example"] {
            assert!(is_host(name), "{name}");
        }
        let long = "a".repeat(254);
        for name in ["", "-e", ".", "a b", "a;b", "a/b", "a:b", "{target}", "$(x)", "é", &long] {
            assert!(!is_host(name), "{name}");
        }
        let wanted = WantedContent { hash: Hash([7; 32]), size: None, bytes_max: 1 };
        let template = ["rsync", "-a", "{host}:/srv/{path}", "{target}", "{hash}"].map(str::to_owned);
        let hash = "07".repeat(32);
        let expected = ["rsync", "-a", &format!("n1:/srv/blobs/{hash}"), "/tmp/{host} x", &hash];
        assert_eq!(words(&template, "n1", &wanted, "/tmp/{host} x"), expected);
    }

    #[tokio::test]
    async fn a_command_that_hangs_fails_or_writes_too_much_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        let run = async |script: &str, limit| {
            let words = ["sh", "-c", script, "sh", target.to_str().unwrap()].map(str::to_owned);
            super::run(&words, &target, 1000, Duration::from_millis(limit)).await
        };
        assert!(run("printf x > \"$1\"", 20_000).await.is_ok());
        assert!(matches!(run("exec sleep 60", 300).await, Err(OperatorError::Timeout)));
        let error = run("echo no such host >&2; exit 3", 20_000).await.unwrap_err().to_string();
        assert!(error.contains("no such host") && error.contains('3'), "{error}");
        let flood = run("while :; do printf %2000s x; sleep 0.05; done > \"$1\"", 20_000).await;
        assert!(matches!(flood, Err(OperatorError::TooLarge(1000))), "{flood:?}");
        let none = super::run(&["/no/such/program".to_owned()], &target, 1, Duration::from_secs(1)).await;
        assert!(matches!(none, Err(OperatorError::Run(_))));
    }
}
