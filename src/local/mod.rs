//! Clusters on this machine, for the demo and for drills: real processes, and a ledger of what they acknowledged.

mod ledger;
mod peers;

pub(super) use ledger::{Acknowledged, disagreements, lost, silent};
pub(super) use peers::{Peer, stop_all};

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The user wants it to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(super) struct Interrupted;

/// Sets the flag at SIGINT, SIGTERM or SIGHUP (a closed terminal), for as long as the returned runtime lives.
pub(super) fn watch_signals(flag: Arc<AtomicBool>) -> std::io::Result<tokio::runtime::Runtime> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let entered = runtime.enter();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = signal(SignalKind::hangup())?;
    drop(entered);
    runtime.spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        flag.store(true, Ordering::Relaxed);
    });
    Ok(runtime)
}
