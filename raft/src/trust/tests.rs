use super::*;
use rand::{RngExt, SeedableRng, seq::IndexedRandom};

fn voters(ids: &[u64]) -> Voters {
    ids.iter().map(|id| (NodeId(*id), format!("peer-{id}"))).collect()
}

fn said(answers: &[(u64, &[u64])]) -> BTreeMap<String, Voters> {
    answers.iter().map(|(from, named)| (format!("peer-{from}"), voters(named))).collect()
}

type Said<'a> = &'a [(u64, &'a [u64])];

/// Whom node `me` follows whose log has these sets of voters, and whom it takes for removed.
fn followed(
    me: u64,
    configs: &[&[u64]],
    answers: Said<'_>,
    others: Option<Said<'_>>,
) -> (Vec<u64>, Vec<u64>) {
    let union: Vec<u64> = configs.iter().flat_map(|config| config.iter().copied()).collect();
    let configs: Vec<BTreeSet<NodeId>> =
        configs.iter().map(|config| config.iter().copied().map(NodeId).collect()).collect();
    let ballot = Ballot {
        me: NodeId(me),
        configs: &configs,
        own: &voters(&union),
        answers: &said(answers),
        others: &said(others.unwrap_or_default()),
        waited: others.is_some(),
    };
    let VotersSaid { followed, denied } = judge(&ballot);
    let ids = |voters: Voters| voters.into_keys().map(|id| id.0).collect();
    (ids(followed), ids(denied))
}

#[test]
fn so_many_voters_must_name_a_leader() {
    let check = |me, configs: &[&[u64]], answers: Said<'_>, yes: &[u64], no: &[u64]| {
        let found = followed(me, configs, answers, None);
        assert_eq!(found, (yes.to_vec(), no.to_vec()), "{me} {configs:?} {answers:?}");
    };
    let three: &[u64] = &[1, 2, 3];
    check(1, &[three], &[], &[], &[]);
    check(1, &[three], &[(3, three)], &[2], &[]); // nobody vouches for itself
    check(1, &[three], &[(2, three)], &[3], &[]);
    check(1, &[three], &[(2, &[1, 2])], &[], &[3]); // the removed one, under whatever term
    check(1, &[three], &[(2, &[1, 2]), (3, three)], &[2], &[3]);
    check(1, &[three], &[(2, &[1, 2, 4]), (3, &[1, 2, 4])], &[2, 4], &[3]); // a new voter
    check(1, &[three], &[(2, &[1, 2, 4])], &[], &[3]); // one alone names nobody new
    // Without a vote of its own, a node needs the word of both others.
    check(9, &[three], &[(1, three), (2, &[1, 2])], &[], &[]);
    check(9, &[three], &[(1, three), (2, three)], &[3], &[]);
    // Of two voters each needs the other for every decision; a lone voter needs nobody.
    check(1, &[&[1, 2]], &[], &[2], &[]);
    check(1, &[&[2]], &[], &[2], &[]);
    check(1, &[], &[], &[], &[]);
    let five: &[u64] = &[1, 2, 3, 4, 5];
    check(1, &[five], &[(4, five), (2, &[1, 2, 3, 4])], &[3], &[]);
    check(1, &[five], &[(4, five), (2, &[1, 2, 3, 4]), (3, &[1, 2, 3, 4])], &[2, 3, 4], &[5]);
    check(1, &[five], &[(4, five), (2, five)], &[3, 5], &[]);
    // During a change, both sets.
    check(1, &[three, &[2, 4, 5]], &[(2, &[1, 2, 3, 4, 5])], &[], &[]);
    check(1, &[three, &[2, 4, 5]], &[(2, five), (4, five)], &[3, 5], &[]);
}

#[test]
fn those_that_do_not_answer_are_not_waited_for_without_end() {
    let check = |me, own: &[u64], answers: Said<'_>, others: Said<'_>, yes: &[u64], no: &[u64]| {
        let found = followed(me, &[own], answers, Some(others));
        assert_eq!(found, (yes.to_vec(), no.to_vec()), "{me} {own:?} {answers:?} {others:?}");
    };
    let three: &[u64] = &[1, 2, 3];
    // Two of three voters start again, and the third is dead: its vote is needed, so it follows.
    check(1, three, &[], &[], &[2, 3], &[]);
    check(1, three, &[(3, three)], &[], &[2, 3], &[]);
    check(1, three, &[(2, &[1, 2])], &[], &[2], &[3]);
    // Without a vote nobody needs it.
    check(9, three, &[], &[], &[], &[]);
    check(9, three, &[(3, three)], &[], &[1, 2, 3], &[]); // it may have a vote without knowing
    check(9, three, &[(3, three), (2, &[1, 2])], &[], &[1, 2], &[3]);
    check(3, &[1], &[], &[(2, three)], &[1, 2], &[]);
    // Most of the voters that it knows are gone, and one of the others leads: other members say so.
    let now: &[u64] = &[3, 4, 5];
    check(9, three, &[(3, now)], &[(4, now), (5, now)], &[3, 4, 5], &[1, 2]);
    check(9, three, &[(3, now), (2, three)], &[(4, now), (5, now)], &[3, 4, 5], &[2]);
    check(9, three, &[(2, three)], &[], &[1, 2, 3], &[]);
    check(9, three, &[], &[(4, now), (5, now), (6, three), (7, now)], &[3, 4, 5], &[]);
}

/// One change of the voters takes the vote from a peer that lies, while node 1 is away. Whoever has agreed to
/// it says so, the others say what they know, and some do not answer.
#[test]
fn no_removed_voter_is_followed_on_the_word_of_a_majority() {
    for seed in 0..3000 {
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(seed);
        let size = rng.random_range(2..8u64);
        let before: Vec<u64> = (1..=size).collect();
        let liar = rng.random_range(2..=size);
        let after: Vec<u64> = before.iter().copied().filter(|id| *id != liar).collect();
        let could: Vec<u64> = before.iter().copied().filter(|id| *id != 1).collect();
        let majority = before.len() / 2 + 1;
        if could.len() < majority {
            continue; // nothing is decided without node 1
        }
        let agreed: Vec<u64> =
            could.sample(&mut rng, majority).copied().chain(could.choose(&mut rng).copied()).collect();
        let answers: Vec<(u64, &[u64])> = (could.iter().filter(|_| rng.random_bool(0.8)))
            .map(|id| {
                let knows = agreed.contains(id) && *id != liar;
                (*id, if knows { &after[..] } else { &before[..] })
            })
            .collect();
        let (followed, _) = followed(1, &[&before], &answers, None);
        assert!(!followed.contains(&liar), "seed {seed}: {before:?} {liar} {agreed:?} {answers:?}");
    }
}

const PACE: Pace = Pace { silence: Duration::from_secs(9), grace: Duration::from_secs(3) };

fn log_id(term: u64, index: u64) -> LogId {
    openraft::testing::log_id::<crate::types::TypeConfig>(term, NodeId(2), index)
}

#[test]
fn a_node_is_away_until_it_has_caught_up_and_again_after_a_silence() {
    let begin = Instant::now();
    let at = |seconds| begin + Duration::from_secs(seconds);
    let trust = Trust::new(PACE, false);
    let is = |seconds| (trust.view(at(seconds)).0, trust.standing().borrow().is_current);
    let vote = Vote::new_committed(7, NodeId(2));
    assert_eq!(is(0), (true, false));
    // The leader does not know yet what is committed.
    trust.followed(&vote, None, 50, at(0));
    trust.followed(&vote, Some(&log_id(6, 40)), 50, at(0));
    assert_eq!(is(0), (true, false));
    trust.followed(&vote, Some(&log_id(7, 60)), 50, at(0));
    trust.followed(&vote, Some(&log_id(7, 90)), 59, at(1));
    assert_eq!(is(1), (true, false), "it lacks an entry");
    trust.followed(&vote, Some(&log_id(7, 99)), 60, at(1));
    assert_eq!(is(9), (false, true));
    trust.followed(&vote, None, 60, at(9));
    assert_eq!((is(17), is(18)), ((false, true), (true, false)));
    // The same leader has gone on meanwhile.
    trust.followed(&vote, Some(&log_id(7, 200)), 60, at(20));
    assert_eq!(is(20), (true, false));
    trust.led(at(21));
    assert_eq!(is(21), (false, true));
    // A node that was just let in was told who votes, and lacks the state.
    let trust = Trust::new(PACE, true);
    assert_eq!((trust.view(begin).0, trust.standing().borrow().is_current), (false, false));
}

#[test]
fn waiting_begins_when_somebody_sends_and_again_after_a_pause() {
    let begin = Instant::now();
    let at = |seconds| begin + Duration::from_secs(seconds);
    let trust = Trust::new(PACE, false);
    assert!(!trust.has_waited(at(100)));
    for seconds in [100, 102] {
        trust.doubt(at(seconds));
        assert!(!trust.has_waited(at(seconds)));
    }
    trust.doubt(at(103));
    assert!(trust.has_waited(at(103)));
    assert!(!trust.has_waited(at(108)));
    trust.doubt(at(108));
    assert!(!trust.has_waited(at(108)));
    // What was said counts while it is of use.
    let verdict = VotersSaid { followed: voters(&[2]), denied: Voters::new() };
    trust.hear(verdict.clone(), at(110));
    trust.heard_from("peer-2", at(130));
    trust.heard_from("peer-3", at(150));
    assert_eq!(trust.view(at(159)).1, verdict);
    assert_eq!(trust.view(at(161)).1, VotersSaid::default());
}
