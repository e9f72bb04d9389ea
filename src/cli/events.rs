//! `ringrift events`: what happened, as one peer's log has it.

use crate::{
    client::{Client, ClientError},
    events::log::Logged,
};
use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    thread,
    time::Duration,
};

/// Events asked for at once.
const PAGE: usize = 500;
/// Between questions while following.
const PAUSE: Duration = Duration::from_millis(500);

/// List what happened, oldest first, from the event log of a running peer.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0, or 3 when the peer does not answer.\n\n\
    Examples:\n  ringrift events --data-dir n1\n  ringrift events --data-dir n1 --follow --json | jq -c .event")]
pub(super) struct Args {
    /// Data folder of the peer to ask.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Only events after this position of that peer's log.
    #[arg(long, default_value_t = 0)]
    since: i64,
    /// Go on with new ones until interrupted.
    #[arg(long)]
    follow: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// If the events cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match list(args) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is::<ClientError>() => {
            eprintln!("error: {error:#}");
            Ok(ExitCode::from(3))
        }
        // Whoever reads has seen enough.
        Err(error)
            if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) =>
        {
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error),
    }
}

fn list(args: &Args) -> anyhow::Result<()> {
    let client = Client::of_folder(&args.data_dir)?;
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

/// Position, time of day (UTC), name, payload.
fn line(logged: &Logged) -> anyhow::Result<String> {
    let seconds = logged.at_ms.div_euclid(1000).rem_euclid(86_400);
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let body = serde_json::to_value(&logged.event)?;
    let name = logged.event.name();
    let payload = &body[name];
    Ok(format!("{:>7} {h:02}:{m:02}:{s:02} {name:<28} {payload}", logged.position))
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
            event,
        };
        let line = line(&logged).unwrap();
        assert!(line.starts_with("      7 01:02:03 HOST_ONLINE "), "{line}");
        assert!(line.ends_with(r#"{"host":"h","node_id":"node-2","timestamp":1.5}"#), "{line}");
    }
}
