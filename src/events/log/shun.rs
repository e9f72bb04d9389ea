//! Origins that said two things under one number: what this node knows of them, and what it tells others.
//!
//! Invariant: nothing more of such an origin is taken, and what was taken before stays. The proof is in a
//! synced table before anybody is told, and goes to every peer that does not know of it yet.

use super::EventLog;
use crate::events::{
    LogError,
    envelope::{EventId, EventRefusal},
    equivocation::Equivocation,
    repair::PROOFS_MAX,
    writer::shunned,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::watch;

/// The origins that are shunned, each with the number under which it said two things.
pub type Shunned = Arc<BTreeMap<String, EventId>>;

/// What became of accusations.
#[derive(Debug, Default)]
pub struct Accused {
    /// Those that were news.
    pub new: Vec<EventId>,
    /// Those that prove nothing.
    pub refused: Vec<EventRefusal>,
}

impl EventLog {
    /// Follows who is shunned.
    #[must_use]
    pub fn shunned(&self) -> watch::Receiver<Shunned> {
        self.shunned.subscribe()
    }

    /// Whether no more events of an origin are taken. This node hears its own, whatever others know of it.
    #[must_use]
    pub fn is_shunned(&self, origin: &str) -> bool {
        origin != self.origin && self.shunned.borrow().contains_key(origin)
    }

    /// Whether nothing more of an epoch is taken, because its origin was pardoned for what it said in it.
    #[must_use]
    pub fn is_pardoned(&self, origin: &str, epoch: i64) -> bool {
        let pardoned = self.pardoned.lock();
        !pardoned.is_empty() && pardoned.contains(&(origin.to_owned(), epoch))
    }

    /// Shuns no more for what was said in these epochs, of which nothing more is taken. If one is this node's
    /// own, it goes on under another, into which it takes what nobody has taken of it since its start.
    ///
    /// # Errors
    /// [`LogError`]; then nothing was changed.
    pub fn pardon(&self, epochs: &[(String, i64)]) -> Result<(), LogError> {
        let news = |(origin, epoch): &&(String, i64)| !self.is_pardoned(origin, *epoch);
        let news: Vec<&(String, i64)> = epochs.iter().filter(news).collect();
        if news.is_empty() {
            return Ok(());
        }
        let anew = self.write(|writer| {
            for (origin, epoch) in &news {
                writer.pardon(origin, *epoch)?;
            }
            let (epoch, _) = writer.emitter()?;
            let mine = news.iter().any(|it| (&it.0, it.1) == (&self.origin, epoch));
            if mine {
                self.begin_anew(writer, self.emitted_since(epoch))?;
            }
            Ok(mine)
        })?;
        if anew {
            self.tells_all();
        }
        self.pardoned.lock().extend(news.into_iter().cloned());
        self.look_who_is_shunned()
    }

    /// Checks proofs that somebody brought, and shuns those whom they prove to lie. `is_member` says which
    /// origins may speak at all.
    ///
    /// # Errors
    /// [`LogError`]; then nothing was kept.
    pub fn accuse(
        &self,
        proofs: &[Equivocation],
        is_member: impl Fn(&str) -> bool,
    ) -> Result<Accused, LogError> {
        let (mut accused, mut good) = (Accused::default(), Vec::new());
        for proof in proofs {
            match proof.check() {
                Ok(id) if !is_member(&id.origin) => accused.refused.push(EventRefusal::Stranger(id.origin)),
                Ok(id) => good.push((id, proof)),
                Err(refused) => accused.refused.push(refused),
            }
        }
        good.retain(|(id, _)| {
            !self.shunned.borrow().contains_key(&id.origin) && !self.is_pardoned(&id.origin, id.epoch)
        });
        if good.is_empty() {
            return Ok(accused);
        }
        self.write(|writer| {
            for (id, proof) in good {
                if writer.shun(&id, proof)? {
                    accused.new.push(id);
                }
            }
            Ok(())
        })?;
        self.look_who_is_shunned()?;
        Ok(accused)
    }

    /// The proofs that a peer lacks which knows of the origins `known`, as many as one answer holds.
    pub(super) fn proofs(
        &self,
        connection: &rusqlite::Connection,
        known: &BTreeSet<String>,
    ) -> Result<Vec<Equivocation>, LogError> {
        let shunned = Arc::clone(&self.shunned.borrow());
        let lacking = shunned.keys().filter(|origin| !known.contains(*origin)).take(PROOFS_MAX);
        let proofs = lacking.map(|origin| shunned::proof(connection, origin));
        Ok(proofs.filter_map(Result::transpose).collect::<Result<_, _>>()?)
    }

    /// Reads the table of those who are shunned, and tells the parts that follow it.
    pub(super) fn look_who_is_shunned(&self) -> Result<(), LogError> {
        let all = shunned::all(&self.reader.lock())?;
        for id in all.iter().filter(|id| !self.shunned.borrow().contains_key(&id.origin)) {
            if id.origin == self.origin {
                tracing::error!(%id, "others shun this node: it said two things under one number");
            } else {
                tracing::error!(%id, "a member said two things under one number and is shunned");
            }
        }
        self.shunned.send_replace(Arc::new(all.into_iter().map(|id| (id.origin.clone(), id)).collect()));
        Ok(())
    }
}
