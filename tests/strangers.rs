//! Outsiders: whoever does not know the secret, or says nothing, keeps nobody out and costs little.

use crate::support::{Peer, SOON, turn, until, when};
use p2p::{KeyRing, P2p, P2pConfig};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, task::JoinSet};
use tokio_util::sync::CancellationToken;

const SETTINGS: &str = "device = \"cpu\"\n[selfplay]\nenabled = false\n";
/// How long a member may take to join, from the start of its process.
const JOIN: Duration = Duration::from_secs(2);
/// How long `status` may take to answer.
const ANSWER: Duration = Duration::from_millis(100);
/// What strangers may cost in memory, in KiB.
const MEMORY_KIB: u64 = 64 << 10;

/// Sockets that are held open by a stranger, who replaces each that is closed.
struct Crowd {
    stop: Arc<AtomicBool>,
    holder: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Opens `count` sockets that send `bytes`, which may be none, and nothing more.
    fn gather(address: SocketAddr, count: usize, bytes: &'static [u8]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&stop);
        let holder = thread::spawn(move || {
            let mut sockets: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
            while !over.load(Ordering::SeqCst) {
                for socket in &mut sockets {
                    if socket.as_mut().is_none_or(is_closed) {
                        *socket = open(address, bytes);
                    }
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self { stop, holder: Some(holder) }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.holder.take().map(JoinHandle::join);
    }
}

fn open(address: SocketAddr, bytes: &[u8]) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()?;
    stream.write_all(bytes).ok()?;
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// This process may open a few thousand sockets.
fn may_open_many() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to the hard limit");
    assert!(
        limit.current.is_none_or(|most| most >= 4096),
        "the hard limit of open files is too low: {limit:?}"
    );
}

/// A member joins in time, and the founder answers in time.
fn a_member_joins_and_status_answers(root: &Path, founder: &mut Peer, name: &str, secret: &[&str]) {
    let before = founder.status().expect("it answers").nodes.len();
    let mut member = Peer::new(root, name, SETTINGS);
    let join = founder.join_line();
    let began = Instant::now();
    member.spawn(Some(&join), secret);
    until("the member is in", SOON, || {
        let known = founder.status()?.nodes.len();
        when(known > before, (), || format!("{known} nodes"))
    });
    let joined = began.elapsed();
    let mut took: Vec<Duration> = (0..21)
        .map(|_| {
            let began = Instant::now();
            founder.status().expect("it answers");
            began.elapsed()
        })
        .collect();
    took.sort();
    eprintln!("{name} joined in {joined:?}; status took {:?}, at most {:?}", took[10], took[20]);
    assert!(joined < JOIN, "{joined:?}");
    assert!(took[10] < ANSWER, "{took:?}");
    assert_eq!(member.stop().1, Some(0));
}

pub(crate) fn http_of(peer: &Peer) -> SocketAddr {
    let runtime = fs::read_to_string(peer.folder.join("runtime.json")).expect("it runs");
    let runtime: serde_json::Value = serde_json::from_str(&runtime).expect("JSON");
    let url = runtime["http"].as_str().expect("an address");
    url.trim_start_matches("http://").parse().expect("an address")
}

pub(crate) fn pid_of(peer: &Peer) -> u64 {
    let runtime = fs::read_to_string(peer.folder.join("runtime.json")).expect("it runs");
    let runtime: serde_json::Value = serde_json::from_str(&runtime).expect("JSON");
    runtime["pid"].as_u64().expect("a number")
}

pub(crate) fn memory_kib(pid: u64) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn silent_sockets_and_half_requests_keep_nobody_out() {
    let _turn = turn();
    may_open_many();
    let root = tempfile::tempdir().unwrap();
    let mut founder = Peer::new(root.path(), "n1", SETTINGS);
    founder.start(None);
    founder.until_status("it leads", |status| status.leader.is_some());
    let (p2p, http) = (founder.socket().parse().unwrap(), http_of(&founder));
    a_member_joins_and_status_answers(root.path(), &mut founder, "alone", &[]);
    {
        let _silent = Crowd::gather(p2p, 64, b"");
        thread::sleep(Duration::from_millis(500));
        a_member_joins_and_status_answers(root.path(), &mut founder, "among-64", &[]);
    }
    let before = memory_kib(pid_of(&founder));
    let _silent = Crowd::gather(p2p, 1000, b"");
    let _half = Crowd::gather(http, 1000, b"GET /v1/status HTTP/1.1\r\nhost: ");
    thread::sleep(Duration::from_secs(2));
    a_member_joins_and_status_answers(root.path(), &mut founder, "among-2000", &[]);
    let status = founder.status().unwrap();
    assert!(status.refused.http > 500 && status.refused.p2p > 500, "{:?}", status.refused);
    assert!(founder.read(&["status"]).stdout.contains("refused "), "a line says it");
    let grown = memory_kib(pid_of(&founder)).saturating_sub(before);
    assert!(grown < MEMORY_KIB, "{grown} KiB");
    let told = founder.log().lines().filter(|line| line.contains("connections refused")).count();
    assert!((1..=20).contains(&told), "{told} lines");
    let (took, code) = founder.stop();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(6), "half requests do not hold up the shutdown: {took:?}");
}

#[test]
fn a_thousand_without_the_secret_are_not_admitted() {
    let _turn = turn();
    may_open_many();
    let root = tempfile::tempdir().unwrap();
    let secret = root.path().join("secret");
    fs::write(&secret, "5a1d5ea6d09c45c3a4b9f6b4f2b1a7e0\n").unwrap();
    let secret = ["--secret-file", secret.to_str().unwrap()];
    let mut founder = Peer::new(root.path(), "n1", SETTINGS);
    founder.spawn(None, &secret);
    let address = founder.address().parse().unwrap();
    founder.until_status("it leads", |status| status.leader.is_some());
    let before = memory_kib(pid_of(&founder));

    let runtime = Runtime::new().unwrap();
    let (mut tasks, over) = (JoinSet::new(), CancellationToken::new());
    let strangers = P2pConfig {
        key_path: root.path().join("stranger.key"),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        bootstrap: vec![address; 200],
        keys: KeyRing::new("ringrift"),
        boot: 1,
        topics: vec![],
        direct_topics: vec![],
        pending_max: 64,
        members_max: 64,
        blob_dir: root.path().join("blobs"),
    };
    let (stranger, _inbox) = runtime.block_on(P2p::start(strangers, &mut tasks, over.clone())).unwrap();
    a_member_joins_and_status_answers(root.path(), &mut founder, "n2", &secret);
    let status = founder.until_status("a thousand were refused", |status| status.refused.p2p >= 1000);
    assert_eq!(status.nodes.len(), 2, "the founder and the member");
    assert!(stranger.peers().borrow().is_empty(), "no stranger was admitted");
    let grown = memory_kib(pid_of(&founder)).saturating_sub(before);
    eprintln!("{} refused, {grown} KiB", status.refused.p2p);
    assert!(grown < MEMORY_KIB, "{grown} KiB");
    over.cancel();
    runtime.block_on(async { while tasks.join_next().await.is_some() {} });
    assert_eq!(founder.stop().1, Some(0));
}

/// The status code of the answer to a request, and its text.
pub(crate) fn asked(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer); // a connection may be reset after the answer
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_default(), answer)
}

#[test]
fn pages_of_others_and_requests_without_the_token_are_refused() {
    let _turn = turn();
    let root = tempfile::tempdir().unwrap();
    let settings = format!("{SETTINGS}[http]\nnames = [\"ring.example\"]\n");
    let mut peer = Peer::new(root.path(), "n1", &settings);
    peer.start(None);
    peer.until_status("it leads", |status| status.leader.is_some());
    let address = http_of(&peer);
    let token = fs::read_to_string(peer.folder.join("token")).unwrap();
    let check = |line: &str, headers: &str, expected: u16| {
        let request = format!("{line} HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
        let (status, answer) = asked(address, &request);
        assert_eq!(status, expected, "{request}{answer}");
    };
    let here = format!("host: {address}\r\n");
    check("GET /v1/status", &here, 200);
    check("GET /v1/status", "host: ring.example\r\n", 200);
    check("GET /v1/status", "host: evil.example\r\n", 403);
    check("GET /v1/status", &format!("{here}origin: http://evil.example\r\n"), 403);
    check("GET /v1/status", &format!("{here}origin: http://{address}\r\n"), 200);
    check("GET /v1/audit", &here, 405);
    check("GET /v1/dlq?all=true", &here, 400);
    for costly in ["POST /v1/audit", "POST /v1/dlq/everywhere"] {
        check(costly, &here, 401);
        check(costly, &format!("{here}authorization: Bearer {token}\r\n"), 200);
    }
    // A body that does not come, and one that no token is shown for.
    let began = Instant::now();
    let unfinished = format!("{here}authorization: Bearer {token}\r\ncontent-length: 9\r\n");
    check("POST /v1/events", &unfinished, 400);
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    let began = Instant::now();
    check("POST /v1/events", &format!("{here}content-length: 9\r\n"), 401);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());

    // Closed reads: the command line finds the token in the data folder.
    peer.stop();
    peer.configure(&format!("{SETTINGS}[http]\nloopback_reads = false\n"));
    peer.start(None);
    peer.until_status("it leads again", |status| status.leader.is_some());
    let (status, answer) =
        asked(http_of(&peer), "GET /v1/status HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    assert_eq!(status, 401, "{answer}");
    assert_eq!(peer.read(&["status"]).code, Some(0));
}
