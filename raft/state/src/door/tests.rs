use super::*;
use crate::{
    command::{ModelHeld, SetLeader, SetOperators, SetSecret},
    samples::{self, commands, hash, proposers, register, remove},
    state_machine,
};

const LEADER: u64 = 1;
const SUBJECT: u64 = 2;
const OTHER: u64 = 3;

/// Three members, of which node 1 leads.
fn state() -> ClusterState {
    let mut state = ClusterState::default();
    for node in [LEADER, SUBJECT, OTHER] {
        let response = state_machine::apply(&mut state, node, &register(node, node));
        assert!(matches!(response, crate::Response::Node { id, .. } if id == NodeId(node)), "{response:?}");
    }
    state
}

const PLACE: Place = Place { index: 9, term: 2, leader: NodeId(LEADER) };

/// The command as node 2 would propose it about itself.
fn about_the_subject(command: Command, state: &ClusterState) -> Command {
    let subject = (NodeId(SUBJECT), state.nodes[&NodeId(SUBJECT)].peer_id.as_str());
    samples::about(command, subject, (PLACE.leader, PLACE.term))
}

/// The senders, in the order of the columns of the table.
fn senders(state: &ClusterState) -> Vec<Proposer> {
    let member = |node| state.nodes[&NodeId(node)].peer_id.clone();
    [
        ("stranger".to_owned(), false),
        ("stranger".to_owned(), true),
        (member(OTHER), false),
        (member(SUBJECT), false),
        (member(LEADER), false),
        (member(OTHER), true),
    ]
    .map(|(peer_id, operator)| Proposer::peer(peer_id, operator))
    .into()
}

#[test]
fn each_command_has_its_senders() {
    let state = state();
    let mut samples = commands();
    // The same with an event, and without one.
    for command in commands() {
        match command {
            Command::Rollback(mut it) => {
                it.trigger = if it.trigger.is_some() { None } else { Some(hash(4)) };
                samples.push(it.into());
            }
            Command::ReportRegression(mut it) => {
                it.trigger = if it.trigger.is_some() { None } else { Some(hash(4)) };
                samples.push(it.into());
            }
            Command::SetBackpressure(mut it) => {
                it.trigger = if it.trigger.is_some() { None } else { Some(hash(4)) };
                samples.push(it.into());
            }
            _ => {}
        }
    }
    for command in samples {
        let command = about_the_subject(command, &state);
        let answers: String = senders(&state)
            .into_iter()
            .map(|by| {
                let proposal = Proposal { by, command: command.clone() };
                match authorise(&proposal, PLACE, &state) {
                    Ok(()) => 'x',
                    Err(Refusal::NotAllowed(_)) => '.',
                    Err(other) => panic!("{command:?}: {other}"),
                }
            })
            .collect();
        assert_eq!(answers, proposers(&command), "{command:?}");
    }
}

#[test]
fn the_leader_needs_no_name_but_where_a_command_names_a_peer() {
    let state = state();
    let named = state.nodes[&NodeId(LEADER)].peer_id.clone();
    for command in commands() {
        let command = about_the_subject(command, &state);
        for operator in [false, true] {
            let may = |by| authorise(&Proposal { by, command: command.clone() }, PLACE, &state);
            assert_eq!(
                may(Proposer::leader(operator)),
                may(Proposer::peer(named.clone(), operator)),
                "{command:?}"
            );
        }
    }
    let own = register(LEADER, LEADER);
    let may = |by| authorise(&Proposal { by, command: own.clone() }, PLACE, &state).is_ok();
    assert!(may(Proposer::peer(named, false)) && !may(Proposer::leader(false)));
}

#[test]
fn a_removed_member_proposes_nothing_but_to_come_back() {
    let before = state();
    let mut state = before.clone();
    let response = state_machine::apply(&mut state, 4, &remove(SUBJECT, false, 9));
    assert_eq!(response, crate::Response::Removed { distributed: Vec::new() });
    let peer_id = before.nodes[&NodeId(SUBJECT)].peer_id.clone();
    // Not even as an operator, or as the leader that it was.
    let place = Place { leader: NodeId(SUBJECT), ..PLACE };
    for command in commands() {
        let command = about_the_subject(command, &before);
        let comes_back = matches!(command, Command::RegisterNode(_));
        for operator in [false, true] {
            let by = Proposer::peer(peer_id.clone(), operator);
            let answer = authorise(&Proposal { by, command: command.clone() }, place, &state);
            let refused = Err(Refusal::NotAllowed("a member of the cluster".into()));
            assert_eq!(answer, if comes_back { Ok(()) } else { refused }, "{command:?}");
            let as_leader = Proposal { by: Proposer::leader(operator), command: command.clone() };
            assert!(authorise(&as_leader, place, &state).is_err(), "{command:?}");
        }
    }
}

#[test]
fn operators_are_believed_only_where_the_state_says_so() {
    let mut state = state();
    let believed = Command::SetOperators(SetOperators { nodes: vec![NodeId(OTHER)], at_ms: 1 });
    assert_eq!(state_machine::apply(&mut state, 4, &believed), crate::Response::Done);
    for command in commands() {
        let command = about_the_subject(command, &state);
        let may = |node, operator| {
            let by = Proposer::peer(state.nodes[&NodeId(node)].peer_id.clone(), operator);
            authorise(&Proposal { by, command: command.clone() }, PLACE, &state).is_ok()
        };
        // At the others, being asked by an operator changes nothing.
        for node in [LEADER, SUBJECT] {
            assert_eq!(may(node, true), may(node, false), "{command:?}");
        }
        assert_eq!(may(OTHER, true), proposers(&command).ends_with('x'), "{command:?}");
    }
}

#[test]
fn the_leader_sets_the_first_secret_and_no_other() {
    let mut state = state();
    let by = Proposer::leader(false);
    let set = |n| Command::SetSecret(SetSecret { secret: [n; 32], by_secret: false, at_ms: 1 });
    let may = |n, state: &_| authorise(&Proposal { by: by.clone(), command: set(n) }, PLACE, state);
    assert_eq!(may(1, &state), Ok(()));
    state_machine::apply(&mut state, 4, &set(1));
    assert_eq!(may(2, &state), Err(Refusal::NotAllowed(OPERATOR.into())));
}

#[test]
fn a_leader_announces_only_itself_and_only_its_own_term() {
    let state = state();
    let by = Proposer::leader(true);
    for (node, term) in [(SUBJECT, 2), (9, 2), (LEADER, 1), (LEADER, 3), (LEADER, u64::MAX)] {
        let command = SetLeader { node: NodeId(node), term, at_ms: 1 }.into();
        let answer = authorise(&Proposal { by: by.clone(), command }, PLACE, &state);
        assert!(matches!(answer, Err(Refusal::NotAllowed(_))), "node {node}, term {term}: {answer:?}");
    }
}

#[test]
fn a_proposer_is_bounded() {
    let by = Proposer::peer("x".repeat(TEXT_BYTES_MAX + 1), false);
    let command = ModelHeld { model: hash(1), node: NodeId(1), at_ms: 1 }.into();
    let answer = authorise(&Proposal { by, command }, PLACE, &state());
    assert_eq!(answer, Err(Refusal::Invalid("proposer".into())));
}
