//! `ringrift events`: shows what happened by one peer's log, shows who emits and handles what, and emits
//! events by hand.

use super::peer_args;
use crate::{
    api::events::Injection,
    client::Client,
    events::{self, EventRowHandler, Logged},
};
use anyhow::Context as _;
use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

/// Most events in one request.
const PAGE: usize = 500;
/// Pause between two requests while following.
const PAUSE: Duration = Duration::from_millis(500);

/// List events, oldest first, from the event log of a running peer.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Exit status: 0, 1 when the peer refuses, 2 for wrong \
    arguments, or 3 when the peer does not answer.\n\n\
    Examples:\n  ringrift events --data-dir n1\n  ringrift events --data-dir n1 --follow --json | jq -c .event\n  \
    ringrift events --map\n  \
    ringrift events emit HOST_OFFLINE --payload '{\"node_id\": \"node-3\"}' --data-dir n1"
)]
pub(super) struct Args {
    #[command(subcommand)]
    what: Option<EventsCommand>,
    /// Data folder of the peer to ask.
    #[arg(long, value_name = "DIR", required_unless_present = "map")]
    data_dir: Option<PathBuf>,
    /// Print which daemons emit and handle which event, and what they do about it.
    #[arg(long, conflicts_with_all = ["since", "follow"])]
    map: bool,
    /// List only events after this position of that peer's log.
    #[arg(long, default_value_t = 0)]
    since: i64,
    /// Go on with new events until interrupted.
    #[arg(long)]
    follow: bool,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum EventsCommand {
    /// Emit an event by hand, marked as injected, at every peer.
    ///
    /// The event has the same effect as one that the cluster emits. Only a
    /// user who can read the data folder may emit it.
    Emit {
        /// Name of the event, as `ringrift events --map` lists it.
        event: String,
        /// Payload as a JSON object. A missing `timestamp` becomes the
        /// present time, and a missing `node_id` the peer's name, but an
        /// event of a host must say which host.
        #[arg(long, value_name = "JSON")]
        payload: String,
        /// Data folder of the peer that emits the event.
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
    },
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let outcome = match (&args.what, &args.data_dir) {
        (Some(EventsCommand::Emit { event, payload, data_dir }), _) => emit(event, payload, data_dir),
        (None, Some(data_dir)) if !args.map => list(args, data_dir),
        (None, _) => map(args.json),
    };
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // The reader has seen enough and closed the pipe.
        Err(error)
            if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) =>
        {
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => peer_args::unanswered(error),
    }
}

fn emit(event: &str, payload: &str, data_dir: &Path) -> anyhow::Result<()> {
    let payload = serde_json::from_str(payload).context("the payload is no JSON")?;
    let injection = Injection { event: event.to_owned(), payload };
    let emitted = Client::of_folder(data_dir)?.emit(&injection)?;
    println!("{}", serde_json::to_string(&emitted)?);
    Ok(())
}

fn map(json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(&events::rows().collect::<Vec<_>>())?);
        return Ok(());
    }
    for row in events::rows() {
        let emitters: Vec<&str> = row.emitters.iter().map(|emitter| emitter.name()).collect();
        let emitters = if emitters.is_empty() { "operators only".to_owned() } else { emitters.join(", ") };
        println!("{} <- {emitters}", row.event.name());
        for EventRowHandler { handles, file } in row.handlers {
            println!("    -> {}: {} ({file})", handles.daemon.name(), handles.effect);
        }
    }
    Ok(())
}

fn list(args: &Args, data_dir: &Path) -> anyhow::Result<()> {
    let client = Client::of_folder(data_dir)?;
    let mut position = args.since;
    let mut out = io::stdout().lock();
    loop {
        let page = client.events(position, PAGE)?;
        for logged in &page {
            position = logged.position;
            if args.json {
                writeln!(out, "{}", serde_json::to_string(logged)?)?;
            } else {
                writeln!(out, "{}", line(logged)?)?;
            }
        }
        match (page.is_empty(), args.follow) {
            (true, false) => return Ok(()),
            (true, true) => thread::sleep(PAUSE),
            (false, _) => {}
        }
    }
}

/// One line: position, time of day (UTC), name, payload.
fn line(logged: &Logged) -> anyhow::Result<String> {
    let seconds = logged.at_ms.div_euclid(1000).rem_euclid(86_400);
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let body = serde_json::to_value(&logged.event)?;
    let name = logged.event.name();
    let payload = &body[name];
    let mark = if logged.injected { " (injected)" } else { "" };
    Ok(format!("{:>7} {h:02}:{m:02}:{s:02} {name:<28} {payload}{mark}", logged.position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Event, HostOnline};

    #[test]
    fn a_line_has_position_time_name_and_payload() {
        let event =
            Event::HostOnline(HostOnline { node_id: "node-2".into(), host: "h".into(), timestamp: 1.5 });
        let logged = Logged {
            position: 7,
            origin: "raft".into(),
            epoch: 0,
            sequence: 16,
            at_ms: 86_400_000 + 3_723_000,
            flow: "cluster".into(),
            flow_previous: None,
            causes: Vec::new(),
            subject: None,
            injected: false,
            event,
        };
        let line = line(&logged).unwrap();
        assert!(line.starts_with("      7 01:02:03 HOST_ONLINE "), "{line}");
        assert!(line.ends_with(r#"{"host":"h","node_id":"node-2","timestamp":1.5}"#), "{line}");
    }
}
