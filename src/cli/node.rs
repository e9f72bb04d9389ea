//! `ringrift node`: runs one peer until it is told to stop.

use super::{device::DeviceArgs, secret};
use crate::{
    config::Settings,
    node::{self, NodeOptions, Ready},
};
use anyhow::Context as _;
use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Threads of each of the two runtimes: one for p2p with Raft, and one for the rest.
const THREADS: usize = 2;
/// How long blocked threads may delay the end of a process that has finished.
const LINGER: Duration = Duration::from_secs(2);

/// Run a peer until it is interrupted.
///
/// The first peer of a cluster is started without --bootstrap and prints the line that others
/// join with. A peer that was a member before finds its cluster again by itself. Settings are
/// read from ringrift.toml in the data folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ringrift node --data-dir n1\n  \
    ringrift node --data-dir n2 --bootstrap /ip4/127.0.0.1/tcp/40123/p2p/12D3KooW...\n  \
    ringrift node --data-dir /var/lib/ringrift --listen 0.0.0.0:7400 --secret-file /etc/ringrift/secret\n  \
    ringrift node --data-dir n3 --device cuda:1\n\n\
    Exit status: 0 when told to stop, 2 when it cannot start or go on.")]
pub(super) struct Args {
    /// Data folder of this peer; it is created if it does not exist.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Address of any peer of the cluster to join, as that peer prints it. The option may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    bootstrap: Vec<String>,
    /// Address to listen on for peers. Without this option: the loopback interface, at the port of last
    /// time or a free one.
    #[arg(long, value_name = "IP:PORT")]
    listen: Vec<SocketAddr>,
    /// Address of the HTTP interface.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    http: SocketAddr,
    /// Name of the cluster. Peers of another cluster are refused.
    #[arg(long, default_value = "ringrift", value_parser = cluster_name)]
    cluster: String,
    /// File with the cluster's secret, the same on every host: at least 128 random bits. Peers without it
    /// are refused. Whoever listens on more than the loopback interface needs one.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Name of this host, as people read it. Without this option: the system's host name.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Write the log as JSON lines.
    #[arg(long)]
    log_json: bool,
    /// Stop when the parent process ends.
    #[arg(long, hide = true)]
    exit_with_parent: bool,
}

fn cluster_name(text: &str) -> Result<String, String> {
    let ok = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if ok { Ok(text.to_owned()) } else { Err("1 to 64 letters, digits, '-', '_' or '.'".to_owned()) }
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    log_to_stderr(args.log_json);
    if args.exit_with_parent {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
            .context("cannot follow the parent process")?;
    }
    let settings = args.data_dir.join("ringrift.toml");
    let mut config = Settings::load(&settings)?;
    config.device = args.device.device.unwrap_or(config.device);
    config.validate().with_context(|| format!("correct {}", settings.display()))?;
    let secret = match &args.secret_file {
        Some(path) => secret::read(path)?,
        None => {
            secret::needed_for(&args.listen)?;
            String::new()
        }
    };
    let options = NodeOptions {
        data_dir: args.data_dir,
        bootstrap: args.bootstrap,
        listen: args.listen.iter().map(multiaddress).collect(),
        http: args.http,
        cluster: format!("{}/{secret}", args.cluster),
        name: args.name.unwrap_or_else(host_name),
        config,
    };
    let core = runtime("core")?;
    let work = runtime("work")?;
    let shutdown = CancellationToken::new();
    let outcome = work.block_on(async {
        let signals = shutdown.clone();
        let stop = tokio::spawn(async move {
            if let Err(error) = interrupted().await {
                tracing::error!(%error, "cannot listen for signals");
            }
            tracing::info!("stopping");
            signals.cancel();
        });
        let outcome = node::run(options, core.handle().clone(), shutdown, announce).await;
        stop.abort();
        outcome
    });
    // Work that still blocks a thread, such as a slow disk, does not keep the process alive, because the node
    // survives worse ends.
    work.shutdown_timeout(LINGER);
    core.shutdown_timeout(LINGER);
    outcome?;
    Ok(ExitCode::SUCCESS)
}

fn runtime(name: &str) -> anyhow::Result<Runtime> {
    let built = Builder::new_multi_thread().worker_threads(THREADS).thread_name(name).enable_all().build();
    built.context("cannot start the runtime")
}

fn multiaddress(address: &SocketAddr) -> String {
    let family = if address.is_ipv4() { "ip4" } else { "ip6" };
    format!("/{family}/{}/tcp/{}", address.ip(), address.port())
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Prints what a person, or a script, needs first.
fn announce(ready: &Ready) {
    println!("peer     {}", ready.peer_id);
    println!("http     http://{}", ready.http);
    for address in &ready.addrs {
        println!("join     ringrift node --data-dir DIR --bootstrap {address}");
    }
}

fn log_to_stderr(json: bool) {
    let filter = EnvFilter::try_from_env("RINGRIFT_LOG").unwrap_or_else(|_| {
        EnvFilter::new("info,openraft=error,libp2p=warn,libp2p_gossipsub=error,libp2p_swarm=warn")
    });
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    // A subscriber that is already set serves as well.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}

/// Returns at the first SIGINT or SIGTERM.
async fn interrupted() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome,
        _ = terminate.recv() => Ok(()),
    }
}
