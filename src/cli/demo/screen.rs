//! What the demo shows: on a terminal a line per peer that is redrawn, and elsewhere one line per change.

use super::summary::{DemoSummary, ExamResult};
use crate::{api::status::Status, local::Peer};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

/// Pause between two lines where nothing can be redrawn.
const LINE_EVERY: Duration = Duration::from_secs(15);

pub(super) struct Screen {
    multi: MultiProgress,
    lines: Vec<ProgressBar>,
    phase: ProgressBar,
    terminal: bool,
    began: Instant,
    printed: Option<Instant>,
}

impl Screen {
    pub(super) fn new(peers: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target =
            if terminal { ProgressDrawTarget::stderr_with_hz(8) } else { ProgressDrawTarget::hidden() };
        let multi = MultiProgress::with_draw_target(target);
        let style =
            ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let line = || multi.add(ProgressBar::new_spinner().with_style(style.clone()));
        let phase = line();
        let lines = (0..=peers).map(|_| line()).collect();
        Self { multi, lines, phase, terminal, began: Instant::now(), printed: None }
    }

    /// Shows what happens now.
    pub(super) fn phase(&mut self, text: &str) {
        let at = clock(self.began.elapsed());
        if self.terminal {
            self.phase.set_message(format!("{at}  {text}"));
            // A line that cannot be shown is no reason to stop.
            let _ = self.multi.println(format!("{at}  {text}"));
        } else {
            println!("{at}  {text}");
        }
    }

    pub(super) fn show(&mut self, elapsed: Duration, peers: &[Peer], statuses: &[Option<Status>]) {
        let overall = overall(statuses);
        if self.terminal {
            for ((line, peer), status) in self.lines.iter().zip(peers).zip(statuses) {
                line.set_message(peer_line(&peer.name, status.as_ref()));
            }
            if let Some(last) = self.lines.last() {
                last.set_message(format!("{}  {overall}", clock(elapsed)));
            }
        } else if self.printed.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
            self.printed = Some(Instant::now());
            println!("{}  {overall}", clock(elapsed));
        }
    }

    pub(super) fn finish(&self) {
        // A failure affects only the screen.
        let _ = self.multi.clear();
    }
}

fn clock(elapsed: Duration) -> String {
    format!("{:02}:{:02}", elapsed.as_secs() / 60, elapsed.as_secs() % 60)
}

fn peer_line(name: &str, status: Option<&Status>) -> String {
    let Some(status) = status else { return format!("  {name}  does not answer") };
    let role = status.nodes.iter().find(|node| node.host == name).map_or("?", |node| node.role.as_str());
    let config = status.configs.first();
    let champion = config
        .map_or_else(|| "-".to_owned(), |c| format!("{} (generation {})", c.champion.short(), c.generation));
    let work = &status.work;
    let doing = if let Some(training) = &work.training {
        let (done, of) = (training.epochs_completed, training.total_epochs);
        format!("trains, pass {done} of {of}, loss {:.3}", training.loss)
    } else if let Some(evaluation) = &work.evaluation {
        format!(
            "evaluates, {}: {} games, Elo {:+.0}",
            evaluation.stage, evaluation.games, evaluation.elo_delta
        )
    } else {
        format!("plays {:.1} games/s", work.selfplay.games_per_s)
    };
    format!("  {name}  {role:<8} term {:<3} champion {champion}  {doing}", status.term)
}

fn overall(statuses: &[Option<Status>]) -> String {
    let newest = statuses.iter().flatten().max_by_key(|status| status.applied);
    let Some(status) = newest else { return "no peer answers".to_owned() };
    let speed: f64 = statuses.iter().flatten().map(|s| s.work.selfplay.games_per_s).sum();
    let leader = status.leader.as_ref().map_or("none", |leader| leader.host.as_str());
    let up = status.nodes.iter().filter(|node| node.online).count();
    let Some(config) = status.configs.first() else {
        return format!("{up} peers up, leader {leader}");
    };
    let holder = |view: &crate::api::work::LeaseView| view.node_id.clone().unwrap_or_else(|| "-".to_owned());
    let loss = config.val_loss.map_or_else(|| "-".to_owned(), |loss| format!("{loss:.3}"));
    format!(
        "{up} peers up, leader {leader}, {speed:.0} games/s, {} games, generation {}, Elo {:.0}, loss {loss}, training {}, evaluation {}",
        config.games_total,
        config.generation,
        config.elo,
        holder(&config.training),
        holder(&config.evaluation)
    )
}

pub(super) fn print_summary(summary: &DemoSummary) {
    println!("\n{}", if summary.ok { "OK" } else { "NOT OK" });
    println!("  promotions          {}", summary.promotions);
    for (peer, champion) in &summary.champion {
        println!("  champion of {peer:<7} {champion}");
    }
    if let Some(ExamResult { won, games }) = &summary.win_rate_vs_random {
        println!(
            "  against random      {:.1} % of {} games won (95 %: {:.1} to {:.1})",
            won.mean * 100.0,
            games,
            won.low * 100.0,
            won.high * 100.0
        );
    }
    println!("  games kept          {}", summary.games);
    let seconds = |s: Option<f64>| s.map_or_else(|| "-".to_owned(), |s| format!("{s:.2} s"));
    println!("  first promotion     {}", seconds(summary.first_promotion_s));
    println!("  without a leader    {}", seconds(summary.leaderless_s));
    println!("  whole demo          {:.0} s", summary.seconds);
    for thing in &summary.lost {
        println!("  LOST                {thing}");
    }
    for problem in &summary.problems {
        println!("  PROBLEM             {problem}");
    }
}
