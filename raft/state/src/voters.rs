//! Decides which members vote.
//!
//! Invariant: there are one or three voters, never two and never fewer than before; a change is proposed only
//! when the voters after it are healthy enough to commit it. The decision is pure; the leader asks for it
//! every second and carries out one change at a time.

use crate::id::NodeId;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Number of voters of a cluster that is large enough.
pub const VOTERS_MAX: usize = 3;
/// Maximum number of log entries that a learner may lag behind to count as caught up.
const LAG_MAX: u64 = 250;

/// How the leader sees another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// For how long the member has answered without a break; zero if it does not answer.
    pub up: Duration,
    /// For how long the member has not answered; zero if it answers.
    pub down: Duration,
    /// Number of log entries that the member lacks; unknown if it never answered.
    pub lag: Option<u64>,
}

impl Health {
    fn fit(&self, stable: Duration) -> bool {
        self.down.is_zero() && self.up >= stable && self.lag.is_some_and(|lag| lag <= LAG_MAX)
    }
}

/// What the leader knows when it decides.
#[derive(Clone, Debug)]
pub struct VotersView {
    /// Id of the leader itself, which is healthy by definition.
    pub me: NodeId,
    /// Voter sets in force: one, or two during a change.
    pub configs: Vec<BTreeSet<NodeId>>,
    /// The health of every other member.
    pub others: BTreeMap<NodeId, Health>,
    /// How long a learner must have been healthy.
    pub stable: Duration,
    /// How long a voter must have been silent to be replaced.
    pub dead: Duration,
}

/// The set of voters that should be in force, if it differs from the present one.
#[must_use]
pub fn decide(view: &VotersView) -> Option<BTreeSet<NodeId>> {
    let voters = match view.configs.as_slice() {
        [voters] => voters,
        // A change that an earlier leader began is finished first.
        [.., wanted] => return Some(wanted.clone()),
        [] => return None,
    };
    if !voters.contains(&view.me) {
        return None;
    }
    // The oldest members come first, because they have lived longest.
    let mut spares = view
        .others
        .iter()
        .filter(|(id, health)| !voters.contains(id) && health.fit(view.stable))
        .map(|(id, _)| *id);
    if voters.len() < VOTERS_MAX {
        let mut wanted = voters.clone();
        wanted.extend(spares.take(VOTERS_MAX - voters.len()));
        return (wanted.len() == VOTERS_MAX).then_some(wanted);
    }
    let dead = voters.iter().find(|id| view.others.get(id).is_some_and(|health| health.down >= view.dead))?;
    let mut wanted = voters.clone();
    wanted.remove(dead);
    wanted.insert(spares.next()?);
    let alive = |id: &&NodeId| **id == view.me || view.others.get(id).is_some_and(|h| h.down.is_zero());
    (wanted.iter().filter(alive).count() > wanted.len() / 2).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn up(seconds: u32, lag: u64) -> Health {
        Health { up: S * seconds, down: Duration::ZERO, lag: Some(lag) }
    }

    fn down(seconds: u32) -> Health {
        Health { up: Duration::ZERO, down: S * seconds, lag: None }
    }

    fn check(configs: &[&[u64]], others: &[(u64, Health)], expected: Option<&[u64]>) {
        let set = |ids: &&[u64]| ids.iter().copied().map(NodeId).collect();
        let view = VotersView {
            me: NodeId(1),
            configs: configs.iter().map(set).collect(),
            others: others.iter().map(|&(id, health)| (NodeId(id), health)).collect(),
            stable: S * 2,
            dead: S * 30,
        };
        assert_eq!(decide(&view), expected.as_ref().map(set), "{view:?}");
    }

    #[test]
    fn growth() {
        check(&[&[1]], &[], None);
        check(&[&[1]], &[(2, up(60, 0))], None); // two voters are worse than one
        check(&[&[1]], &[(2, up(60, 0)), (3, up(1, 0))], None); // not stable yet
        check(&[&[1]], &[(2, up(60, 0)), (3, up(9, 251))], None); // lags
        check(&[&[1]], &[(2, up(60, 0)), (3, down(1))], None);
        check(&[&[1]], &[(2, up(60, 0)), (3, up(2, 9))], Some(&[1, 2, 3]));
        check(&[&[1]], &[(2, up(3, 0)), (3, down(9)), (4, up(9, 0)), (5, up(9, 0))], Some(&[1, 2, 4]));
        check(&[&[1, 2]], &[(2, up(9, 0)), (3, up(9, 0))], Some(&[1, 2, 3]));
    }

    #[test]
    fn replacement() {
        let healthy = [(2, up(9, 0)), (3, up(9, 0)), (4, up(9, 0))];
        check(&[&[1, 2, 3]], &healthy, None);
        check(&[&[1, 2, 3]], &[(2, up(9, 0)), (3, down(60))], None); // there is no spare
        check(&[&[1, 2, 3]], &[(2, up(9, 0)), (3, down(29)), (4, up(9, 0))], None);
        check(&[&[1, 2, 3]], &[(2, up(9, 0)), (3, down(30)), (4, up(9, 0))], Some(&[1, 2, 4]));
        check(
            &[&[1, 2, 3]],
            &[(2, down(90)), (3, down(90)), (4, up(9, 0))],
            Some(&[1, 3, 4]), // 1 and 4 can commit, if the change ever arrives
        );
        check(&[&[2, 3, 4]], &[(2, down(90)), (5, up(9, 0))], None); // a removed leader decides nothing
    }

    #[test]
    fn a_change_under_way_is_finished() {
        check(&[&[1], &[1, 2, 3]], &[(2, down(90))], Some(&[1, 2, 3]));
        check(&[], &[], None);
    }
}
