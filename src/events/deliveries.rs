//! What every handler has yet to see and what it could not handle, for asynchronous callers.
//!
//! Invariant: the database is used on threads that may block, and at most `DATABASE_MAX` times at once. So
//! a handler that hangs keeps nobody waiting, although there are as many lanes as handlers times flows.

use super::{LogError, dlq::DeadLetter, inbox::Inbox};
use crate::{api::events::HandlerStatus, clock::now_ms_i64};
use std::{path::Path, sync::Arc};
use tokio::sync::Semaphore;

/// Uses of the database at once.
const DATABASE_MAX: usize = 4;

/// The handlers' side of `node.db`. Cheap to clone.
#[derive(Clone)]
pub struct Deliveries {
    inbox: Arc<Inbox>,
    permits: Arc<Semaphore>,
}

impl Deliveries {
    /// For the log at `path`.
    ///
    /// # Errors
    /// [`LogError`] when the database cannot be opened.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let (inbox, permits) = (Arc::new(Inbox::open(path)?), Arc::new(Semaphore::new(DATABASE_MAX)));
        Ok(Self { inbox, permits })
    }

    /// Uses the database on a thread that may block.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Inbox) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let inbox = Arc::clone(&self.inbox);
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        tokio::task::spawn_blocking(move || run(&inbox)).await.unwrap_or(Err(LogError::TaskPanicked))
    }

    /// The dead letters after number `after`, a page of them, oldest first.
    ///
    /// # Errors
    /// [`LogError`] when the database cannot be read.
    pub async fn dead_letters(&self, after: i64) -> Result<Vec<DeadLetter>, LogError> {
        self.with(move |inbox| inbox.letters(0, after)).await
    }

    /// One dead letter.
    ///
    /// # Errors
    /// [`LogError`] when the database cannot be read.
    pub async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, LogError> {
        self.with(move |inbox| inbox.letter(id)).await
    }

    /// Drops dead letters older than this, or all; says how many.
    ///
    /// # Errors
    /// [`LogError`] when the database cannot be written.
    pub async fn purge(&self, max_age_hours: Option<u64>) -> Result<u64, LogError> {
        let before = max_age_hours.map_or(i64::MAX, hours_ago);
        self.with(move |inbox| inbox.purge(before)).await
    }

    /// How every handler stands, and how many dead letters there are.
    ///
    /// # Errors
    /// [`LogError`] when the database cannot be read.
    pub async fn status(&self) -> Result<(Vec<HandlerStatus>, u64), LogError> {
        self.with(|inbox| Ok((inbox.status()?, inbox.dead_count()?))).await
    }
}

/// The time so many hours ago, in milliseconds since the epoch.
pub(super) fn hours_ago(hours: u64) -> i64 {
    now_ms_i64().saturating_sub(i64::try_from(hours.saturating_mul(3_600_000)).unwrap_or(i64::MAX))
}
