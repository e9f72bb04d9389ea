//! A peer as a child process on a data folder of its own.
//!
//! Invariant: whatever happens to this program, its peers end. They get a signal to stop when their [`Peer`]
//! is dropped, they are killed if they do not stop, and the kernel signals them when this program itself is
//! killed (`--exit-with-parent`).

use super::process::Process;
use crate::{
    api::{content::Audit, status::Status},
    client::{Client, ClientError},
    store::Running,
};
use nix::sys::signal::Signal;
use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a peer may take until it listens.
const START: Duration = Duration::from_secs(30);
/// How long a peer may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(15);
/// Peers that may join with the ticket of a founder.
const TICKET_USES: u32 = 64;
/// Pause between two looks at a peer that starts.
const POLL: Duration = Duration::from_millis(50);
/// Last lines of a peer's log that an error shows.
const TAIL: usize = 5;

/// Why a peer cannot be started, or cannot be asked to end.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot start {name}")]
    Start { name: String, source: io::Error },
    #[error("{name} ended at once; its log is {}\n{tail}", log.display())]
    EndedAtOnce { name: String, log: PathBuf, tail: String },
    #[error("{name} does not listen after {START:?}; its log is {}", log.display())]
    Silent { name: String, log: PathBuf },
    #[error("{name} ended by itself; its log is {}", log.display())]
    Ended { name: String, log: PathBuf },
    #[error("cannot signal {name}")]
    Signal { name: String, source: io::Error },
}

/// A peer with a folder of its own; its process runs or not.
#[derive(Debug)]
pub struct Peer {
    /// The name of the peer's host, as other peers show it.
    pub name: String,
    /// The peer's data folder. The log and the printed output are beside it.
    pub folder: PathBuf,
    /// The program, and the arguments that come before those of `ringrift`.
    program: Vec<OsString>,
    environment: Vec<(String, OsString)>,
    process: Option<Process>,
    /// Where the peer joins at every start: a ticket, or an address if it needs none; nothing for the peer
    /// that founds the cluster.
    bootstrap: Option<String>,
    /// The ticket that the peer printed when it founded the cluster.
    ticket: Option<String>,
}

impl Peer {
    /// Creates a peer that does not run yet. `settings` becomes its `ringrift.toml`; the program is this one.
    ///
    /// # Errors
    /// [`LocalError::Write`] or [`LocalError::Start`].
    pub fn new(root: &Path, name: &str, settings: &str) -> Result<Self, LocalError> {
        let folder = root.join(name);
        fs::create_dir_all(&folder).map_err(|source| LocalError::Write { path: folder.clone(), source })?;
        let program =
            std::env::current_exe().map_err(|source| LocalError::Start { name: name.to_owned(), source })?;
        let (name, program) = (name.to_owned(), vec![program.into()]);
        let (environment, process, bootstrap, ticket) = (Vec::new(), None, None, None);
        let peer = Self { name, folder, program, environment, process, bootstrap, ticket };
        peer.configure(settings)?;
        Ok(peer)
    }

    /// Writes the peer's `ringrift.toml`, for the next start.
    ///
    /// # Errors
    /// [`LocalError::Write`].
    pub fn configure(&self, settings: &str) -> Result<(), LocalError> {
        let path = self.folder.join("ringrift.toml");
        fs::write(&path, settings).map_err(|source| LocalError::Write { path, source })
    }

    /// Sets the program for later starts, with the arguments that come before those of `ringrift`.
    pub fn program<P: Into<OsString>>(&mut self, program: impl IntoIterator<Item = P>) {
        self.program = program.into_iter().map(Into::into).collect();
    }

    /// Sets an environment variable for later starts.
    pub fn environment(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    /// Starts the process without waiting for anything. `words` are `node`, its data folder, and where it
    /// joins.
    ///
    /// # Errors
    /// [`LocalError::Write`] or [`LocalError::Start`].
    pub fn spawn(&mut self, words: impl IntoIterator<Item = OsString>) -> Result<(), LocalError> {
        let opened = |path: PathBuf, options: &mut fs::OpenOptions| {
            options.open(&path).map_err(|source| LocalError::Write { path, source })
        };
        let log = opened(self.log_path(), File::options().create(true).append(true))?;
        let out = opened(self.out_path(), File::options().create(true).write(true).truncate(true))?;
        let (program, before) = self.program.split_first().expect("a program was set");
        let mut command = Command::new(program);
        command.args(before).args(words).args(["--exit-with-parent", "--name", &self.name]);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // A group of its own: Ctrl-C is for this program, which then stops its peers in order.
        command.stdin(Stdio::null()).stdout(out).stderr(log).process_group(0);
        let process = Process::spawn(&mut command);
        let name = self.name.clone();
        self.process = Some(process.map_err(|source| LocalError::Start { name, source })?);
        Ok(())
    }

    /// Starts the process and waits until it listens. `bootstrap` is a ticket, or an address if it needs
    /// none; without it the peer joins where it joined the last time.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn start(&mut self, bootstrap: Option<&str>) -> Result<(), LocalError> {
        if let Some(at) = bootstrap {
            self.bootstrap = Some(at.to_owned());
        }
        let mut words: Vec<OsString> =
            ["node", "--data-dir"].into_iter().map(Into::into).chain([self.folder.clone().into()]).collect();
        match &self.bootstrap {
            Some(at) => words.extend(["--bootstrap".into(), at.into()]),
            None => words.extend(["--ticket-uses".into(), TICKET_USES.to_string().into()]),
        }
        self.spawn(words)?;
        self.wait_for(|peer| peer.address().map(drop))
    }

    /// Waits until there is an answer, for as long as a start may take.
    fn wait_for<T>(&mut self, look: impl Fn(&Self) -> Option<T>) -> Result<T, LocalError> {
        let deadline = Instant::now() + START;
        loop {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            let (name, log) = (self.name.clone(), self.log_path());
            if self.has_ended() {
                let tail = self.tail(TAIL);
                return Err(LocalError::EndedAtOnce { name, log, tail });
            }
            if Instant::now() >= deadline {
                return Err(LocalError::Silent { name, log });
            }
            thread::sleep(POLL);
        }
    }

    /// The ticket with which others join the cluster that this peer has founded; it waits until the peer
    /// prints it.
    ///
    /// # Errors
    /// [`LocalError`], if the peer ends or prints none.
    pub fn ticket(&mut self) -> Result<String, LocalError> {
        if let Some(ticket) = &self.ticket {
            return Ok(ticket.clone());
        }
        let ticket = self.wait_for(|peer| {
            let printed = fs::read_to_string(peer.out_path()).ok()?;
            let whole = &printed[..=printed.rfind('\n')?];
            let join = whole.lines().find(|line| line.starts_with("join "))?;
            join.split_whitespace().last().map(str::to_owned)
        })?;
        Ok(self.ticket.insert(ticket).clone())
    }

    /// The log file of the peer, over all its starts.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.folder.with_extension("log")
    }

    /// The file with the output that the peer printed since its last start.
    #[must_use]
    pub fn out_path(&self) -> PathBuf {
        self.folder.with_extension("out")
    }

    /// The last lines of the peer's log.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// The address at which the peer can be reached, once it listens.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        let pid = self.pid()?;
        match Running::find(&self.folder) {
            Ok(Running::Yes(runtime)) if runtime.pid == pid => runtime.p2p.first().cloned(),
            Ok(Running::Yes(_) | Running::Starting | Running::Stale(_) | Running::No) | Err(_) => None,
        }
    }

    /// The id of the process, if it was started and not yet stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Whether the process was started and not yet stopped.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Whether the process ended without a signal from this program.
    #[must_use]
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.ended(), Ok(Some(_)) | Err(_)))
    }

    /// # Errors
    /// [`LocalError::Ended`] if the process ended without a signal from this program.
    pub fn check(&mut self) -> Result<(), LocalError> {
        if self.has_ended() {
            return Err(LocalError::Ended { name: self.name.clone(), log: self.log_path() });
        }
        Ok(())
    }

    /// Kills the process with SIGKILL, if it runs.
    ///
    /// # Errors
    /// [`LocalError::Signal`].
    pub fn kill(&mut self) -> Result<(), LocalError> {
        let killed = self.process.take().map_or(Ok(()), Process::kill);
        killed.map_err(|source| LocalError::Signal { name: self.name.clone(), source })
    }

    /// Sends a signal to the process, if it runs.
    ///
    /// # Errors
    /// [`LocalError::Signal`].
    pub fn signal(&mut self, signal: Signal) -> Result<(), LocalError> {
        let sent = self.process.as_mut().map_or(Ok(()), |process| process.signal(signal));
        sent.map_err(|source| LocalError::Signal { name: self.name.clone(), source })
    }

    /// Waits at most `limit` until the process has ended, and kills it if it has not. Returns none if it did
    /// not run or was killed.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        // A process that is dropped is killed.
        self.process.take().and_then(|mut process| process.wait(limit).ok().flatten())
    }

    /// Asks the peer for its status.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn status(&self) -> Result<Status, ClientError> {
        Client::of_folder(&self.folder)?.status()
    }

    /// Asks the peer what it really has.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn audit(&self) -> Result<Audit, ClientError> {
        Client::of_folder(&self.folder)?.audit()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        stop_all(std::slice::from_mut(self));
    }
}

/// Stops all peers at the same time, and kills those that do not stop.
pub fn stop_all(peers: &mut [Peer]) {
    for peer in &mut *peers {
        // The process may already have ended by itself.
        let _ = peer.signal(Signal::SIGTERM);
    }
    for peer in peers {
        peer.wait(STOP);
    }
}

/// Whether a peer's status, as confirmed by a quorum, says that a cluster of `count` peers is online and that
/// as many of them vote as should.
#[must_use]
pub fn is_whole(status: &Status, count: usize) -> bool {
    let online = status.nodes.iter().filter(|node| node.online).count();
    !status.stale && online == count && status.voters.len() == if count < 3 { 1 } else { 3 }
}
