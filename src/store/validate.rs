//! Decides whether a record is a valid game.
//!
//! Invariant: [`GameRecord::validate`] never panics, whatever the record holds, and it accepts only what it
//! replayed move by move from the empty board to the end.

use super::record::{
    BACKEND_BYTES_MAX, Decision, GameRecord, MOVES_MAX, POLICY_MAX, Played, RecordError, SIMULATIONS_MAX,
};
use rules::{Config, Move, Options, Outcome, RULES_VERSION, Reason, State, Topology, Victory, with_board};
use std::ops::RangeInclusive;
use wire::Hash;

/// The exploration that a record may state: what the cluster may agree on.
const EXPLORATION: RangeInclusive<f32> = 0.01..=100.0;

/// What the rules say about a valid record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GameFacts {
    /// [`GameRecord::id`].
    pub id: Hash,
    pub config: Config,
    /// The number of steps.
    pub plies: u32,
    /// The winning seat, from 0.
    pub winner_seat: u8,
    /// The person behind the winning seat at the end, as an index into [`GameRecord::players`].
    pub winner: u8,
    /// Whether the pie rule was used.
    pub swapped: bool,
    /// How the game was won.
    pub reason: Reason,
    /// The number of positions to learn from, which is the number of decisions.
    pub samples: u32,
}

/// How a replayed game ended.
struct Ending {
    outcome: Outcome,
    swapped: bool,
}

impl GameRecord {
    /// Replays the game through the rules. The error is the first thing that is wrong with it.
    pub fn validate(&self) -> Result<GameFacts, RecordError> {
        let id = Hash::of(&self.to_bytes()?);
        if self.rules_version != RULES_VERSION {
            return Err(RecordError::RulesVersion { found: self.rules_version, expected: RULES_VERSION });
        }
        let config: Config = self.config.as_str().parse()?;
        if self.players.len() != usize::from(config.seats) {
            return Err(RecordError::Players { found: self.players.len(), seats: config.seats });
        }
        if self.swap && config.seats != 2 {
            return Err(RecordError::Swap(config.seats));
        }
        if self.moves.is_empty() || self.moves.len() > MOVES_MAX {
            return Err(RecordError::Length(self.moves.len()));
        }
        if i64::try_from(self.created_ms).is_err() {
            return Err(RecordError::Created(self.created_ms));
        }
        self.played.as_ref().map_or(Ok(()), check_played)?;
        check_plies(&self.decisions, self.moves.len())?;
        let end = with_board!(config.board, T => replay::<T>(self, config.seats))?;
        let winner_seat = end.outcome.winner;
        if winner_seat != self.winner_seat {
            return Err(RecordError::Winner { claimed: self.winner_seat, actual: winner_seat });
        }
        Ok(GameFacts {
            id,
            config,
            plies: self.moves.len() as u32,
            winner_seat,
            winner: if end.swapped { 1 - winner_seat } else { winner_seat },
            swapped: end.swapped,
            reason: end.outcome.reason,
            samples: self.decisions.len() as u32,
        })
    }
}

/// Checks the bounds of what a decision is made with: it shall be possible to make it again.
fn check_played(played: &Played) -> Result<(), RecordError> {
    let Played { simulations, exploration, backend } = played;
    if !(1..=SIMULATIONS_MAX).contains(simulations) {
        return Err(RecordError::Played("simulations"));
    }
    if !EXPLORATION.contains(exploration) {
        return Err(RecordError::Played("exploration"));
    }
    if backend.len() > BACKEND_BYTES_MAX {
        return Err(RecordError::Played("backend"));
    }
    Ok(())
}

/// Checks that each decision is about another step of the game, in order.
fn check_plies(decisions: &[Decision], plies: usize) -> Result<(), RecordError> {
    let mut previous = None;
    for &Decision { ply, .. } in decisions {
        if let Some(previous) = previous.filter(|&previous| previous >= ply) {
            return Err(RecordError::DecisionOrder { ply, previous });
        }
        if ply as usize >= plies {
            return Err(RecordError::DecisionPly { ply, plies });
        }
        previous = Some(ply);
    }
    Ok(())
}

fn replay<T: Topology>(record: &GameRecord, seats: u8) -> Result<Ending, RecordError> {
    let victory = if record.turn_end { Victory::TurnEnd } else { Victory::EveryMove };
    let mut state = State::<T>::new(seats, Options { swap: record.swap, victory });
    let mut decisions = record.decisions.iter().peekable();
    let mut legal = Vec::new();
    for (ply, &code) in (0u32..).zip(&record.moves) {
        if state.outcome().is_some() {
            return Err(RecordError::AfterEnd { ply, left: record.moves.len() - ply as usize });
        }
        let mv = Move::from_code(code).ok_or(RecordError::Code { ply, code })?;
        state.legal(&mut legal);
        if !legal.contains(&mv) {
            return Err(RecordError::Illegal { ply, kind: mv.kind(), code, phase: state.phase() });
        }
        if let Some(decision) = decisions.next_if(|decision| decision.ply == ply) {
            check_policy(decision, legal.len())?;
        }
        state.apply(mv);
    }
    match state.outcome() {
        Some(outcome) => Ok(Ending { outcome, swapped: state.swapped() }),
        None => Err(RecordError::Unfinished { plies: record.moves.len() as u32 }),
    }
}

fn check_policy(decision: &Decision, legal: usize) -> Result<(), RecordError> {
    let ply = decision.ply;
    if decision.policy.len() > POLICY_MAX {
        return Err(RecordError::PolicyLength { ply, entries: decision.policy.len() });
    }
    let mut previous = None;
    for (entry, &(index, weight)) in decision.policy.iter().enumerate() {
        if weight == 0 || previous.is_some_and(|previous| previous >= index) {
            return Err(RecordError::PolicyEntry { ply, entry });
        }
        if usize::from(index) >= legal {
            return Err(RecordError::PolicyIndex { ply, index, legal });
        }
        previous = Some(index);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{GameKind, Player, fixture};
    use cluster_state::{ModelId, NodeId};
    use proptest::prelude::*;

    #[test]
    fn random_games_of_every_configuration_are_valid() {
        for config in Config::all() {
            let game = fixture::game(&config.key(), 1);
            let facts = game.validate().unwrap();
            assert_eq!((facts.id, facts.config), (game.id(), config));
            assert_eq!(facts.plies as usize, game.moves.len());
            assert_eq!(facts.samples as usize, game.decisions.len());
            assert_eq!(GameRecord::from_bytes(&game.to_bytes().unwrap()).unwrap(), game);
        }
    }

    #[test]
    fn after_a_swap_the_other_person_wins() {
        let mut seen = [false; 2];
        for seed in 0..64 {
            let facts = fixture::game("hex8_2p", seed).validate().unwrap();
            assert_eq!(facts.winner, if facts.swapped { 1 - facts.winner_seat } else { facts.winner_seat });
            seen[usize::from(facts.swapped)] = true;
        }
        assert_eq!(seen, [true, true]);
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        let good = fixture::game("hex8_2p", 3);
        let plies = good.moves.len();
        let check = |change: &dyn Fn(&mut GameRecord), expected: RecordError| {
            let mut game = good.clone();
            change(&mut game);
            assert_eq!(game.validate().unwrap_err(), expected);
        };
        check(&|g| g.rules_version = 9, RecordError::RulesVersion { found: 9, expected: RULES_VERSION });
        check(&|g| g.config = "hex9_2p".into(), rules::ConfigError::Board("hex9".into()).into());
        check(&|g| g.config = "".into(), rules::ConfigError::Key(String::new()).into());
        check(&|g| g.players.push(Player::Random), RecordError::Players { found: 3, seats: 2 });
        check(&|g| g.players.clear(), RecordError::Players { found: 0, seats: 2 });
        check(&|g| g.moves.clear(), RecordError::Length(0));
        check(&|g| g.moves = vec![0; MOVES_MAX + 1], RecordError::Length(MOVES_MAX + 1));
        let played = |simulations, exploration, bytes: usize| {
            move |g: &mut GameRecord| {
                g.played = Some(Played { simulations, exploration, backend: "b".repeat(bytes) });
            }
        };
        check(&played(0, 1.0, 0), RecordError::Played("simulations"));
        check(&played(SIMULATIONS_MAX + 1, 1.0, 0), RecordError::Played("simulations"));
        check(&played(1, f32::NAN, 0), RecordError::Played("exploration"));
        check(&played(1, 0.0, 0), RecordError::Played("exploration"));
        check(&played(1, 1.0, BACKEND_BYTES_MAX + 1), RecordError::Played("backend"));
        check(&|g| g.created_ms = u64::MAX, RecordError::Created(u64::MAX));
        check(&|g| g.moves[0] = u32::MAX, RecordError::Code { ply: 0, code: u32::MAX });
        check(
            &|g| g.moves[1] = g.moves[0],
            RecordError::Illegal {
                ply: 1,
                kind: Move::from_code(good.moves[0]).unwrap().kind(),
                code: good.moves[0],
                phase: rules::Phase::Move,
            },
        );
        check(&|g| g.moves.push(g.moves[0]), RecordError::AfterEnd { ply: plies as u32, left: 1 });
        let winner = good.winner_seat;
        check(&|g| g.winner_seat = 7, RecordError::Winner { claimed: 7, actual: winner });
        let (first, second) = (good.decisions[0].ply, good.decisions[1].ply);
        check(&|g| g.decisions.swap(0, 1), RecordError::DecisionOrder { ply: first, previous: second });
        check(
            &|g| g.decisions.insert(0, g.decisions[0].clone()),
            RecordError::DecisionOrder { ply: first, previous: first },
        );
        check(
            &|g| g.decisions.push(Decision { ply: plies as u32, policy: vec![] }),
            RecordError::DecisionPly { ply: plies as u32, plies },
        );
        let policy =
            |policy: Vec<(u16, u16)>| move |g: &mut GameRecord| g.decisions[0].policy = policy.clone();
        check(&policy(vec![(0, 0)]), RecordError::PolicyEntry { ply: first, entry: 0 });
        check(&policy(vec![(1, 1), (1, 1)]), RecordError::PolicyEntry { ply: first, entry: 1 });
        check(&policy(vec![(1, 1), (0, 1)]), RecordError::PolicyEntry { ply: first, entry: 1 });
        check(
            &policy(vec![(0, 1); POLICY_MAX + 1]),
            RecordError::PolicyLength { ply: first, entries: POLICY_MAX + 1 },
        );
        let mut game = good.clone();
        game.decisions[0].policy = vec![(u16::MAX, 1)];
        assert!(matches!(game.validate(), Err(RecordError::PolicyIndex { index: u16::MAX, .. })));
        game = good.clone();
        game.decisions.clear();
        game.moves.truncate(plies - 1);
        assert_eq!(game.validate(), Err(RecordError::Unfinished { plies: plies as u32 - 1 }));
        let mut three = fixture::game("hex8_3p", 3);
        three.swap = true;
        assert_eq!(three.validate(), Err(RecordError::Swap(3)));
    }

    #[test]
    fn a_record_above_the_limit_is_refused() {
        let mut game = fixture::game("hex8_2p", 3);
        game.moves = vec![0; super::super::record::RECORD_BYTES_MAX / 4];
        assert!(matches!(game.validate(), Err(RecordError::Wire(wire::WireError::TooLarge { .. }))));
    }

    fn any_record() -> impl Strategy<Value = GameRecord> {
        let config = prop_oneof![
            Just("hex8_2p".to_owned()),
            Just("square8_3p".to_owned()),
            Just("hexagonal_4p".to_owned()),
            ".{0,12}"
        ];
        let policy = prop::collection::vec(any::<(u16, u16)>(), 0..4);
        let decision = (any::<u32>(), policy).prop_map(|(ply, policy)| Decision { ply, policy });
        let decisions = prop::collection::vec(decision, 0..4);
        let moves = prop::collection::vec(any::<u32>(), 0..50);
        let players = prop::collection::vec(
            prop_oneof![
                Just(Player::Random),
                Just(Player::Heuristic),
                Just(Player::Model(ModelId(Hash([1; 32]))))
            ],
            0..6,
        );
        let flags =
            (any::<bool>(), any::<bool>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u8>(), 0..3u32);
        (config, decisions, moves, players, flags).prop_map(|(config, decisions, moves, players, flags)| {
            let (swap, turn_end, seed, node, created_ms, winner_seat, rules_version) = flags;
            let kind = GameKind::Selfplay;
            GameRecord {
                rules_version,
                config: config.as_str().into(),
                swap,
                turn_end,
                seed,
                kind,
                players,
                moves,
                decisions,
                winner_seat,
                node: NodeId(node),
                created_ms,
                played: None,
            }
        })
    }

    /// A change of a valid record.
    #[derive(Debug, Clone)]
    enum Mutation {
        Move(usize, u32),
        Remove(usize),
        Repeat(usize),
        Exchange(usize, usize),
        Cut(usize),
        Config(usize),
        Swap,
        TurnEnd,
        Winner(u8),
        Decision(usize, u32, Vec<(u16, u16)>),
    }

    fn mutation() -> impl Strategy<Value = Mutation> {
        let at = any::<usize>;
        let policy = prop::collection::vec((0..40u16, 0..4u16), 0..4);
        prop_oneof![
            (at(), any::<u32>()).prop_map(|(i, code)| Mutation::Move(i, code)),
            at().prop_map(Mutation::Remove),
            at().prop_map(Mutation::Repeat),
            (at(), at()).prop_map(|(a, b)| Mutation::Exchange(a, b)),
            at().prop_map(Mutation::Cut),
            (0..12usize).prop_map(Mutation::Config),
            Just(Mutation::Swap),
            Just(Mutation::TurnEnd),
            any::<u8>().prop_map(Mutation::Winner),
            (at(), any::<u32>(), policy).prop_map(|(i, ply, policy)| Mutation::Decision(i, ply, policy)),
        ]
    }

    fn mutate(game: &mut GameRecord, mutation: &Mutation) {
        let plies = game.moves.len().max(1);
        game.moves.resize(plies, 0);
        match mutation {
            Mutation::Move(i, code) => game.moves[i % plies] = *code,
            Mutation::Remove(i) => drop(game.moves.remove(i % plies)),
            Mutation::Repeat(i) => game.moves.insert(i % plies, game.moves[i % plies]),
            Mutation::Exchange(a, b) => game.moves.swap(a % plies, b % plies),
            Mutation::Cut(i) => game.moves.truncate(i % plies),
            Mutation::Config(i) => game.config = Config::all()[*i].into(),
            Mutation::Swap => game.swap = !game.swap,
            Mutation::TurnEnd => game.turn_end = !game.turn_end,
            Mutation::Winner(seat) => game.winner_seat = *seat,
            Mutation::Decision(i, ply, policy) => {
                let decision = Decision { ply: *ply, policy: policy.clone() };
                let decisions = game.decisions.len() + 1;
                game.decisions.insert(i % decisions, decision);
            }
        }
    }

    /// The judgement of the rules alone, step by step.
    fn is_game<T: Topology>(game: &GameRecord, seats: u8) -> bool {
        let victory = if game.turn_end { Victory::TurnEnd } else { Victory::EveryMove };
        let mut state = State::<T>::new(seats, Options { swap: game.swap, victory });
        let legal = game.moves.iter().all(|&code| {
            let mut moves = Vec::new();
            state.legal(&mut moves);
            let found = moves.into_iter().find(|mv| mv.code() == code);
            found.inspect(|mv| state.apply(*mv)).is_some()
        });
        legal && state.outcome().is_some_and(|outcome| outcome.winner == game.winner_seat)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn arbitrary_records_are_refused(record in any_record()) {
            prop_assert!(record.validate().is_err());
        }

        #[test]
        fn a_changed_game_is_accepted_only_if_it_is_a_game(
            seed in 0..8u64,
            changes in prop::collection::vec(mutation(), 1..3),
        ) {
            let mut game = fixture::game("square8_2p", seed);
            for change in &changes {
                mutate(&mut game, change);
            }
            if game.validate().is_ok() {
                let config = game.config.game().unwrap();
                prop_assert!(with_board!(config.board, T => is_game::<T>(&game, config.seats)));
            }
        }

        #[test]
        fn changed_bytes_never_panic(seed in 0..4u64, at in any::<usize>(), to in any::<u8>()) {
            let game = fixture::game("hex8_2p", seed);
            let mut bytes = game.to_bytes().unwrap();
            let at = at % bytes.len();
            bytes[at] ^= to;
            prop_assert_eq!(GameRecord::from_bytes(&bytes).is_ok(), to == 0);
        }
    }
}
