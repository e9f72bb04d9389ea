//! A network of namespaces that can be cut in two. Nothing of it is on the host, and it ends with the process
//! that made it.
//!
//! Every peer has a network namespace with the address `10.77.0.N`; a cable leads from it to one of two
//! switches. Peers that are plugged into the same switch can talk.

use ringrift::local::Process;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::{
    fs::File,
    os::fd::AsFd as _,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// This variable is set in the process that is in namespaces.
const INSIDE: &str = "RINGRIFT_INSIDE_NAMESPACES";
/// A user sets this variable to learn whether this system refuses to make namespaces.
const REQUIRED: &str = "RINGRIFT_REQUIRE_NAMESPACES";

/// The switches and the cables.
pub(crate) struct Network {
    peers: usize,
}

impl Network {
    /// Runs the test of this name once more, in namespaces, where this returns the network. None if that has
    /// been done and went well within `limit`, or if this system refuses to make namespaces, which is told.
    pub(crate) fn enter(test: &str, peers: usize, limit: Duration) -> Option<Self> {
        if std::env::var_os(INSIDE).is_some() {
            return Some(Self::make(peers));
        }
        let unshare = ["--user", "--map-root-user", "--net", "--mount"];
        let may =
            "ip link add br0 type bridge && mount -t tmpfs none /run && mkdir /run/netns && ip netns add n1";
        let mut trial = Command::new("unshare");
        trial.args(unshare).args(["sh", "-c", may]).stdin(Stdio::null());
        match trial.output() {
            Ok(done) if done.status.success() => {}
            refused => {
                assert!(std::env::var_os(REQUIRED).is_none(), "no namespaces for networks here: {refused:?}");
                eprintln!("skipped {test}: no namespaces for networks here: {refused:?}");
                return None;
            }
        }
        let mut again = Command::new("unshare");
        again.args(unshare).arg(std::env::current_exe().expect("this program"));
        again.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").stdin(Stdio::null());
        let mut inside = Process::spawn(&mut again).expect("the process starts");
        let ended = inside.wait(limit).expect("a child can be waited for");
        assert!(
            ended.is_some_and(|status| status.success()),
            "{test} in namespaces: {ended:?} within {limit:?}"
        );
        None
    }

    fn make(peers: usize) -> Self {
        system("mount -t tmpfs none /run");
        system("mkdir /run/netns");
        system("ip link set lo up");
        for switch in ["br0", "br1"] {
            system(&format!("ip link add {switch} type bridge"));
            system(&format!("ip link set {switch} up"));
        }
        for n in 1..=peers {
            system(&format!("ip netns add n{n}"));
            system(&format!("ip link add cable{n} type veth peer name eth0 netns n{n}"));
            system(&format!("ip link set cable{n} master br0 up"));
            system(&format!("ip -n n{n} addr add 10.77.0.{n}/24 dev eth0"));
            system(&format!("ip -n n{n} link set eth0 up"));
            system(&format!("ip -n n{n} link set lo up"));
        }
        Self { peers }
    }

    /// Cuts the peers of these indices off the others. They can still talk with each other.
    pub(crate) fn cut(&self, away: &[usize]) {
        for index in away {
            system(&format!("ip link set cable{} master br1", index + 1));
        }
    }

    /// Ends the cut: every peer can talk with every other.
    pub(crate) fn mend(&self) {
        for n in 1..=self.peers {
            system(&format!("ip link set cable{n} master br0"));
        }
    }
}

/// The place of a peer in a network.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    number: usize,
}

impl Place {
    /// Returns the place of the peer of this index.
    pub(crate) fn of(index: usize) -> Self {
        Self { number: index + 1 }
    }

    /// Returns the words that run a program there.
    pub(crate) fn words(&self, program: &str) -> [String; 5] {
        ["ip", "netns", "exec", &format!("n{}", self.number), program].map(str::to_owned)
    }

    /// Returns the address by which others reach it.
    pub(crate) fn socket(&self) -> String {
        format!("10.77.0.{}:7400", self.number)
    }

    /// Runs `work` on a thread that is there.
    pub(crate) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let namespace = File::open(format!("/run/netns/n{}", self.number)).expect("a namespace");
        let there = move || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network).expect("a thread may move");
            work()
        };
        thread::scope(|scope| scope.spawn(there).join().expect("it does not panic"))
    }
}

fn system(line: &str) {
    let mut words = line.split_whitespace();
    let done = Command::new(words.next().expect("a program")).args(words).output().expect("it runs");
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
}
