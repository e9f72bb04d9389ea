//! Asks a running node through its HTTP interface, which its data folder names.

use crate::{
    events::log::Logged,
    http::{Audit, Trouble},
    node::status::{LeaderReport, Status},
    store::{FolderError, Running},
};
use serde::de::DeserializeOwned;
use std::{path::Path, time::Duration};

/// How long a node may take to answer.
const WAIT: Duration = Duration::from_secs(4);
/// An audit reads everything.
const AUDIT: Duration = Duration::from_secs(120);
/// Largest answer.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// No node runs on the folder.
    #[error("no node runs on {0}: start it with `ringrift node --data-dir {0}`")]
    NotRunning(String),
    /// The node runs but cannot answer yet.
    #[error("the node is not ready: {0}")]
    NotReady(String),
    /// No answer, or one that makes no sense.
    #[error("the node at {url} does not answer")]
    Http {
        /// Where.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
}

/// A running node.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
}

impl Client {
    /// The node that runs on a data folder.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`], or a folder that is none.
    pub fn of_folder(path: &Path) -> Result<Self, ClientError> {
        match Running::find(path)? {
            Running::Yes(runtime) => Ok(Self { base: runtime.http }),
            Running::Starting => Err(ClientError::NotReady("it is starting".to_owned())),
            Running::Stale(_) | Running::No => Err(ClientError::NotRunning(path.display().to_string())),
        }
    }

    /// How things stand.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status", WAIT)
    }

    /// Who leads.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn leader(&self) -> Result<LeaderReport, ClientError> {
        self.get("/v1/leader", WAIT)
    }

    /// Events after a position of this node's log, oldest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn events(&self, since: i64, limit: usize) -> Result<Vec<Logged>, ClientError> {
        self.get(&format!("/v1/events?since={since}&limit={limit}"), WAIT)
    }

    /// What the node really has.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn audit(&self) -> Result<Audit, ClientError> {
        self.get("/v1/audit", AUDIT)
    }

    fn get<T: DeserializeOwned>(&self, path: &str, wait: Duration) -> Result<T, ClientError> {
        let url = format!("{}{path}", self.base);
        let failed = |source: ureq::Error| ClientError::Http { url: url.clone(), source: Box::new(source) };
        // A proxy of the environment does not know this host's loopback interface.
        let config = ureq::get(&url).config().proxy(None).timeout_global(Some(wait));
        let request = config.http_status_as_error(false).build();
        let mut answer = request.call().map_err(failed)?;
        let ok = answer.status().is_success();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        if ok {
            body.read_json().map_err(failed)
        } else {
            Err(ClientError::NotReady(body.read_json::<Trouble>().map_err(failed)?.error))
        }
    }
}
