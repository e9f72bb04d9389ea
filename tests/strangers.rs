//! Outsiders: whoever does not know the secret, or says nothing, keeps nobody out and costs little.

use crate::support::{Peer, SOON, turn, until, when};
use p2p::{KeyRing, P2p, P2pConfig, P2pHandle};
use ringrift::api::status::Status;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
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
/// How many times it is asked, of which half must be answered in time, and each within ten times that.
const ASKED: usize = 51;
/// What strangers may cost in memory, in KiB: what the node holds grows by no more, however many come.
const MEMORY_KIB: u64 = 32 << 10;
/// The pause between two looks of a crowd at its sockets.
const LOOK: Duration = Duration::from_millis(20);

/// Sockets that are held open by a stranger, who replaces each that is closed.
struct Crowd {
    stop: Option<mpsc::Sender<()>>,
    opened: Arc<AtomicUsize>,
    holder: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Opens `count` sockets that send `bytes`, which may be none, and nothing more.
    fn gather(address: SocketAddr, count: usize, bytes: &'static [u8]) -> Self {
        let (stop, over) = mpsc::channel();
        let opened = Arc::new(AtomicUsize::new(0));
        let tally = Arc::clone(&opened);
        let holder = thread::spawn(move || {
            let mut sockets: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
            while over.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                for socket in &mut sockets {
                    if socket.as_mut().is_none_or(is_closed) {
                        *socket = open(address, bytes);
                        tally.fetch_add(usize::from(socket.is_some()), Ordering::SeqCst);
                    }
                }
            }
        });
        let crowd = Self { stop: Some(stop), opened, holder: Some(holder) };
        until("the crowd is there", SOON, || {
            let opened = crowd.opened.load(Ordering::SeqCst);
            when(opened >= count, (), || format!("{opened} sockets of {count}"))
        });
        crowd
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.take();
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

/// A ticket for one host.
fn ticket(of: &Peer) -> String {
    let ended = of.read(&["cluster", "ticket", "--uses", "1"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout.trim().to_owned()
}

/// A host joins in time with a ticket, and the founder answers in time.
fn a_host_joins_and_status_answers(root: &Path, founder: &Peer, name: &str, ticket: &str) {
    let before = founder.status().expect("it answers").nodes.len();
    let mut member = Peer::new(root, name, SETTINGS);
    let began = Instant::now();
    member.spawn(None, &["--bootstrap", ticket]);
    until("the member is in", SOON, || {
        let known = founder.status()?.nodes.len();
        when(known > before, (), || format!("{known} nodes"))
    });
    let joined = began.elapsed();
    let client = founder.client().expect("it runs");
    let mut took: Vec<Duration> = (0..ASKED)
        .map(|_| {
            let began = Instant::now();
            client.status().expect("it answers");
            began.elapsed()
        })
        .collect();
    took.sort();
    let (median, most) = (took[ASKED / 2], took[ASKED - 1]);
    eprintln!("{name} joined in {joined:?}; status took {median:?}, at most {most:?}");
    assert!(joined < JOIN, "{joined:?}");
    assert!(median < ANSWER && most < 10 * ANSWER, "{took:?}");
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

/// What the process holds has not grown by more than strangers may cost.
fn is_flat(peer: &Peer, before: u64) {
    let now = memory_kib(pid_of(peer));
    eprintln!("{before} KiB before, {now} KiB now");
    assert!(now < before + MEMORY_KIB, "{before} KiB before, {now} KiB now");
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
    let [alone, among_64, among_2000] = [(); 3].map(|()| ticket(&founder));
    a_host_joins_and_status_answers(root.path(), &founder, "alone", &alone);
    {
        let _silent = Crowd::gather(p2p, 64, b"");
        a_host_joins_and_status_answers(root.path(), &founder, "among-64", &among_64);
    }
    let before = memory_kib(pid_of(&founder));
    let _silent = Crowd::gather(p2p, 1000, b"");
    let _half = Crowd::gather(http, 1000, b"GET /v1/status HTTP/1.1\r\nhost: ");
    let many = |status: &Status| status.refused.http > 500 && status.refused.p2p > 500;
    founder.until_status("most of the crowd were refused", many);
    a_host_joins_and_status_answers(root.path(), &founder, "among-2000", &among_2000);
    assert!(founder.read(&["status"]).stdout.contains("refused "), "a line says it");
    is_flat(&founder, before);
    let told = founder.log().lines().filter(|line| line.contains("connections refused")).count();
    assert!((1..=20).contains(&told), "{told} lines");
    let (took, code) = founder.stop();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(6), "half requests do not hold up the shutdown: {took:?}");
}

/// Strangers who know the name of the cluster, and neither a secret nor a ticket.
async fn strangers(
    folder: &Path,
    address: &str,
    tasks: &mut JoinSet<()>,
    over: CancellationToken,
) -> P2pHandle {
    let strangers = P2pConfig {
        key_path: folder.join("stranger.key"),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        bootstrap: vec![address.parse().unwrap(); 200],
        keys: KeyRing::new("ringrift"),
        boot: 1,
        topics: vec![],
        direct_topics: vec![],
        pending_max: 64,
        members_max: 64,
        blob_dir: folder.join("blobs"),
    };
    P2p::start(strangers, tasks, over).await.unwrap().0
}

#[test]
fn a_thousand_without_the_secret_are_not_admitted_while_hosts_join_with_tickets() {
    let _turn = turn();
    may_open_many();
    let root = tempfile::tempdir().unwrap();
    let mut founder = Peer::new(root.path(), "n1", SETTINGS);
    founder.start(None);
    let address = founder.address();
    founder.until_status("it leads", |status| status.leader.is_some());
    let hosts = [(); 4].map(|()| ticket(&founder));
    a_host_joins_and_status_answers(root.path(), &founder, "host-0", &hosts[0]);
    let before = memory_kib(pid_of(&founder));

    let runtime = Runtime::new().unwrap();
    let (mut tasks, over) = (JoinSet::new(), CancellationToken::new());
    let stranger = runtime.block_on(strangers(root.path(), &address, &mut tasks, over.clone()));
    for (number, ticket) in hosts.iter().enumerate().skip(1) {
        let refused = 250 * number as u64;
        founder.until_status("strangers come", |status| status.refused.p2p >= refused);
        a_host_joins_and_status_answers(root.path(), &founder, &format!("host-{number}"), ticket);
    }
    let status = founder.until_status("a thousand were refused", |status| status.refused.p2p >= 1000);
    let mut names: Vec<&str> = status.nodes.iter().map(|node| node.host.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["host-0", "host-1", "host-2", "host-3", "n1"], "those with tickets and nobody else");
    assert!(stranger.peers().borrow().is_empty(), "no stranger was let in");
    eprintln!("{} refused", status.refused.p2p);
    is_flat(&founder, before);
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
