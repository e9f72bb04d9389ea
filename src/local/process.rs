//! A child process that never outlives its owner.
//!
//! Invariant: a child never outlives its [`Process`], which kills it by its process id when it is dropped.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    io,
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

/// Pause between two looks at a child that should end.
const POLL: Duration = Duration::from_millis(50);

/// A child that is killed when this is dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The exit status of the child, if it has ended.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Sends a signal, unless the child has ended and was waited for.
    ///
    /// # Errors
    /// When the child no longer exists, or this process may not signal it.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        // A process id that was waited for may already belong to another process.
        if self.ended()?.is_some() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let pid = i32::try_from(self.pid()).map_err(io::Error::other)?;
        Ok(kill(Pid::from_raw(pid), signal)?)
    }

    /// Waits at most `limit` until the child has ended by itself; none if it still runs.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            match self.ended()? {
                None if Instant::now() < deadline => thread::sleep(POLL),
                ended => return Ok(ended),
            }
        }
    }

    /// Kills the child with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(mut self) -> io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The child may already have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Process {
        Process::spawn(Command::new("sleep").arg("60")).unwrap()
    }

    #[test]
    fn a_child_ends_when_it_is_told_to_and_when_it_is_forgotten() {
        let mut child = sleeper();
        assert_eq!(child.wait(Duration::from_millis(1)).unwrap(), None);
        child.signal(Signal::SIGTERM).unwrap();
        let ended = child.wait(Duration::from_secs(60)).unwrap();
        assert!(ended.is_some_and(|status| !status.success()), "{ended:?}");
        assert!(child.signal(Signal::SIGTERM).is_err());

        let child = sleeper();
        let pid = Pid::from_raw(i32::try_from(child.pid()).unwrap());
        drop(child);
        assert!(kill(pid, None).is_err());
    }
}
