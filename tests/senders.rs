//! Who may send what, against real processes: every request of every protocol, every command as a proposal,
//! and every route of the HTTP interface, from each who could send it. Who may not gets the answer that says
//! so, and then the replicated state is as it was.
//!
//! The requests, the commands and who may send them come from the tables of the crates, so that a new one is
//! here too; the routes come from the sources.

mod routes;
mod world;

use cluster_state::{
    Command, NodeId,
    admission::ticket_key,
    door::{Rule, rule},
    samples::{about, commands, proposers},
};
use p2p::{Class, EntryRefusal};
use std::time::{Duration, Instant};
use wire::Hash;
use world::{Voice, World, invitation, ring};

const SETTINGS: &str = "device = \"cpu\"\n[selfplay]\nenabled = false\n";
/// The longest time for an answer.
const WAIT: Duration = Duration::from_secs(20);
/// A node that never was.
const GHOST: NodeId = NodeId(99);
/// Content that nobody has.
const NOWHERE: Hash = Hash([9; 32]);
const NO_ANSWER: &str = "request failed: peer gave no answer";
const NOT_CONNECTED: &str = "peer is not connected";
/// Lines of the table of requests: consensus, what members ask, and what those ask that want in.
const CONSENSUS: &str = "...x";
const OF_MEMBERS: &str = ".xxx";
const OF_NEWCOMERS: &str = "x...";

/// What is sent.
#[derive(Clone)]
struct Message {
    name: String,
    class: Class,
    /// Its line in the table of requests; empty for what is not of Raft.
    line: &'static str,
    bytes: Vec<u8>,
    /// What is expected of a member that may send it, as the beginning of an answer.
    taken: String,
    /// What is expected of a member that may not send it.
    refused: String,
}

/// Why a command is refused to a member that may not propose it.
fn not_allowed(command: &Command) -> String {
    let only = match rule(command) {
        Rule::Peer(_) | Rule::Itself(_) => "the node that it names",
        Rule::ItselfOrOperator(_) => "the node that it names, or an operator",
        Rule::Leader => "the leader",
        Rule::Announcement(..) => "the leader of that term",
        Rule::LeaderOrOperator => "the leader or an operator",
        Rule::Operator | Rule::OperatorOrFounder => "an operator, at a member where operators are believed,",
    };
    format!("Proposed(Refused(NotAllowed({only:?})))")
}

/// The beginning of the answer to a member that says this about itself.
fn taken(command: &Command) -> &'static str {
    match rule(command) {
        Rule::Peer(_) => "Proposed(Node { ",
        Rule::ItselfOrOperator(_) => "Proposed(",
        Rule::Itself(_)
        | Rule::Leader
        | Rule::Announcement(..)
        | Rule::LeaderOrOperator
        | Rule::Operator
        | Rule::OperatorOrFounder => "Proposed(Refused(",
    }
}

impl World {
    fn say(&self, voice: &Voice, to: usize, message: &Message) -> String {
        let bytes = message.bytes.clone();
        let request = voice.handle.request(message.class, &self.nodes[to].1, bytes, WAIT);
        match (self.runtime.block_on(request), message.class) {
            (Ok(answer), Class::Raft) => raft::samples::answer(&answer).unwrap(),
            (Ok(answer), Class::Control) => format!("kind {:?}", wire::kind(&answer)),
            (Ok(answer), Class::Blob) => format!("{answer:?}"),
            (Err(error), _) => error.to_string(),
        }
    }

    /// Everything that can be sent to the peer `to` by a sender that says it is node `sender`, with commands
    /// about node `subject`; who sends it is the peer `me`.
    fn everything(&self, to: usize, sender: NodeId, subject: usize, me: &str) -> Vec<Message> {
        let (subject, subject_peer) = &self.nodes[subject];
        let mut all = Vec::new();
        let named = self.nodes.iter().find(|(id, _)| *id == sender);
        let voters: Vec<NodeId> = self.nodes[..3].iter().map(|(id, _)| *id).collect();
        for (name, line, bytes) in raft::samples::frames(sender, self.nodes[to].0, subject_peer) {
            let refused = match line {
                CONSENSUS => match named.filter(|(id, _)| voters.contains(id)) {
                    Some((_, peer)) => format!("Refused(\"node {sender} is peer {peer}, not {me}\")"),
                    None => format!("Refused(\"node {sender} is no voter that this node knows\")"),
                },
                OF_MEMBERS => format!("Refused(\"peer {me} is no member of this cluster\")"),
                OF_NEWCOMERS => format!("Refused(\"peer {me} cannot join as {subject_peer}\")"),
                other => panic!("say what is answered to {name}, which has the line {other}"),
            };
            let taken = match name.as_str() {
                "PreVote" => "Vote(".to_owned(),
                "Join" => "Joined(".to_owned(),
                other => format!("{other}("),
            };
            if name != "Propose" {
                all.push(Message { name, class: Class::Raft, line, bytes, taken, refused });
            }
        }
        let leader = (self.nodes[self.leader].0, self.term);
        for command in commands() {
            let command = about(command, (*subject, subject_peer), leader);
            for operator in [false, true] {
                let bytes = raft::samples::proposal_frame(command.clone(), operator);
                let may = proposers(&command).as_bytes()[3] == b'x';
                all.push(Message {
                    name: format!("{command} about {subject}, operator: {operator}"),
                    class: Class::Raft,
                    line: OF_MEMBERS,
                    bytes,
                    taken: if may { taken(&command).to_owned() } else { not_allowed(&command) },
                    refused: not_allowed(&command),
                });
            }
        }
        for (name, kind, bytes) in ringrift::fuzzing::node_requests(NOWHERE) {
            let (taken, refused) = (format!("kind Some({kind})"), NO_ANSWER.to_owned());
            all.push(Message { name, class: Class::Control, line: "", bytes, taken, refused });
        }
        for (name, bytes) in p2p::fuzzing::blob_questions(NOWHERE) {
            let (taken, refused) = ("[0]".to_owned(), NO_ANSWER.to_owned());
            all.push(Message { name, class: Class::Blob, line: "", bytes, taken, refused });
        }
        all
    }

    /// Somebody whom nobody lets in.
    fn is_not_connected(&self, who: &str, voice: &Voice) {
        let (me, before) = (voice.handle.peer_id(), self.at_rest());
        for to in [self.leader, self.other] {
            for message in self.everything(to, GHOST, self.other, &me) {
                assert_eq!(self.say(voice, to, &message), NOT_CONNECTED, "{who}: {}", message.name);
            }
        }
        assert_eq!(self.state(), before, "{who}");
    }

    /// Somebody who is let in by the door and is no member. `join` is the answer to its wish to become one.
    fn is_answered_as_an_outsider(&self, who: &str, voice: &Voice, join: &str) {
        let (me, before) = (voice.handle.peer_id(), self.at_rest());
        let mut count = 0;
        for (to, sender) in [
            (self.leader, GHOST),
            (self.leader, self.nodes[self.other].0),
            (self.other, GHOST),
            (self.other, self.nodes[self.leader].0),
        ] {
            for message in self.everything(to, sender, self.gone, &me) {
                let expected = match message.line {
                    OF_MEMBERS => format!("Refused(\"peer {me} is no member of this cluster\")"),
                    _ => message.refused.clone(),
                };
                let what = format!("{who} as {sender} to {to}: {}", message.name);
                assert_eq!(self.say(voice, to, &message), expected, "{what}");
                assert_eq!(self.state(), before, "{what}");
                count += 1;
            }
        }
        // As itself it may ask to join, with a ticket.
        let joins = raft::samples::frames(GHOST, self.nodes[self.leader].0, &me);
        for (name, line, bytes) in joins.into_iter().filter(|(_, line, _)| *line == OF_NEWCOMERS) {
            let message = Message {
                name,
                class: Class::Raft,
                line,
                bytes,
                taken: String::new(),
                refused: String::new(),
            };
            let answer = self.say(voice, self.leader, &message);
            assert!(answer.starts_with("Refused(") && answer.contains(join), "{who}: {answer}");
        }
        assert_eq!(self.state(), before, "{who}");
        eprintln!("{who}: {count} refusals");
    }

    /// A member, which speaks for another and then for itself.
    fn is_answered_as_a_member(&self, who: &str, voice: &Voice, index: usize, votes: bool) {
        let (id, me) = self.nodes[index].clone();
        assert_eq!(voice.handle.peer_id(), me);
        let mut before = self.at_rest();
        let (mut refusals, mut count, mut wrong) = (0, 0, Vec::new());
        for (sender, subject) in [(self.nodes[self.other].0, self.other), (id, index)] {
            for message in self.everything(self.leader, sender, subject, &me) {
                let own = subject == index;
                let may = match message.line {
                    CONSENSUS => own && votes,
                    OF_NEWCOMERS => own && !votes,
                    _ => true,
                };
                let expected = match message.line {
                    OF_NEWCOMERS if own && votes => "Refused(\"this peer is voter",
                    OF_MEMBERS if !own && message.name.contains("about") => &message.refused,
                    _ if may => &message.taken,
                    _ => &message.refused,
                };
                let what = format!("{who} as {sender}: {}", message.name);
                let answer = self.say(voice, self.leader, &message);
                // The state machine may refuse what the door lets pass.
                let at_the_door = answer.contains("NotAllowed") && !expected.contains("NotAllowed");
                if !answer.starts_with(expected) || at_the_door {
                    wrong.push(format!("{what}: {answer}, expected {expected}"));
                }
                let after = self.state();
                if answer.contains("Refused(") {
                    if after != before {
                        wrong.push(format!("{what}: {answer} changed the state"));
                    }
                    refusals += 1;
                } else {
                    eprintln!("{what}: {answer}");
                }
                before = after;
                count += 1;
            }
        }
        eprintln!("{who}: {refusals} refusals of {count}");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn everybody_gets_the_answers_that_the_table_of_senders_says() {
    let mut world = World::begin();
    let began = Instant::now();
    let (leader, gone) = (world.leader, world.gone);
    let secret = || ringrift::store::admission::read_secret(&world.cluster.peers[leader].folder);
    let secret = secret().unwrap().unwrap();
    let ticket = ticket_key(&invitation(&world.cluster.peers[leader]).token);
    let new = |world: &World, name: &str| world.root().join(format!("{name}.key"));

    let key = new(&world, "stranger");
    let voice = world.voice(&key, ring([]));
    world.until_refused(&voice, |why| matches!(why, EntryRefusal::UnknownKey));
    world.is_not_connected("a stranger", &voice);
    world.end(voice);
    let voice = world.voice(&key, ring([secret]));
    world.until_refused(&voice, |why| matches!(why, EntryRefusal::Closed(_)));
    world.is_not_connected("a stranger that knows the secret", &voice);
    world.end(voice);

    let voice = world.voice(&key, ring([ticket]));
    world.until_connected(&voice);
    world.is_answered_as_an_outsider("a stranger with a ticket's key", &voice, "does not know this ticket");
    world.end(voice);

    let key = world.peer(gone).folder.join("peer.key");
    let voice = world.voice(&key, ring([secret]));
    world.until_connected(&voice);
    world.is_answered_as_a_member("a voter", &voice, gone, true);
    world.end(voice);

    let key = world.peer(3).folder.join("peer.key");
    let voice = world.voice(&key, ring([secret]));
    world.until_connected(&voice);
    world.is_answered_as_a_member("a learner", &voice, 3, false);
    let guest = format!("node-{}", world.nodes[3].0);
    let removed = world.peer(leader).read(&["cluster", "remove", &guest, "--yes"]);
    assert_eq!(removed.code, Some(0), "{removed:?}");
    world.until_refused(&voice, |why| matches!(why, EntryRefusal::ShutOut(_)));
    world.is_not_connected("a removed member", &voice);
    world.end(voice);
    let ticket = ticket_key(&invitation(&world.cluster.peers[leader]).token);
    let voice = world.voice(&key, ring([ticket]));
    world.until_connected(&voice);
    world.is_answered_as_an_outsider("a removed member with a new ticket's key", &voice, "ticket");
    world.end(voice);

    for index in [world.leader, world.other] {
        world.every_route_asks_for_what_it_needs(index);
    }
    eprintln!("all of it took {:?}", began.elapsed());
}
