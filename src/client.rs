//! Asks a running node through its HTTP interface, which its data folder names.
//!
//! A method is a request of [`crate::api`] and its answer. Each fails with a [`ClientError`]. A request shows
//! the token of the data folder: one that changes something or costs much needs it, and one that reads shows
//! it if it can be read.

use crate::{
    api::{
        ErrorBody,
        admission::{
            IssuedTicket, Operators, Removal, Revocation, SecretOrder, SecretView, ShutOutView, TicketOrder,
            TicketView,
        },
        cluster::{Drain, LeaderReport, NodeView, PardonOrder, Pardoned},
        content::{Audit, Pulled},
        dead_letters::{DeadLetter, LetterFilter, NodeLetters},
        events::{Commit, Drill, Drilled, Injection},
        models::{ChampionMoved, ChampionOrder, ModelView},
        status::Status,
        work::{Cancellation, Cancelled, QueueItem},
    },
    events::{Event, Logged},
    store::{FolderError, Running, token},
};
use cluster_state::ConfigKey;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use wire::Hash;

/// How long a node may take to answer.
const WAIT: Duration = Duration::from_secs(4);
/// A drill lasts up to 30 s.
const DRILL: Duration = Duration::from_secs(60);
/// A decision waits for a leader.
const DECIDE: Duration = Duration::from_secs(20);
/// An audit reads everything.
const AUDIT: Duration = Duration::from_secs(120);
/// A replay runs handlers, here and elsewhere.
const REPLAY: Duration = Duration::from_secs(40);
/// A pull tries every way there is.
const PULL: Duration = Duration::from_secs(400);
/// How often a request that only reads is sent when its connection breaks.
const GET_ATTEMPTS: u32 = 4;
/// Largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The path is no data folder, or cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// No node runs on the folder.
    #[error("no node runs on {0}: start it with `ringrift node --data-dir {0}`")]
    NotRunning(String),
    /// The node runs but cannot answer yet.
    #[error("the node is not ready: {0}")]
    NotReady(String),
    /// The node says no.
    #[error("{0}")]
    Refused(String),
    /// The node's token cannot be read.
    #[error("cannot read the token in {path}: only who owns the data folder can change something")]
    Token {
        /// The data folder.
        path: PathBuf,
        source: std::io::Error,
    },
    /// There is no answer, or one that cannot be read.
    #[error("the node at {url} does not answer")]
    Http { url: String, source: Box<ureq::Error> },
}

impl ClientError {
    /// Whether the node said no, and not merely nothing.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Folder(_)
            | Self::NotRunning(_)
            | Self::NotReady(_)
            | Self::Token { .. }
            | Self::Http { .. } => false,
        }
    }
}

/// A running node. It is cheap to clone, and keeps its connections open.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    folder: PathBuf,
    agent: ureq::Agent,
}

impl Client {
    /// The node that runs on a data folder.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`], or a folder that is none.
    pub fn of_folder(path: &Path) -> Result<Self, ClientError> {
        match Running::find(path)? {
            Running::Yes(runtime) => {
                let agent = ureq::Agent::new_with_defaults();
                Ok(Self { base: runtime.http, folder: path.to_owned(), agent })
            }
            Running::Starting => Err(ClientError::NotReady("it is starting".to_owned())),
            Running::Stale(_) | Running::No => Err(ClientError::NotRunning(path.display().to_string())),
        }
    }

    pub fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status", WAIT)
    }

    pub fn leader(&self) -> Result<LeaderReport, ClientError> {
        self.get("/v1/leader", WAIT)
    }

    pub fn members(&self) -> Result<Vec<NodeView>, ClientError> {
        self.get("/v1/members", WAIT)
    }

    /// Drains a node, or has it work again.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if there is no such node.
    pub fn drain(&self, drain: &Drain) -> Result<Drain, ClientError> {
        self.post("/v1/drain", drain, DECIDE)
    }

    /// Makes a ticket.
    pub fn issue_ticket(&self, order: &TicketOrder) -> Result<IssuedTicket, ClientError> {
        self.post("/v1/cluster/tickets", order, DECIDE)
    }

    /// The tickets that the cluster knows, the newest first.
    pub fn tickets(&self) -> Result<Vec<TicketView>, ClientError> {
        self.get("/v1/cluster/tickets", WAIT)
    }

    /// # Errors
    /// [`ClientError::Refused`] if there is no such ticket.
    pub fn revoke_ticket(&self, which: &Revocation) -> Result<TicketView, ClientError> {
        self.post("/v1/cluster/tickets/revoke", which, DECIDE)
    }

    /// Removes a member.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if there is no such member, or the cluster cannot do without it.
    pub fn remove(&self, removal: &Removal) -> Result<Removal, ClientError> {
        self.post("/v1/cluster/removed", removal, DECIDE)
    }

    /// Who was removed, the latest first.
    pub fn removed(&self) -> Result<Vec<ShutOutView>, ClientError> {
        self.get("/v1/cluster/removed", WAIT)
    }

    /// Pardons a member that is distrusted or shunned.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if there is no such member, or nothing to pardon.
    pub fn pardon(&self, order: &PardonOrder) -> Result<Pardoned, ClientError> {
        self.post("/v1/pardon", order, DECIDE)
    }

    /// What may be told of the secret.
    pub fn secret(&self) -> Result<SecretView, ClientError> {
        self.get("/v1/cluster/secret", WAIT)
    }

    /// Replaces the secret.
    pub fn rotate_secret(&self, order: &SecretOrder) -> Result<SecretView, ClientError> {
        self.post("/v1/cluster/secret", order, DECIDE)
    }

    /// At which members operators are believed.
    pub fn operators(&self) -> Result<Operators, ClientError> {
        self.get("/v1/cluster/operators", WAIT)
    }

    /// Says at which members operators are believed.
    pub fn set_operators(&self, wanted: &Operators) -> Result<Operators, ClientError> {
        self.post("/v1/cluster/operators", wanted, DECIDE)
    }

    /// Events after a position of this node's log, oldest first.
    pub fn events(&self, since: i64, limit: usize) -> Result<Vec<Logged>, ClientError> {
        self.get(&format!("/v1/events?since={since}&limit={limit}"), WAIT)
    }

    /// What the node really has: it reads everything, which takes its time.
    pub fn audit(&self) -> Result<Audit, ClientError> {
        self.post("/v1/audit", &(), AUDIT)
    }

    /// Has a model or a segment brought to the node.
    pub fn pull(&self, hash: Hash) -> Result<Pulled, ClientError> {
        self.post(&format!("/v1/blobs/{hash}/pull"), &(), PULL)
    }

    /// Emits an event as an operator.
    pub fn emit(&self, injection: &Injection) -> Result<Event, ClientError> {
        self.post("/v1/events", injection, WAIT)
    }

    /// Has the node emit events of a drill, and returns once it has.
    pub fn drill(&self, drill: &Drill) -> Result<Vec<Drilled>, ClientError> {
        self.post("/v1/events/drill", drill, DRILL)
    }

    /// When the node had events after a position of its log synced, as far as it remembers.
    pub fn commits(&self, since: i64) -> Result<Vec<Commit>, ClientError> {
        self.get(&format!("/v1/events/commits?since={since}"), WAIT)
    }

    /// Exclusive work that waits or goes on, as the node knows it.
    pub fn work(&self) -> Result<Vec<QueueItem>, ClientError> {
        self.get("/v1/work", WAIT)
    }

    /// Stops exclusive work.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if there is none of that kind.
    pub fn cancel(&self, which: &Cancellation) -> Result<Cancelled, ClientError> {
        self.post("/v1/work/cancel", which, DECIDE)
    }

    /// The node's dead letters, all of them.
    pub fn dead_letters(&self) -> Result<Vec<NodeLetters<Logged>>, ClientError> {
        let mut all: Vec<NodeLetters<Logged>> = self.get("/v1/dlq", WAIT)?;
        while let Some(own) = all.first_mut() {
            let Some(last) = own.letters.last() else { break };
            let page: Vec<NodeLetters<Logged>> = self.get(&format!("/v1/dlq?after={}", last.id), WAIT)?;
            let more = page.into_iter().flat_map(|node| node.letters).collect::<Vec<_>>();
            if more.is_empty() {
                break;
            }
            own.letters.extend(more);
        }
        Ok(all)
    }

    /// The oldest dead letters of every node.
    pub fn dead_letters_everywhere(&self) -> Result<Vec<NodeLetters<Logged>>, ClientError> {
        self.post("/v1/dlq/everywhere", &(), REPLAY)
    }

    /// # Errors
    /// [`ClientError::Refused`] if there is no such letter.
    pub fn dead_letter(&self, id: i64) -> Result<DeadLetter<Logged>, ClientError> {
        self.get(&format!("/v1/dlq/{id}"), WAIT)
    }

    /// Runs the handlers of dead letters again.
    pub fn replay(&self, which: LetterFilter) -> Result<Vec<NodeLetters<Logged>>, ClientError> {
        self.post("/v1/dlq/replay", &which, REPLAY)
    }

    /// Drops dead letters.
    pub fn purge(&self, which: LetterFilter) -> Result<Vec<NodeLetters<Logged>>, ClientError> {
        self.post("/v1/dlq/purge", &which, REPLAY)
    }

    /// Models, the newest first.
    pub fn models(
        &self,
        config_key: Option<&ConfigKey>,
        limit: usize,
    ) -> Result<Vec<ModelView>, ClientError> {
        let mut all: Vec<ModelView> =
            self.get(&format!("/v1/models?limit={limit}{}", of(config_key)), WAIT)?;
        all.truncate(limit);
        Ok(all)
    }

    /// One model, by the first hex digits of its hash.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if there is no such model.
    pub fn model(&self, name: &str) -> Result<ModelView, ClientError> {
        self.get(&format!("/v1/models/{}", plain(name)), WAIT)
    }

    /// Makes a model champion without evidence.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the cluster says no.
    pub fn promote(&self, order: &ChampionOrder) -> Result<ChampionMoved, ClientError> {
        self.post("/v1/models/promote", order, DECIDE)
    }

    /// Brings the champion before back.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the cluster says no.
    pub fn rollback(&self, order: &ChampionOrder) -> Result<ChampionMoved, ClientError> {
        self.post("/v1/models/rollback", order, DECIDE)
    }

    fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        wait: Duration,
    ) -> Result<T, ClientError> {
        let token = token::read(&self.folder)
            .map_err(|source| ClientError::Token { path: self.folder.clone(), source })?;
        let url = format!("{}{path}", self.base);
        let failed = |source: ureq::Error| ClientError::Http { url: url.clone(), source: Box::new(source) };
        let request = self.agent.post(&url).header("authorization", format!("Bearer {token}"));
        let config = request.config().proxy(None).timeout_global(Some(wait));
        let request = config.http_status_as_error(false).build();
        read(request.send_json(body).map_err(failed)?, failed)
    }

    fn get<T: DeserializeOwned>(&self, path: &str, wait: Duration) -> Result<T, ClientError> {
        let url = format!("{}{path}", self.base);
        let failed = |source: ureq::Error| ClientError::Http { url: url.clone(), source: Box::new(source) };
        // A node that starts has no token yet, and another user's is not for this one to read.
        let token = token::read(&self.folder).ok();
        let mut attempts = 1;
        loop {
            let mut request = self.agent.get(&url);
            if let Some(token) = &token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            // A proxy of the environment does not know this host's loopback interface.
            let config = request.config().proxy(None).timeout_global(Some(wait));
            match config.http_status_as_error(false).build().call() {
                // A connection that is not served yet may have had to make room for another one.
                Err(ureq::Error::Io(_)) if attempts < GET_ATTEMPTS => attempts += 1,
                answer => return read(answer.map_err(failed)?, failed),
            }
        }
    }
}

fn of(config_key: Option<&ConfigKey>) -> String {
    config_key.map(|key| format!("&config_key={}", plain(key.as_str()))).unwrap_or_default()
}

/// The name with what may stand in a URL as it is. Another name is none of ours: it is not found.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect()
}

fn read<T: DeserializeOwned>(
    mut answer: ureq::http::Response<ureq::Body>,
    failed: impl Fn(ureq::Error) -> ClientError,
) -> Result<T, ClientError> {
    let status = answer.status();
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    if status.is_success() {
        return body.read_json().map_err(failed);
    }
    let trouble = body.read_json::<ErrorBody>().map_err(failed)?.error;
    let waiting = status == ureq::http::StatusCode::SERVICE_UNAVAILABLE;
    Err(if waiting { ClientError::NotReady(trouble) } else { ClientError::Refused(trouble) })
}
