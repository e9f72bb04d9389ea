//! Who is let in by this node, with which keys, and what this node shows where it wants in.
//!
//! Invariant: the door of p2p, the file `secret` and who is shut out follow the replicated state. A removal
//! counts once the node knows that its state is the cluster's: while it catches up, its state is one of long
//! ago, and whom that one has just lost may be back, and lead. A node that is no member any more, or whose
//! identity another process has, ends and says why.

use super::{error::NodeError, options::NodeOptions};
use crate::{
    clock::now_ms,
    peer::{Context, context::blocking, shun},
    store::{DataFolder, FolderError, admission},
};
use cluster_state::{
    Admission, ClusterState,
    admission::{Admissions, NotAdmitted, secret_proof, ticket_key},
};
use p2p::{DoorKey, EntryRefusal, Exclusion};
use raft::Footing;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// The longest time until the door forgets a ticket that has expired.
const REFRESH: Duration = Duration::from_secs(10);
/// The most keys of its own that a node names before older ones of the cluster.
const OWN_NAMED_MAX: usize = 3;
/// How long nobody may let a node in, while a member says that it is out, until it ends.
const ALONE: Duration = Duration::from_secs(3);
/// Pause between two looks at who lets this node in.
const LOOK: Duration = Duration::from_millis(500);

/// The keys that a node has besides those of the replicated state.
#[derive(Clone)]
pub(super) struct OwnKeys {
    /// The tokens of the tickets that it was given.
    tickets: Vec<[u8; 32]>,
    /// The secret that was given as a file.
    given: Option<[u8; 32]>,
    /// The secret that the data folder keeps.
    kept: Option<[u8; 32]>,
}

impl OwnKeys {
    /// The keys at the start. A founder without a secret makes one.
    pub(super) fn at_start(
        options: &NodeOptions,
        folder: &DataFolder,
        founds: bool,
    ) -> Result<Self, NodeError> {
        let path = folder.join(admission::SECRET_FILE);
        let read = admission::read_secret(folder.path());
        let mut kept = read.map_err(|source| FolderError::Read { path: path.clone(), source })?;
        if founds && kept.is_none() {
            let secret = options.secret.unwrap_or_else(rand::random);
            admission::write_secret(folder, &secret)
                .map_err(|source| FolderError::Unwritable { path, source })?;
            kept = Some(secret);
        }
        Ok(Self { tickets: options.tickets.clone(), given: options.secret, kept })
    }

    /// The keys of the door until the replicated state is known. A member without any lets nobody in until
    /// then, because only the state knows whether it has one.
    fn door(&self, is_member: bool) -> Vec<DoorKey> {
        let tickets = self.tickets.iter().map(|token| DoorKey::new(ticket_key(token)));
        let secrets = self.kept.into_iter().chain(self.given).map(DoorKey::new);
        let mut keys: Vec<DoorKey> = tickets.chain(secrets).collect();
        if keys.is_empty() && is_member {
            keys.push(DoorKey::new(rand::random()));
        }
        keys
    }

    /// The keys of the door and whom it lets in until the node follows the replicated state, of which `kept`
    /// is what was on its disk: nobody comes in with a ticket that was used up or revoked by then.
    pub(super) fn doorway(
        &self,
        kept: &ClusterState,
        is_member: bool,
        now_ms: u64,
    ) -> (Vec<DoorKey>, DoorList) {
        let keys = if kept.nodes.is_empty() {
            self.door(is_member)
        } else {
            door_keys(&kept.admissions, self, now_ms)
        };
        (keys, DoorList::of(kept))
    }

    /// What this node shows to be admitted, the strongest first.
    pub(super) fn shown(&self, peer_id: &str) -> Vec<Admission> {
        let tickets = self.tickets.iter().map(|token| Admission::by_ticket(token, peer_id));
        let secrets = self.given.iter().chain(&self.kept);
        let proofs = secrets.map(|secret| Admission::Secret(secret_proof(secret, peer_id)));
        let mut shown: Vec<Admission> = tickets.chain(proofs).collect();
        if shown.is_empty() {
            shown.push(Admission::Known);
        }
        shown
    }

    pub(super) fn kept(&self) -> Option<[u8; 32]> {
        self.kept
    }
}

/// The keys of the door, as the replicated state says.
fn door_keys(admissions: &Admissions, own: &OwnKeys, now_ms: u64) -> Vec<DoorKey> {
    let Some(secret) = &admissions.secret else { return own.door(false) };
    let present = DoorKey::new(secret.bytes);
    let present = if admissions.by_secret {
        present
    } else {
        present.for_members(NotAdmitted::TicketsOnly.to_string())
    };
    let mut tickets: Vec<_> = admissions.tickets.values().collect();
    tickets.sort_by_key(|ticket| std::cmp::Reverse(ticket.issued_ms));
    let issued: BTreeSet<[u8; 32]> = tickets.iter().map(|ticket| ticket.key).collect();
    // A ticket that was used up or has expired still opens the door to the member that it admitted, which may
    // not know the secret yet.
    let tickets = tickets.into_iter().map(|ticket| {
        let key = DoorKey::new(ticket.key).issued(ticket.issued_ms);
        if ticket.expires_ms <= now_ms {
            key.for_members(NotAdmitted::Expired.to_string())
        } else if ticket.uses_left == 0 {
            key.for_members(NotAdmitted::UsedUp.to_string())
        } else {
            key
        }
    });
    let mine = own.tickets.iter().map(ticket_key).filter(|key| !issued.contains(key)).take(OWN_NAMED_MAX);
    let mine = mine.map(|key| DoorKey::new(key).for_members(NotAdmitted::UnknownTicket.to_string()));
    let earlier = admissions
        .previous
        .iter()
        .map(|secret| DoorKey::new(secret.bytes).for_members(NotAdmitted::WrongSecret.to_string()));
    std::iter::once(present).chain(mine).chain(earlier).chain(tickets).collect()
}

/// Who is a member and who is shut out, as this node acts on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DoorList {
    pub(super) members: BTreeSet<String>,
    pub(super) out: BTreeMap<String, Exclusion>,
}

impl DoorList {
    /// As this state says.
    fn of(state: &ClusterState) -> Self {
        let door = |out: &cluster_state::admission::ShutOut| {
            let why = if out.ban { NotAdmitted::Banned } else { NotAdmitted::Removed };
            Exclusion { why: why.to_string(), until_key_of_ms: (!out.ban).then_some(out.at_ms) }
        };
        Self {
            members: state.nodes.values().map(|node| node.peer_id.clone()).collect(),
            out: state.admissions.shut_out.iter().map(|(peer, out)| (peer.clone(), door(out))).collect(),
        }
    }

    /// What follows a change of the state. A state that may be one of long ago takes nobody out that was in,
    /// and leaves nobody out whom the voters name as one of them.
    fn next(&self, state: &ClusterState, standing: &Footing) -> Self {
        let mut next = Self::of(state);
        if !standing.is_current {
            next.out.retain(|peer, _| self.out.contains_key(peer) && !standing.named.contains(peer));
            next.members.extend(self.members.iter().chain(&standing.named).cloned());
        }
        next
    }
}

/// Keeps the door, the file `secret` and who is shut out as the replicated state says.
pub(super) async fn follow(node: Context, own: OwnKeys, mut guests: DoorList) {
    let (mut state, mut shunned) = (node.raft.applied(), node.events.shunned());
    let mut standing = node.raft.standing();
    let (mut keys, mut out, mut kept) = (Vec::new(), BTreeMap::new(), own.kept());
    let mut members = BTreeSet::new();
    let mut warned = false;
    loop {
        let current = state.borrow_and_update().clone();
        guests = guests.next(&current, &standing.borrow_and_update());
        shunned.mark_unchanged();
        let admissions = &current.admissions;
        // A node that has just joined learns from its log who the members are.
        if !current.nodes.is_empty() {
            let wanted = door_keys(admissions, &own, now_ms());
            if wanted != keys {
                node.p2p.keys().set(wanted.clone());
                keys = wanted;
            }
            if guests.members != members {
                node.p2p.set_members(&guests.members).await;
                members.clone_from(&guests.members);
            }
            let removed = guests.out.clone().into_iter();
            let wanted: BTreeMap<_, _> = removed.chain(shun::shut_out(&node.events)).collect();
            if wanted != out {
                node.p2p.shut_out(wanted.clone()).await;
                out = wanted;
            }
            if admissions.secret.is_none() && own.kept.is_none() && !std::mem::replace(&mut warned, true) {
                tracing::warn!(
                    "this cluster admits everybody who reaches it and knows its name: give it a secret with \
                     `ringrift cluster secret rotate`"
                );
            }
        }
        let secret = admissions.secret.as_ref().map(|secret| secret.bytes);
        if secret.is_some() && secret != kept {
            match keep(&node.folder, secret).await {
                Ok(()) => kept = secret,
                Err(error) => tracing::error!(%error, "the secret of the cluster is not kept"),
            }
        }
        let changed = async {
            tokio::select! {
                changed = state.changed() => changed,
                changed = shunned.changed() => changed,
                changed = standing.changed() => changed,
            }
        };
        let changed = tokio::time::timeout(REFRESH, changed);
        match node.shutdown.run_until_cancelled(changed).await {
            Some(Ok(Ok(())) | Err(_)) => {}
            Some(Ok(Err(_))) | None => return,
        }
    }
}

async fn keep(folder: &Arc<DataFolder>, secret: Option<[u8; 32]>) -> Result<(), String> {
    let (folder, secret) = (Arc::clone(folder), secret.unwrap_or_default());
    let written = blocking(move || admission::write_secret(&folder, &secret)).await;
    written.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

/// Whether this node has been removed, with the reason; noted in its folder so that its next start knows.
pub(super) fn was_removed(folder: &DataFolder) -> Result<(), NodeError> {
    match admission::removed(folder) {
        Ok(None) => Ok(()),
        Ok(Some(why)) => Err(NodeError::Removed { why }),
        Err(source) => Err(FolderError::Read { path: folder.path().to_owned(), source }.into()),
    }
}

/// Returns when this node may not go on as a member: the cluster has removed it, or another process has its
/// identity.
pub(super) async fn until_out(node: &Context) -> NodeError {
    let mut alone: Option<Instant> = None;
    loop {
        let state = node.raft.local();
        let me = node.p2p.peer_id();
        if state.was_removed(node.id) {
            let why = state.admissions.shut_out.get(&me).map(|out| out.why.clone()).unwrap_or_default();
            return removed(node, why);
        }
        let judges = Judges::of(node, &me);
        match judges.say(&me, &node.p2p.refusals().borrow(), |peer| node.p2p.is_connected(peer)) {
            None => alone = None,
            Some(refusal) => {
                if alone.get_or_insert_with(Instant::now).elapsed() >= ALONE {
                    return match refusal {
                        EntryRefusal::ShutOut(why) if why == shun::WHY => NodeError::Shunned,
                        EntryRefusal::ShutOut(_) => removed(node, String::new()),
                        EntryRefusal::Duplicate | EntryRefusal::UnknownKey | EntryRefusal::Closed(_) => {
                            NodeError::Duplicate
                        }
                    };
                }
            }
        }
        if node.shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
            std::future::pending::<()>().await; // whoever watches over the node ends it
        }
    }
}

fn removed(node: &Context, why: String) -> NodeError {
    if let Err(error) = admission::note_removed(&node.folder, &why) {
        tracing::error!(%error, "it is not noted that this node was removed");
    }
    NodeError::Removed { why }
}

/// Whose word counts about whether this node may go on.
#[derive(Debug, Default)]
struct Judges {
    /// The other voters; the other members if there are none.
    voters: BTreeSet<String>,
    /// The leader, if this node knows that it is the present one.
    leader: Option<String>,
}

impl Judges {
    fn of(node: &Context, me: &str) -> Self {
        let (state, metrics) = (node.raft.local(), node.raft.metrics().borrow().clone());
        let peer = |id| state.nodes.get(id).map(|node| node.peer_id.clone());
        let others = |peers: Vec<String>| peers.into_iter().filter(|peer| peer != me).collect();
        let mut voters: BTreeSet<String> = others(metrics.voters.iter().filter_map(peer).collect());
        if voters.is_empty() {
            voters = others(state.nodes.keys().filter_map(peer).collect());
        }
        let is_current = node.raft.standing().borrow().is_current;
        let leader = metrics.leader.map(|(_, peer)| peer).filter(|peer| is_current && peer != me);
        Self { voters, leader }
    }

    /// Why this node may not go on, if the leader says so, or most voters do, and none of those that say so
    /// lets it in meanwhile. Nobody can say so to a node that knows no other member. A process with this
    /// node's own key says by its answer that it is a duplicate.
    fn say(
        &self,
        me: &str,
        refusals: &BTreeMap<String, EntryRefusal>,
        is_connected: impl Fn(&str) -> bool,
    ) -> Option<EntryRefusal> {
        let is_final = |refusal: &EntryRefusal| match refusal {
            EntryRefusal::ShutOut(_) | EntryRefusal::Duplicate => true,
            EntryRefusal::UnknownKey | EntryRefusal::Closed(_) => false,
        };
        let said =
            |peer: &String| refusals.get(peer).filter(|refusal| is_final(refusal) && !is_connected(peer));
        let voters: Vec<&EntryRefusal> = self.voters.iter().filter_map(said).collect();
        let most = voters.first().copied().filter(|_| voters.len() * 2 > self.voters.len());
        let leader = self.leader.as_ref().and_then(said);
        let copy = refusals.get(me).filter(|refusal| **refusal == EntryRefusal::Duplicate);
        leader.or(most).or(copy).cloned()
    }
}

#[cfg(test)]
mod tests;
