//! DaemonEventHandlers: a new leader announces itself.
//!
//! Invariant: Raft alone decides who leads; this only has everybody told, once for each term.

use cluster_state::{ClusterState, Command, NodeId, command::SetLeader};

/// The announcement of the leader of `term`, unless it was made.
#[must_use]
pub fn decide(state: &ClusterState, me: NodeId, term: u64, at_ms: u64) -> Vec<Command> {
    let announced = state.leader.as_ref().is_some_and(|leader| leader.term >= term);
    if announced || !state.nodes.contains_key(&me) {
        return Vec::new();
    }
    vec![Command::SetLeader(SetLeader { node: me, term, at_ms })]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;

    #[test]
    fn a_leader_announces_itself_once_a_term() {
        let mut world = World::with_nodes(2);
        assert_eq!(
            decide(&world.state, NodeId(2), 3, 7),
            [Command::SetLeader(SetLeader { node: NodeId(2), term: 3, at_ms: 7 })]
        );
        world.lead(2, 3);
        assert_eq!(decide(&world.state, NodeId(2), 3, 8), []);
        assert_eq!(
            decide(&world.state, NodeId(1), 4, 9),
            [Command::SetLeader(SetLeader { node: NodeId(1), term: 4, at_ms: 9 })]
        );
        assert_eq!(decide(&world.state, NodeId(9), 5, 9), [], "not a member yet");
    }
}
