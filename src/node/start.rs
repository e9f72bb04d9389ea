//! How a node starts, runs and shuts down.

use super::{
    admission,
    descriptors::{self, Shares},
    error::NodeError,
    founding::Tell,
    options::{NodeOptions, Told},
    stages::{Tasks, join, listen, work},
};
use crate::{
    devices::Devices,
    peer::Context,
    store::{DataFolder, folder},
};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, runtime::Handle, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// How long tasks may take to end at the shutdown.
const GRACE: Duration = Duration::from_secs(10);

/// Runs a node until `shutdown`. p2p and Raft run on `core`, the rest on the current runtime. `tell` is
/// called once the node listens, and again when it has founded a cluster that admits with tickets.
///
/// # Errors
/// [`NodeError`]; by then every task has ended.
pub async fn run(
    options: NodeOptions,
    core: Handle,
    shutdown: CancellationToken,
    tell: impl Fn(&Told) + Send + Sync + 'static,
) -> Result<(), NodeError> {
    options.config.validate()?;
    let shares = descriptors::raise();
    let folder = DataFolder::open(&options.data_dir, folder::FORMAT_VERSION)?;
    let listener = TcpListener::bind(options.http)
        .await
        .map_err(|source| NodeError::Http { address: options.http.to_string(), source })?;
    // Whatever happens below, all tasks end.
    let _guard = shutdown.clone().drop_guard();
    let (on_core, here) = (JoinSet::new(), JoinSet::new());
    let mut tasks = Tasks { core, on_core, here, shutdown: shutdown.clone() };
    let outcome = live(&options, folder, listener, shares, Arc::new(tell), &mut tasks).await;
    let stopping = shutdown.is_cancelled();
    shutdown.cancel();
    let ended = async {
        while tasks.here.join_next().await.is_some() {}
        while tasks.on_core.join_next().await.is_some() {}
    };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::warn!("some tasks did not end in time");
    }
    match outcome {
        // A node that is stopped while it starts finds its parts stopped, which is no failure.
        Err(error) if stopping => {
            tracing::info!(%error, "stopped before it was running");
            Ok(())
        }
        outcome => outcome,
    }
}

/// The second half of [`run`]: everything that may fail while tasks are running.
async fn live(
    options: &NodeOptions,
    folder: DataFolder,
    listener: TcpListener,
    shares: Shares,
    tell: Tell,
    tasks: &mut Tasks,
) -> Result<(), NodeError> {
    // The search for devices begins now, because the driver may take long to answer.
    let devices = Devices::find(options.config.device);
    let mut listening = listen(options, folder, listener, shares, tasks).await?;
    tell(&Told::Listens(listening.me.clone()));
    let Some(joined) = join(options, &mut listening, devices, tasks).await? else { return Ok(()) };
    let node = work(options, listening, joined, tell, tasks)?;
    tracing::info!(node = node.id.0, peer = node.p2p.peer_id(), http = %node.http, "running");
    tokio::select! {
        biased; // consensus says best why it ended
        outcome = watch_over(&node) => outcome,
        out = admission::until_out(&node) => Err(out),
        ended = first_to_end(&mut tasks.here) => unless_stopping(&node, ended),
        ended = first_to_end(&mut tasks.on_core) => unless_stopping(&node, ended),
    }
}

/// Waits until a task ends, and returns how it ended. All tasks should go on until the shutdown.
async fn first_to_end(tasks: &mut JoinSet<()>) -> String {
    match tasks.join_next().await {
        Some(Ok(())) => "a task".to_owned(),
        Some(Err(error)) => error.to_string(),
        None => "every task".to_owned(),
    }
}

fn unless_stopping(node: &Context, ended: String) -> Result<(), NodeError> {
    if node.shutdown.is_cancelled() { Ok(()) } else { Err(NodeError::Ended(ended)) }
}

/// Returns when the node should end, or cannot go on.
async fn watch_over(node: &Context) -> Result<(), NodeError> {
    let mut metrics = node.raft.metrics();
    loop {
        if let Some(why) = metrics.borrow_and_update().failed.clone()
            && !node.shutdown.is_cancelled()
        {
            return Err(NodeError::Consensus(why));
        }
        match node.shutdown.run_until_cancelled(metrics.changed()).await {
            None => return Ok(()),
            Some(Ok(())) => {}
            Some(Err(_)) if node.shutdown.is_cancelled() => return Ok(()),
            Some(Err(_)) => return Err(NodeError::Ended("consensus".to_owned())),
        }
    }
}
