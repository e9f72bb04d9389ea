//! The keys of the door: which secrets let a connection begin, and whom the door never lets in.
//!
//! Invariant: a key is never sent and never shown. Its id says over the wire which key is meant, and tells
//! nothing of it; its prologue goes into the Noise handshake, which nobody finishes without the key.

use crate::error::EntryRefusal;
use libp2p::PeerId;
use parking_lot::RwLock;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
};

/// The most keys of one ring. A ring has a few secrets, and a key for each ticket.
pub const KEYS_MAX: usize = 2048;
/// The most keys that a peer which dials names.
pub(crate) const OFFERED_MAX: usize = 12;
pub(crate) const KEY_ID_BYTES: usize = 16;

pub(crate) type KeyId = [u8; KEY_ID_BYTES];

/// A secret that opens the door.
#[derive(Clone, PartialEq, Eq)]
pub struct DoorKey {
    bytes: [u8; 32],
    issued_ms: Option<u64>,
    closed: Option<String>,
}

impl DoorKey {
    /// A key that opens the door to everybody who has it, apart from those that are shut out.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self { bytes, issued_ms: None, closed: None }
    }

    /// The key also lets in peers that were shut out before `at_ms`, if they may come back at all.
    #[must_use]
    pub fn issued(self, at_ms: u64) -> Self {
        Self { issued_ms: Some(at_ms), ..self }
    }

    /// The key lets in members only. `why` is what others are told.
    #[must_use]
    pub fn for_members(self, why: impl Into<String>) -> Self {
        Self { closed: Some(why.into()), ..self }
    }
}

impl fmt::Debug for DoorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes: _, issued_ms, closed } = self;
        f.debug_struct("DoorKey")
            .field("issued_ms", issued_ms)
            .field("closed", closed)
            .finish_non_exhaustive()
    }
}

/// A peer that the door does not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// What it is told.
    pub why: String,
    /// A key that was issued after this moment lets it in nevertheless; none ever does if there is none.
    pub until_key_of_ms: Option<u64>,
}

/// A key as the handshake uses it.
#[derive(Clone)]
pub(crate) struct RingKey {
    pub(crate) id: KeyId,
    pub(crate) prologue: [u8; 32],
    issued_ms: Option<u64>,
    closed: Option<String>,
}

#[derive(Default)]
struct Ring {
    /// The newest first.
    keys: Vec<RingKey>,
    by_id: HashMap<KeyId, usize>,
    /// None while this node does not know the members, and then each peer may be one.
    members: Option<HashSet<PeerId>>,
    shut_out: HashMap<PeerId, Exclusion>,
}

/// The keys of one node, which may change at any time. Connections that are established stay.
pub struct KeyRing {
    cluster: String,
    ring: RwLock<Ring>,
}

impl KeyRing {
    /// A ring without secrets: its one key is made of the cluster's name, so it keeps out peers of other
    /// clusters that wander in, and nobody who wants in.
    #[must_use]
    pub fn new(cluster: &str) -> Arc<Self> {
        let ring = Self { cluster: cluster.to_owned(), ring: RwLock::default() };
        ring.set(Vec::new());
        Arc::new(ring)
    }

    /// Replaces the keys. The first ones are those that this node names when it dials, so the newest come
    /// first; what is beyond [`KEYS_MAX`] is left out.
    pub fn set(&self, keys: Vec<DoorKey>) {
        let keys = if keys.is_empty() { vec![DoorKey::new([0; 32])] } else { keys };
        let (mut kept, mut by_id) = (Vec::new(), HashMap::new());
        for DoorKey { bytes, issued_ms, closed } in keys.into_iter().take(KEYS_MAX) {
            let derive = |purpose| {
                let mut hasher = blake3::Hasher::new_derive_key(purpose);
                hasher.update(&bytes).update(self.cluster.as_bytes()).finalize()
            };
            let [id_bytes, prologue] =
                ["ringrift 2026 id of a door key", "ringrift 2026 prologue of a door key"].map(derive);
            let mut id = KeyId::default();
            id.copy_from_slice(&id_bytes.as_bytes()[..KEY_ID_BYTES]);
            by_id.entry(id).or_insert_with(|| {
                kept.push(RingKey { id, prologue: *prologue.as_bytes(), issued_ms, closed });
                kept.len() - 1
            });
        }
        let mut ring = self.ring.write();
        (ring.keys, ring.by_id) = (kept, by_id);
    }

    /// Says, before the door opens, who is a member and who is shut out. Texts that are no peer ids are left
    /// out.
    pub fn know(&self, members: &BTreeSet<String>, shut_out: BTreeMap<String, Exclusion>) {
        self.set_members(members.iter().filter_map(|peer| peer.parse().ok()).collect());
        self.set_shut_out(by_peer(shut_out));
    }

    /// Says who the members are: a key that is for members lets in no other peer.
    pub(crate) fn set_members(&self, members: HashSet<PeerId>) {
        self.ring.write().members = Some(members);
    }

    /// Says whom the door does not let in.
    pub(crate) fn set_shut_out(&self, peers: HashMap<PeerId, Exclusion>) {
        self.ring.write().shut_out = peers;
    }

    /// The keys that this node names when it dials.
    pub(crate) fn offer(&self) -> Vec<RingKey> {
        self.ring.read().keys.iter().take(OFFERED_MAX).cloned().collect()
    }

    /// The first of the named keys that is in this ring, and its place among them; keys that are for members
    /// only come last, because it is not known yet who names them.
    pub(crate) fn choose(&self, named: &[KeyId]) -> Option<(usize, RingKey)> {
        let ring = self.ring.read();
        let known = |(place, id): (usize, &KeyId)| Some((place, &ring.keys[*ring.by_id.get(id)?]));
        let common = named.iter().enumerate().filter_map(known);
        common
            .min_by_key(|(place, key)| (key.closed.is_some(), *place))
            .map(|(place, key)| (place, key.clone()))
    }

    /// Whether a peer that has proved its id and this key may come in.
    pub(crate) fn admit(&self, peer: &PeerId, key: &RingKey) -> Result<(), EntryRefusal> {
        let ring = self.ring.read();
        if let Some(shut_out) = ring.shut_out.get(peer) {
            return if lifts(key, shut_out) {
                Ok(())
            } else {
                Err(EntryRefusal::ShutOut(shut_out.why.clone()))
            };
        }
        match (&key.closed, &ring.members) {
            (Some(why), Some(members)) if !members.contains(peer) => Err(EntryRefusal::Closed(why.clone())),
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }

    /// Whether some key of the ring lets in this peer.
    pub(crate) fn may_come(&self, peer: &PeerId) -> bool {
        let ring = self.ring.read();
        ring.shut_out.get(peer).is_none_or(|shut_out| ring.keys.iter().any(|key| lifts(key, shut_out)))
    }
}

/// Whether a key lets in a peer that is shut out.
fn lifts(key: &RingKey, shut_out: &Exclusion) -> bool {
    key.closed.is_none()
        && matches!((key.issued_ms, shut_out.until_key_of_ms), (Some(issued), Some(until)) if issued > until)
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.ring.read();
        f.debug_struct("KeyRing")
            .field("cluster", &self.cluster)
            .field("keys", &ring.keys.len())
            .field("shut_out", &ring.shut_out.len())
            .finish_non_exhaustive()
    }
}

/// The peers that an id text names; texts that are no id are left out.
pub(crate) fn by_peer(peers: BTreeMap<String, Exclusion>) -> HashMap<PeerId, Exclusion> {
    peers.into_iter().filter_map(|(peer, shut_out)| Some((peer.parse().ok()?, shut_out))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ring: &KeyRing) -> Vec<KeyId> {
        ring.offer().iter().map(|key| key.id).collect()
    }

    #[test]
    fn the_newest_common_key_is_chosen() {
        let (one, two) = (KeyRing::new("a"), KeyRing::new("a"));
        assert_eq!(one.choose(&ids(&two)).map(|(place, _)| place), Some(0), "both have the name alone");
        one.set(vec![DoorKey::new([1; 32]), DoorKey::new([2; 32]), DoorKey::new([3; 32])]);
        assert!(one.choose(&ids(&two)).is_none(), "the name is not enough any more");
        two.set(vec![DoorKey::new([9; 32]), DoorKey::new([3; 32]), DoorKey::new([2; 32])]);
        let (place, key) = one.choose(&ids(&two)).unwrap();
        assert_eq!((place, key.id, key.prologue), (1, one.offer()[2].id, two.offer()[1].prologue));
        two.set(vec![DoorKey::new([9; 32])]);
        assert!(one.choose(&ids(&two)).is_none());
        one.set(vec![DoorKey::new([1; 32]).for_members("no"), DoorKey::new([2; 32])]);
        two.set(vec![DoorKey::new([1; 32]), DoorKey::new([2; 32])]);
        assert_eq!(one.choose(&ids(&two)).map(|(place, _)| place), Some(1), "one that is for everybody");
        let other = KeyRing::new("b");
        other.set(vec![DoorKey::new([1; 32])]);
        assert!(one.choose(&ids(&other)).is_none(), "the same key, another cluster");
        assert!(one.choose(&[]).is_none());
    }

    #[test]
    fn a_ring_is_bounded_and_names_each_key_once() {
        let ring = KeyRing::new("a");
        let key = |n: u32| {
            let mut bytes = [7; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            DoorKey::new(bytes)
        };
        ring.set((0..5000).map(|n| key(n / 2)).collect());
        let offered = ids(&ring);
        assert_eq!(offered.len(), OFFERED_MAX);
        assert_eq!(offered.iter().collect::<HashSet<_>>().len(), OFFERED_MAX);
        let last = KeyRing::new("a");
        last.set(vec![key(1023), key(1024)]);
        assert_eq!(ring.choose(&ids(&last)).map(|(place, _)| place), Some(0));
        assert!(ring.choose(&ids(&last)[1..]).is_none(), "beyond the bound");
        let shown = format!("{ring:?} {:?}", key(1).for_members("x"));
        assert!(!shown.contains("7, 7"), "{shown}");
    }

    #[test]
    fn who_may_come_in() {
        let ring = KeyRing::new("a");
        let [member, stranger, removed, banned] = [(); 4].map(|()| PeerId::random());
        let keys = [
            DoorKey::new([1; 32]),
            DoorKey::new([2; 32]).for_members("old"),
            DoorKey::new([3; 32]).issued(200),
        ];
        ring.set(keys.to_vec());
        let offered = ring.offer();
        let check = |peer: &PeerId, expected: [bool; 3]| {
            let found: Vec<bool> = offered.iter().map(|key| ring.admit(peer, key).is_ok()).collect();
            assert_eq!(found, expected, "{peer}");
            assert_eq!(ring.may_come(peer), expected.contains(&true));
        };
        check(&stranger, [true; 3]); // each may be a member
        ring.set_members([member].into());
        check(&member, [true; 3]);
        check(&stranger, [true, false, true]);
        let out = |until_key_of_ms| Exclusion { why: "out".into(), until_key_of_ms };
        ring.set_shut_out([(removed, out(Some(150))), (banned, out(None))].into());
        check(&removed, [false, false, true]);
        check(&banned, [false; 3]);
        ring.know(&[member.to_string()].into(), [(removed.to_string(), out(Some(200)))].into());
        check(&removed, [false; 3]); // the ticket is older than the removal
        check(&banned, [true, false, true]);
    }
}
