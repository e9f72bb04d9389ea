//! The command line of `ringrift`: one file per command.
//!
//! The exit status is 0 for success, 1 when the command ran and the answer is no, and 2 when it could not run
//! (clap uses 2 for wrong arguments as well). A command with more exit states lists them in its help.

mod admission;
mod bench;
mod bench_events;
mod bench_learn;
mod chaos;
mod cluster;
mod demo;
mod device;
mod dlq;
pub(crate) mod engine;
mod events;
mod gpu_check;
mod matches;
mod model;
mod node;
mod peer_args;
mod players;
mod pull;
mod rules;
mod secret;
mod status;
mod win_rate;
mod work;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::{io, process::ExitCode};

/// A peer-to-peer cluster that teaches itself to play RingRift.
#[derive(Debug, Parser)]
#[command(name = "ringrift", version, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    Demo(demo::Args),
    Chaos(chaos::Args),
    Node(node::Args),
    Status(status::Args),
    Cluster(cluster::Args),
    Events(events::Args),
    Dlq(dlq::Args),
    Work(work::Args),
    Match(matches::Args),
    Model(model::Args),
    Engine(engine::Args),
    Bench(bench::Args),
    GpuCheck(gpu_check::Args),
    Rules(rules::Args),
    /// Print the completion script of a shell.
    ///
    /// Example: ringrift completions bash > ~/.local/share/bash-completion/completions/ringrift
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Runs the command line and returns its exit status.
#[must_use]
pub fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Makes this process end silently once its output is no longer read, as with `ringrift dlq show 1 | head`.
/// This is for commands that print an answer and start no other process.
#[allow(unsafe_code)]
fn end_with_the_reader() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: this installs no handler; it only restores the default action, before there is another thread.
    if let Err(error) = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) } {
        tracing::debug!(%error, "a closed pipe stays an error");
    }
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Commands::Status(_)
        | Commands::Cluster(_)
        | Commands::Dlq(_)
        | Commands::Work(_)
        | Commands::Model(_)
        | Commands::Completions { .. } => end_with_the_reader(),
        Commands::Demo(_)
        | Commands::Chaos(_)
        | Commands::Node(_)
        | Commands::Events(_) // it may follow for ever, and ends well
        | Commands::Engine(_)
        | Commands::Match(_)
        | Commands::Bench(_)
        | Commands::GpuCheck(_) // it starts other programs
        | Commands::Rules(_) => {}
    }
    match args.command {
        Commands::Demo(args) => demo::run(args),
        Commands::Chaos(args) => chaos::run(&args),
        Commands::Node(args) => node::run(args),
        Commands::Status(args) => status::run(&args),
        Commands::Cluster(args) => cluster::run(&args),
        Commands::Events(args) => events::run(&args),
        Commands::Dlq(args) => dlq::run(&args),
        Commands::Work(args) => work::run(args),
        Commands::Engine(args) => engine::run(&args),
        Commands::Match(args) => matches::run(&args),
        Commands::Model(args) => model::run(&args),
        Commands::Bench(args) => bench::run(args),
        Commands::GpuCheck(args) => gpu_check::run(&args),
        Commands::Rules(args) => rules::run(args),
        Commands::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "ringrift", &mut io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
