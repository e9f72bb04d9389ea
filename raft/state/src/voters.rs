//! Decides which members vote.
//!
//! Invariant: there are one or three voters, never two, and never fewer than before unless a voter leaves the
//! cluster; a change is proposed only when the voters after it are healthy enough to commit it. The decision
//! is pure; the leader asks for it every second and carries out one change at a time.

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
    /// Members that leave the cluster, or were removed from it.
    pub leaving: BTreeSet<NodeId>,
    /// How long a learner must have been healthy.
    pub stable: Duration,
    /// How long a voter must have been silent to be replaced.
    pub dead: Duration,
}

impl VotersView {
    /// Members without a vote that may get one. The oldest members come first, because they have lived
    /// longest.
    fn spares<'a>(&'a self, voters: &'a BTreeSet<NodeId>) -> impl Iterator<Item = NodeId> + 'a {
        self.others
            .iter()
            .filter(|(id, health)| {
                !voters.contains(id) && !self.leaving.contains(id) && health.fit(self.stable)
            })
            .map(|(id, _)| *id)
    }
}

/// The set of voters that should be in force before those that leave are gone; none if no voter leaves. The
/// leader itself may be among those that leave: then it leads no longer once the set is in force.
///
/// # Errors
/// Returns why the cluster cannot do without them yet.
pub fn without_leaving(view: &VotersView) -> Result<Option<BTreeSet<NodeId>>, String> {
    let [voters] = view.configs.as_slice() else {
        return Err("the voters are changing at this moment: try again".into());
    };
    if voters.is_disjoint(&view.leaving) {
        return Ok(None);
    }
    let current = |health: &Health| health.down.is_zero() && health.lag.is_some_and(|lag| lag <= LAG_MAX);
    let answers = |id: &NodeId| *id == view.me || view.others.get(id).is_some_and(current);
    let staying = voters.difference(&view.leaving).copied().filter(answers);
    // The leader comes first, because a cluster that is left with one voter keeps its leader.
    let mut able: Vec<NodeId> = staying.chain(view.spares(voters)).take(VOTERS_MAX).collect();
    if let Some(me) = able.iter().position(|id| *id == view.me) {
        able[..=me].rotate_right(1);
    }
    if able.len() < VOTERS_MAX {
        able.truncate(1);
    }
    if able.is_empty() {
        return Err("no other node answers and has all of the log: try again when one does".into());
    }
    Ok(Some(able.into_iter().collect()))
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
    if !voters.is_disjoint(&view.leaving) {
        return without_leaving(view).ok().flatten();
    }
    let mut spares = view.spares(voters);
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
            leaving: BTreeSet::new(),
            stable: S * 2,
            dead: S * 30,
        };
        assert_eq!(decide(&view), expected.as_ref().map(set), "{view:?}");
    }

    /// With node 1 as the leader.
    fn check_leaving(
        voters: &[u64],
        leaving: u64,
        others: &[(u64, Health)],
        expected: Result<Option<&[u64]>, ()>,
    ) {
        let set = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
        let view = VotersView {
            me: NodeId(1),
            configs: vec![set(voters)],
            others: others.iter().map(|&(id, health)| (NodeId(id), health)).collect(),
            leaving: set(&[leaving]),
            stable: S * 2,
            dead: S * 30,
        };
        let wanted = without_leaving(&view).map_err(|_| ());
        assert_eq!(wanted, expected.map(|ids| ids.map(set)), "{view:?}");
        if voters.contains(&leaving) && voters.contains(&1) {
            assert_eq!(decide(&view), wanted.ok().flatten());
        } else {
            assert!(decide(&view).is_none_or(|wanted| !wanted.contains(&NodeId(leaving))));
        }
    }

    #[test]
    fn who_leaves_votes_no_longer() {
        let healthy = [(2, up(9, 0)), (3, up(9, 0)), (4, up(9, 0)), (5, up(9, 0))];
        check_leaving(&[1, 2, 3], 4, &healthy, Ok(None));
        check_leaving(&[1, 2, 3], 3, &healthy, Ok(Some(&[1, 2, 4])));
        check_leaving(&[1, 2, 3], 1, &healthy, Ok(Some(&[2, 3, 4])));
        // With no spare, one voter is left: the leader, or another one for it.
        check_leaving(&[1, 2, 3], 3, &healthy[..2], Ok(Some(&[1])));
        check_leaving(&[1, 2, 3], 1, &healthy[..2], Ok(Some(&[2])));
        check_leaving(&[1, 2, 3], 3, &[(2, up(9, 0)), (3, down(60)), (4, up(1, 0))], Ok(Some(&[1])));
        check_leaving(&[1, 2, 3], 2, &[(2, down(60)), (3, down(60)), (4, up(9, 0))], Ok(Some(&[1])));
        check_leaving(&[1], 1, &[(2, up(9, 0))], Ok(Some(&[2])));
        check_leaving(&[1], 1, &healthy, Ok(Some(&[2, 3, 4])));
        check_leaving(&[1], 2, &healthy, Ok(None));
        // Nobody can take over yet.
        check_leaving(&[1], 1, &[(2, down(9))], Err(()));
        check_leaving(&[1], 1, &[(2, up(9, 251))], Err(()));
        check_leaving(&[1], 1, &[(2, up(1, 0))], Err(()));
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
