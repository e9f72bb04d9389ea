//! Peers as real child processes, each on a data folder of its own.
//!
//! Invariant: whatever happens to this program, its children end: they are told to stop when it ends, killed if they do
//! not, and the kernel tells them when it is killed itself.

use crate::{
    api::content::Audit,
    api::status::Status,
    client::{Client, ClientError},
    store::Running,
};
use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a peer may take to listen, and to stop.
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);

/// One peer.
pub(in crate::cli) struct Peer {
    pub(in crate::cli) name: String,
    pub(in crate::cli) folder: PathBuf,
    child: Option<Child>,
    bootstrap: Option<String>,
}

impl Peer {
    /// A peer that is not running yet; `settings` becomes its `ringrift.toml`.
    pub(in crate::cli) fn new(root: &Path, number: usize, settings: &str) -> anyhow::Result<Self> {
        let name = format!("n{number}");
        let folder = root.join(&name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        std::fs::write(folder.join("ringrift.toml"), settings)
            .with_context(|| format!("cannot write into {}", folder.display()))?;
        Ok(Self { name, folder, child: None, bootstrap: None })
    }

    /// Starts the process and waits until it listens.
    pub(in crate::cli) fn start(&mut self, bootstrap: Option<&str>) -> anyhow::Result<()> {
        if let Some(address) = bootstrap {
            self.bootstrap = Some(address.to_owned());
        }
        let log = self.log();
        let file = File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(std::env::current_exe().context("where is this program?")?);
        command.args(["node", "--exit-with-parent", "--name", &self.name, "--data-dir"]).arg(&self.folder);
        if let Some(address) = &self.bootstrap {
            command.args(["--bootstrap", address]);
        }
        // A group of its own: Ctrl-C is for this program, which then stops its peers in order.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).process_group(0);
        self.child = Some(command.spawn().context("cannot start a peer")?);
        let deadline = Instant::now() + START;
        while self.address().is_none() {
            if self.has_ended() {
                bail!("{} ended at once; its log is {}\n{}", self.name, log.display(), tail(&log));
            }
            if Instant::now() >= deadline {
                bail!("{} does not listen after {START:?}; its log is {}", self.name, log.display());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.folder.with_extension("log")
    }

    /// Where others can join through it.
    pub(in crate::cli) fn address(&self) -> Option<String> {
        let child = self.child.as_ref()?;
        match Running::find(&self.folder) {
            Ok(Running::Yes(runtime)) if runtime.pid == child.id() => runtime.p2p.first().cloned(),
            Ok(Running::Yes(_) | Running::Starting | Running::Stale(_) | Running::No) | Err(_) => None,
        }
    }

    /// The process, if it runs.
    pub(in crate::cli) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(in crate::cli) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Whether the process ended without being told to.
    pub(in crate::cli) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_)) | Err(_)))
    }

    /// kill -9.
    pub(in crate::cli) fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().context("cannot kill the peer")?;
            child.wait().context("cannot wait for the peer")?;
        }
        Ok(())
    }

    pub(in crate::cli) fn status(&self) -> Result<Status, ClientError> {
        Client::of_folder(&self.folder)?.status()
    }

    pub(in crate::cli) fn audit(&self) -> Result<Audit, ClientError> {
        Client::of_folder(&self.folder)?.audit()
    }

    /// Asks it to stop.
    pub(in crate::cli) fn tell_to_stop(&self) {
        if let Some(child) = &self.child
            && let Ok(pid) = i32::try_from(child.id())
        {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }

    /// Waits until it has stopped; kills it if it does not.
    pub(in crate::cli) fn wait(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(POLL);
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.tell_to_stop();
        self.wait();
    }
}

/// Stops all of them side by side.
pub(in crate::cli) fn stop_all(peers: &mut [Peer]) {
    peers.iter().for_each(Peer::tell_to_stop);
    peers.iter_mut().for_each(Peer::wait);
}

/// The last lines of a log.
fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
