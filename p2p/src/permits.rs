//! Permits to be served: a number for all peers together, and a share for each.
//!
//! Invariant: a peer holds at most its share, so that one that never takes its answers leaves room for the
//! others.

use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tokio::sync::Notify;

/// Permits for all peers.
#[derive(Debug)]
pub struct PeerPermits {
    max: usize,
    per_peer_max: usize,
    taken: Mutex<HashMap<String, usize>>,
    /// Notified when one is given back.
    back: Notify,
}

/// The permission to serve one request of a peer, until it is dropped.
#[derive(Debug)]
pub struct PeerPermit {
    all: Arc<PeerPermits>,
    peer: String,
}

impl PeerPermits {
    /// `max` permits, of which one peer holds at most `per_peer_max`.
    #[must_use]
    pub fn new(max: usize, per_peer_max: usize) -> Arc<Self> {
        Arc::new(Self { max, per_peer_max, taken: Mutex::default(), back: Notify::new() })
    }

    /// A permit, if there is one left and the peer has not used up its share.
    pub fn try_take(self: &Arc<Self>, peer: &str) -> Option<PeerPermit> {
        let mut taken = self.taken.lock();
        if taken.values().sum::<usize>() >= self.max {
            return None;
        }
        match taken.get_mut(peer) {
            Some(count) if *count >= self.per_peer_max => return None,
            Some(count) => *count += 1,
            None => drop(taken.insert(peer.to_owned(), 1)),
        }
        Some(PeerPermit { all: Arc::clone(self), peer: peer.to_owned() })
    }

    /// Waits until a permit has been given back since the last wait.
    pub(crate) async fn given_back(&self) {
        self.back.notified().await;
    }
}

impl Drop for PeerPermit {
    fn drop(&mut self) {
        let mut taken = self.all.taken.lock();
        if let Some(count) = taken.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.peer);
            }
        }
        drop(taken);
        self.all.back.notify_one();
    }
}

/// Requests that wait for a permit, in the order in which they came; those of a peer that has used up its
/// share let others pass.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    permits: Arc<PeerPermits>,
    per_peer_max: usize,
    requests: VecDeque<(String, T)>,
}

impl<T> Waiting<T> {
    /// Of one peer, at most `per_peer_max` requests wait.
    pub(crate) fn new(permits: Arc<PeerPermits>, per_peer_max: usize) -> Self {
        Self { permits, per_peer_max, requests: VecDeque::new() }
    }

    /// Has a request wait. It is dropped if too many of its peer do.
    pub(crate) fn push(&mut self, peer: String, request: T) {
        if self.requests.iter().filter(|(other, _)| *other == peer).count() < self.per_peer_max {
            self.requests.push_back((peer, request));
        }
    }

    /// The next request that can be served.
    pub(crate) fn next(&mut self) -> Option<(T, PeerPermit)> {
        for index in 0..self.requests.len() {
            if let Some(permit) = self.permits.try_take(&self.requests[index].0) {
                return self.requests.remove(index).map(|(_, request)| (request, permit));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_holds_its_share_and_no_more() {
        let permits = PeerPermits::new(5, 2);
        let mut held: Vec<_> = std::iter::from_fn(|| permits.try_take("a")).collect();
        assert_eq!(held.len(), 2);
        let b: Vec<_> = std::iter::from_fn(|| permits.try_take("b")).collect();
        let c: Vec<_> = std::iter::from_fn(|| permits.try_take("c")).collect();
        assert_eq!((b.len(), c.len()), (2, 1), "there are five");
        held.pop();
        assert!(permits.try_take("b").is_none());
        assert!(permits.try_take("a").is_some());
        drop((held, b, c));
        assert!(permits.taken.lock().is_empty(), "who holds none is forgotten");
    }

    #[test]
    fn who_waits_for_its_own_share_lets_others_pass() {
        let permits = PeerPermits::new(4, 2);
        let mut waiting = Waiting::new(Arc::clone(&permits), 3);
        for (peer, request) in [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 5), ("c", 6)] {
            waiting.push(peer.to_owned(), request);
        }
        let served: Vec<_> = std::iter::from_fn(|| waiting.next()).collect();
        let order: Vec<i32> = served.iter().map(|(request, _)| *request).collect();
        assert_eq!(order, [1, 2, 5, 6], "the fourth of one peer was dropped");
        drop(served);
        assert_eq!(waiting.next().map(|(request, _)| request), Some(3));
        assert!(waiting.next().is_none());
    }
}
