//! A peer as a child process.

use super::{Place, SOON, run, until, when};
use cluster_state::admission::Invitation;
use nix::sys::signal::Signal;
use p2p::{DoorKey, KeyRing};
use ringrift::{
    api::{content::Audit, events::Injection, status::Status},
    client::{Client, ClientError},
    events::{Event, Logged},
    local,
    store::admission::read_secret,
};
use serde_json::Value;
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a peer may take to stop.
const STOP: Duration = Duration::from_secs(30);

/// A peer of a test, running or not.
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    peer: local::Peer,
    /// The place of the peer, if it is not this host's loopback interface.
    place: Option<Place>,
    /// The command that it printed for others when it founded its cluster.
    join: Option<String>,
}

impl Peer {
    pub(crate) fn new(root: &Path, name: &str, settings: &str) -> Self {
        assert!(!root.join(name).exists(), "two peers are called {name}");
        let mut peer = local::Peer::new(root, name, settings).expect("a new folder");
        peer.program([env!("CARGO_BIN_EXE_ringrift")]);
        Self { name: name.to_owned(), folder: peer.folder.clone(), peer, place: None, join: None }
    }

    /// Moves the peer to a place in a network, before it starts.
    pub(super) fn put(&mut self, place: Place) {
        self.peer.program(place.words(env!("CARGO_BIN_EXE_ringrift")));
        self.place = Some(place);
    }

    /// Changes the settings; they take effect at the next start.
    pub(crate) fn configure(&self, settings: &str) {
        self.peer.configure(settings).expect("settings are written");
    }

    /// Sets an environment variable for the starts to come.
    pub(crate) fn environment(&mut self, name: &str, value: impl Into<OsString>) {
        self.peer.environment(name, value);
    }

    /// Starts the process without waiting for anything. `join` is a line that another peer printed.
    pub(crate) fn spawn(&mut self, join: Option<&str>, more: &[&str]) {
        let words = join.unwrap_or("ringrift node --data-dir DIR").split_whitespace().skip(1);
        let folder = self.folder.to_str().expect("a plain name");
        let mut words: Vec<String> =
            words.map(|word| if word == "DIR" { folder } else { word }.to_owned()).collect();
        if let Some(place) = &self.place {
            words.extend(["--listen".to_owned(), place.socket(), "--secret-file".to_owned()]);
            words.push(self.secret());
        }
        words.extend(more.iter().map(|word| (*word).to_owned()));
        self.peer.spawn(words.into_iter().map(OsString::from)).expect("the process starts");
    }

    /// The file with the secret of the peers in a network, who listen on more than the loopback interface.
    fn secret(&self) -> String {
        let path = self.folder.parent().expect("a folder").join("secret");
        if !path.exists() {
            fs::write(&path, "3b9e2854a1f07d6c8d3f1a60b7c94e52\n").expect("a secret");
        }
        path.to_str().expect("a plain name").to_owned()
    }

    /// Starts the process and waits until it says where others can join.
    pub(crate) fn start(&mut self, join: Option<&str>) {
        self.spawn(join, &[]);
        self.address();
    }

    /// Returns what the peer prints after `word` since its last start.
    fn printed(&mut self, word: &str) -> String {
        let out = self.peer.out_path();
        until(&format!("{} prints {word}", self.name), SOON, || {
            assert!(self.peer.check().is_ok(), "{}", self.log());
            let printed = fs::read_to_string(&out).expect("a file");
            let mut lines = printed.lines().filter(|_| printed.ends_with('\n'));
            let found = lines.find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
            found.map(|line| line.trim().to_owned()).ok_or_else(|| self.log())
        })
    }

    /// Returns the command that the peer printed for others when it founded its cluster, which holds a ticket
    /// unless a secret admits.
    pub(crate) fn join_line(&mut self) -> String {
        if self.join.is_none() {
            self.join = Some(self.printed("join"));
        }
        self.join.clone().expect("it is there")
    }

    /// Returns the ticket in that command.
    pub(crate) fn invitation(&mut self) -> Invitation {
        let line = self.join_line();
        line.split_whitespace().last().expect("a word").parse().expect("a ticket")
    }

    /// Returns the address on which it listens: `127.0.0.1:PORT`.
    pub(crate) fn socket(&mut self) -> String {
        let address = self.address();
        let words: Vec<&str> = address.split('/').collect();
        format!("{}:{}", words[2], words[4])
    }

    /// Returns its multiaddress; waits until it listens.
    pub(crate) fn address(&mut self) -> String {
        self.printed("listens")
    }

    /// Returns the door's keys that are in its data folder.
    pub(crate) fn keys(&self) -> Arc<KeyRing> {
        let secret = read_secret(&self.folder).expect("a file").expect("a secret");
        let keys = KeyRing::new("ringrift");
        keys.set(vec![DoorKey::new(secret)]);
        keys
    }

    /// Waits until it ends by itself; returns its exit status and the error that it logged last.
    pub(crate) fn ends(&mut self) -> (Option<i32>, String) {
        let ended =
            self.peer.wait(SOON).unwrap_or_else(|| panic!("{} does not end: {}", self.name, self.log()));
        let log = self.log();
        (ended.code(), log.rsplit("error: ").next().unwrap_or_default().trim().to_owned())
    }

    /// Returns all that it has logged, over all its starts.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.peer.log_path()).unwrap_or_default()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.peer.is_running()
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.peer.kill().expect("it can be killed");
    }

    /// Sends SIGTERM; returns how long it took to end, and its exit status.
    pub(crate) fn stop(&mut self) -> (Duration, Option<i32>) {
        self.end_by(Signal::SIGTERM)
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub(crate) fn interrupt(&mut self) -> (Duration, Option<i32>) {
        self.end_by(Signal::SIGINT)
    }

    fn end_by(&mut self, signal: Signal) -> (Duration, Option<i32>) {
        let began = Instant::now();
        self.signal(signal);
        let ended = self.peer.wait(STOP).expect("the process ends");
        (began.elapsed(), ended.code())
    }

    /// Sends SIGSTOP: the peer answers nobody, and its connections stay open.
    pub(crate) fn stall(&mut self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Sends SIGCONT.
    pub(crate) fn go_on(&mut self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&mut self, signal: Signal) {
        assert!(self.is_running(), "{} does not run", self.name);
        self.peer.signal(signal).expect("it runs");
    }

    pub(crate) fn client(&self) -> Result<Client, String> {
        Client::of_folder(&self.folder).map_err(|error| format!("{}: {error}", self.name))
    }

    /// Asks it from its own place in the network.
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

    /// Waits until a quorum confirms the status and `good` accepts it, and returns it.
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

    /// Runs `ringrift COMMAND --data-dir ... --json`; returns the exit status and the answer.
    pub(crate) fn ask(&self, command: &[&str]) -> (Option<i32>, Value) {
        let folder = self.folder.to_str().expect("a plain name");
        let ended = run(&[command, &["--data-dir", folder, "--json"]].concat());
        let answer = serde_json::from_str(&ended.stdout);
        (ended.code, answer.unwrap_or_else(|error| panic!("{error}: {ended:?}")))
    }

    /// Runs `ringrift COMMAND --data-dir ...` and returns what people read.
    pub(crate) fn read(&self, command: &[&str]) -> super::Ended {
        let folder = self.folder.to_str().expect("a plain name");
        run(&[command, &["--data-dir", folder]].concat())
    }

    /// Returns its whole event log.
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

    /// Emits an event by hand. The event is acknowledged once this returns without an error.
    pub(crate) fn emit(&self, event: &str, payload: Value) -> Result<Event, String> {
        let injection = Injection { event: event.to_owned(), payload };
        self.asked(|client| client.emit(&injection))
    }

    /// Runs `ringrift events --json`; returns the name and the payload of each event, oldest first.
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
            eprintln!("--- log of {}\n{}", self.name, self.peer.tail(40));
        }
        // The peer ends at once, without the time to stop that a peer of the demo gets.
        let _ = self.peer.kill();
    }
}
