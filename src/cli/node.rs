//! `ringrift node`: runs one peer until it is told to stop.

use super::{admission::duration, device::DeviceArgs, secret};
use crate::{
    config::Settings,
    node::{self, NodeOptions, TicketTerms, Told},
};
use anyhow::{Context as _, bail};
use cluster_state::admission::{
    Invitation, InvitationError, TICKET_TTL_MS_MAX, TICKET_USES_MAX, secret_of_text,
};
use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Threads of each of the two runtimes: one for p2p with Raft, and one for the rest.
const THREADS: usize = 2;
const DEFAULT_CLUSTER: &str = "ringrift";
/// How long blocked threads may delay the end of a process that has finished.
const LINGER: Duration = Duration::from_secs(2);

/// Run a peer until it is interrupted.
///
/// The first peer of a cluster is started without --bootstrap and prints the line that others
/// join with, which holds a ticket. A peer that was a member before finds its cluster again by
/// itself. Settings are read from ringrift.toml in the data folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ringrift node --data-dir n1\n  \
    ringrift node --data-dir n2 --bootstrap /ip4/127.0.0.1/tcp/40123/p2p/12D3KooW.../ticket/5a1d...\n  \
    ringrift node --data-dir /var/lib/ringrift --listen 192.0.2.10:7400\n  \
    ringrift node --data-dir /var/lib/ringrift --listen 0.0.0.0:7400 --secret-file /etc/ringrift/secret\n  \
    ringrift node --data-dir n3 --device cuda:1\n\n\
    Exit status: 0 when told to stop, 2 when it cannot start, is not let in or cannot go on.")]
pub(super) struct Args {
    /// Data folder of this peer; it is created if it does not exist.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Ticket for the cluster to join, as `ringrift cluster ticket` prints it, or the address of any of its
    /// peers, which is enough for a host that is a member already or has the secret. The option may be
    /// repeated.
    #[arg(long, value_name = "TICKET|ADDRESS")]
    bootstrap: Vec<String>,
    /// Address to listen on for peers. Without this option: the loopback interface, at the port of last
    /// time or a free one.
    #[arg(long, value_name = "IP:PORT")]
    listen: Vec<SocketAddr>,
    /// Address of the HTTP interface.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    http: SocketAddr,
    /// Name of the cluster. Peers of another cluster are refused.
    #[arg(long, default_value = DEFAULT_CLUSTER, value_parser = cluster_name)]
    cluster: String,
    /// File with a secret, the same on every host: at least 128 random bits. Whoever knows it joins without a
    /// ticket, so it is for hosts that are set up by a program. Without this option a founder makes a secret,
    /// and others join with tickets.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Number of hosts that the ticket of a founder admits.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=i64::from(TICKET_USES_MAX)))]
    ticket_uses: u32,
    /// How long the ticket of a founder admits hosts: 90s, 15m, 1h, 30d.
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = ticket_ttl)]
    ticket_ttl: Duration,
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

fn ticket_ttl(text: &str) -> Result<Duration, String> {
    let longest = Duration::from_millis(TICKET_TTL_MS_MAX);
    let ttl = duration(text)?;
    if ttl <= longest {
        Ok(ttl)
    } else {
        Err(format!("a ticket is valid for at most {} days", longest.as_secs() / 86400))
    }
}

/// The addresses of tickets and plain ones, and the tokens of the tickets.
fn addresses(bootstrap: &[String]) -> anyhow::Result<(Vec<String>, Vec<[u8; 32]>)> {
    let (mut addresses, mut tokens) = (Vec::new(), Vec::new());
    for text in bootstrap {
        match text.parse::<Invitation>() {
            Ok(invitation) => {
                addresses.push(invitation.address);
                tokens.push(invitation.token);
            }
            Err(InvitationError::NoTicket) => addresses.push(text.clone()),
            // What was given is not repeated: it may hold most of a token.
            Err(error @ (InvitationError::Token | InvitationError::Address)) => {
                bail!("--bootstrap is no ticket: {error}")
            }
        }
    }
    addresses.dedup();
    Ok((addresses, tokens))
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
    let (bootstrap, tickets) = addresses(&args.bootstrap)?;
    let secret = args.secret_file.as_deref().map(secret::read).transpose()?;
    if secret.is_none()
        && tickets.is_empty()
        && !bootstrap.is_empty()
        && !args.data_dir.join("raft.db").exists()
    {
        secret::needed_for(&args.listen)?;
    }
    let told = Announcement {
        data_dir: args.data_dir.display().to_string(),
        cluster: (args.cluster != DEFAULT_CLUSTER).then(|| args.cluster.clone()),
        by_secret: secret.is_some(),
    };
    let options = NodeOptions {
        data_dir: args.data_dir,
        bootstrap,
        listen: args.listen.iter().map(multiaddress).collect(),
        http: args.http,
        cluster: args.cluster,
        secret: secret.as_deref().map(secret_of_text),
        tickets,
        first_ticket: TicketTerms { uses: args.ticket_uses, ttl: args.ticket_ttl },
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
        let tell = move |what: &Told| told.print(what);
        let outcome = node::run(options, core.handle().clone(), shutdown, tell).await;
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

/// What a person, or a script, needs first.
struct Announcement {
    data_dir: String,
    /// The name of the cluster, if it is not the usual one.
    cluster: Option<String>,
    /// Whether the secret admits, so that an address is enough.
    by_secret: bool,
}

impl Announcement {
    fn print(&self, told: &Told) {
        match told {
            Told::Listens(ready) => {
                println!("peer     {}", ready.peer_id);
                println!("http     http://{}", ready.http);
                ready.addrs.iter().for_each(|address| println!("listens  {address}"));
                if self.by_secret {
                    ready.addrs.iter().for_each(|address| self.print_join(address));
                } else if !ready.founds {
                    println!("more     ringrift cluster ticket --data-dir {}", self.data_dir);
                }
            }
            Told::Invites(tickets) => tickets.iter().for_each(|ticket| self.print_join(ticket)),
        }
    }

    fn print_join(&self, at: &str) {
        let cluster = self.cluster.iter().map(|name| format!(" --cluster {name}")).collect::<String>();
        println!("join     ringrift node --data-dir DIR{cluster} --bootstrap {at}");
    }
}

fn log_to_stderr(json: bool) {
    let filter = EnvFilter::try_from_env("RINGRIFT_LOG").unwrap_or_else(|_| {
        // A peer can have gossipsub write an error for each message that it sends.
        EnvFilter::new("info,openraft=error,libp2p=warn,libp2p_gossipsub=off,libp2p_swarm=warn")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_an_address_and_a_token() {
        let plain = "/ip4/192.0.2.1/tcp/7400/p2p/12D3KooWx".to_owned();
        let ticket = format!("{plain}/ticket/{}", "ab".repeat(32));
        let (found, tokens) =
            addresses(&[ticket.clone(), plain.clone(), "/ip4/192.0.2.2/tcp/7400".to_owned()]).unwrap();
        assert_eq!(found, [plain, "/ip4/192.0.2.2/tcp/7400".to_owned()]);
        assert_eq!(tokens, [[0xab; 32]]);
        for wrong in [&ticket[..ticket.len() - 1], "/ticket/"] {
            let error = addresses(&[wrong.to_owned()]).unwrap_err().to_string();
            assert!(error.contains("--bootstrap is no ticket") && !error.contains("abab"), "{error}");
        }
    }

    #[test]
    fn a_ticket_is_not_valid_for_ever() {
        assert_eq!(ticket_ttl("30d"), Ok(Duration::from_secs(30 * 86400)));
        assert!(ticket_ttl("31d").is_err_and(|error| error.contains("30 days")));
        assert!(ticket_ttl("soon").is_err());
    }
}
