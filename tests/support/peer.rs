//! One peer.

use super::{Place, Process, SOON, run, until, when};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use ringrift::{
    api::{content::Audit, events::Injection, status::Status},
    client::{Client, ClientError},
    events::{Event, log::Logged},
};
use serde_json::Value;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// A peer with a folder of its own, running or not.
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    environment: Vec<(String, PathBuf)>,
    process: Option<Process>,
    /// Where it is if not on this host's loopback interface.
    pub(super) place: Option<Place>,
}

impl Peer {
    pub(crate) fn new(root: &Path, name: &str, settings: &str) -> Self {
        let folder = root.join(name);
        fs::create_dir(&folder).expect("a new folder");
        let name = name.to_owned();
        let peer = Self { name, folder, environment: Vec::new(), process: None, place: None };
        peer.configure(settings);
        peer
    }

    /// Takes effect at the next start.
    pub(crate) fn configure(&self, settings: &str) {
        fs::write(self.folder.join("ringrift.toml"), settings).expect("settings are written");
    }

    /// Sets an environment variable for the starts to come.
    pub(crate) fn environment(&mut self, name: &str, value: impl Into<PathBuf>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    /// Starts the process without waiting for anything. `join` is a line that another peer printed.
    pub(crate) fn spawn(&mut self, join: Option<&str>, more: &[&str]) {
        let words = join.unwrap_or("ringrift node --data-dir DIR").split_whitespace().skip(1);
        let folder = self.folder.to_str().expect("a plain name");
        let words = words.map(|word| if word == "DIR" { folder } else { word });
        let log = File::options().create(true).append(true).open(self.file("log")).expect("a log");
        let out = File::create(self.file("out")).expect("a file");
        let program = env!("CARGO_BIN_EXE_ringrift");
        let mut command =
            self.place.as_ref().map_or_else(|| Command::new(program), |place| place.command(program));
        command.args(words);
        if let Some(place) = &self.place {
            command.args(["--listen", &place.socket()]);
        }
        command.args(["--exit-with-parent", "--name", &self.name]).args(more);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(out).stderr(log);
        self.process = Some(Process::spawn(&mut command));
    }

    /// Starts the process and waits until it says where others can join.
    pub(crate) fn start(&mut self, join: Option<&str>) {
        self.spawn(join, &[]);
        self.join_line();
    }

    /// The command that the peer prints for others.
    pub(crate) fn join_line(&mut self) -> String {
        let out = self.file("out");
        until(&format!("{} listens", self.name), SOON, || {
            assert_eq!(self.process.as_mut().and_then(Process::ended), None, "{}", self.log());
            let printed = fs::read_to_string(&out).expect("a file");
            let mut lines = printed.lines().filter(|_| printed.ends_with('\n'));
            let found = lines.find_map(|line| line.strip_prefix("join"));
            found.map(|line| line.trim().to_owned()).ok_or_else(|| self.log())
        })
    }

    /// Where it listens: `127.0.0.1:PORT`.
    pub(crate) fn socket(&mut self) -> String {
        let line = self.join_line();
        let words: Vec<&str> = line.split('/').collect();
        format!("{}:{}", words[2], words[4])
    }

    /// Its multiaddress.
    pub(crate) fn address(&mut self) -> String {
        self.join_line().split_whitespace().last().expect("an address").to_owned()
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.folder.with_extension(extension)
    }

    /// All that it has logged, over all its starts.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// SIGTERM; how long it took to end and its exit status.
    pub(crate) fn stop(&mut self) -> (Duration, Option<i32>) {
        self.end_by(Signal::SIGTERM)
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&mut self) -> (Duration, Option<i32>) {
        self.end_by(Signal::SIGINT)
    }

    fn end_by(&mut self, signal: Signal) -> (Duration, Option<i32>) {
        let mut process = self.process.take().expect("it runs");
        let began = Instant::now();
        let pid = i32::try_from(process.pid()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("it runs");
        let ended = process.wait(Duration::from_secs(30));
        (began.elapsed(), ended.code())
    }

    /// SIGSTOP: it answers nobody, and its connections stay open.
    pub(crate) fn stall(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        let pid = i32::try_from(process.pid()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    pub(crate) fn client(&self) -> Result<Client, String> {
        Client::of_folder(&self.folder).map_err(|error| format!("{}: {error}", self.name))
    }

    /// Asks it from where it is.
    fn asked<R: Send>(
        &self,
        ask: impl FnOnce(&Client) -> Result<R, ClientError> + Send,
    ) -> Result<R, String> {
        let client = self.client()?;
        let answer = match &self.place {
            Some(place) => place.run(|| ask(&client)),
            None => ask(&client),
        };
        answer.map_err(|error| format!("{}: {error}", self.name))
    }

    pub(crate) fn status(&self) -> Result<Status, String> {
        self.asked(Client::status)
    }

    /// The status once a quorum confirms it and `good` says yes.
    pub(crate) fn until_status(&self, what: &str, good: impl Fn(&Status) -> bool) -> Status {
        until(&format!("{}: {what}", self.name), SOON, || {
            let status = self.status()?;
            let yes = !status.stale && good(&status);
            when(yes, status.clone(), || format!("{status:?}"))
        })
    }

    pub(crate) fn audit(&self) -> Audit {
        until("an audit", SOON, || self.asked(Client::audit))
    }

    /// `ringrift COMMAND --data-dir ... --json`: exit status and answer.
    pub(crate) fn ask(&self, command: &[&str]) -> (Option<i32>, Value) {
        let folder = self.folder.to_str().expect("a plain name");
        let ended = run(&[command, &["--data-dir", folder, "--json"]].concat());
        let answer = serde_json::from_str(&ended.stdout);
        (ended.code, answer.unwrap_or_else(|error| panic!("{error}: {ended:?}")))
    }

    /// `ringrift COMMAND --data-dir ...`, for people.
    pub(crate) fn read(&self, command: &[&str]) -> super::Ended {
        let folder = self.folder.to_str().expect("a plain name");
        run(&[command, &["--data-dir", folder]].concat())
    }

    /// Its whole event log.
    pub(crate) fn logged(&self) -> Result<Vec<Logged>, String> {
        let mut all: Vec<Logged> = Vec::new();
        loop {
            let last = all.last().map_or(0, |logged| logged.position);
            let page = self.asked(|client| client.events(last, 500))?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// Emits an event by hand; acknowledged once this returns without an error.
    pub(crate) fn emit(&self, event: &str, payload: Value) -> Result<Event, String> {
        let injection = Injection { event: event.to_owned(), payload };
        self.asked(|client| client.emit(&injection))
    }

    /// `ringrift events --json`: name and payload of each, oldest first.
    pub(crate) fn events(&self) -> Vec<(String, Value)> {
        let folder = self.folder.to_str().expect("a plain name");
        let ended = run(&["events", "--json", "--data-dir", folder]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let read = |line: &str| {
            let logged: Value = serde_json::from_str(line).expect("a JSON object a line");
            let event = logged["event"].as_object().expect("an event").clone();
            assert_eq!(event.len(), 1, "{line}");
            event.into_iter().next().expect("one")
        };
        ended.stdout.lines().map(read).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- log of {}\n{}", self.name, lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}
