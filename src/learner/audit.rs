//! Judges games of self-play that another node played, by making some of their decisions again.
//!
//! Invariant: a game of an honest player is found forged with a chance of at most [`ALARM`] where the player
//! computes in another way than this node, and never where it computes in the same way.
//!
//! Of a game that is drawn, two decisions are made again. Where the backend has the same name, one decision
//! proves: policy and move must be the same to the last bit. There one of the two was searched thoroughly,
//! because its policy says most about the network. Elsewhere rounding may change a search, so one decision
//! proves nothing, and any two are drawn, of more games. If one is not even similar, some more of the game
//! are made again, then all (up to 96). The game counts as forged if so many of them are not similar as
//! honest rounding explains with a chance of at most [`ALARM`].

use super::again::{self, Compared, Outcome, Unjudged};
use crate::{search::AnyEvaluator, store::GameRecord};
use cluster_state::ModelId;
use rules::{Config, playout::Choices};

/// The share of the decisions of an honest game that may be not similar on another backend: a bound, six
/// times what rounding logits and values to bf16 does (the tests measure it).
pub(super) const DISSIMILAR_MAX: f64 = 0.1;
/// How many decisions of a game are made again at first when one is not similar, and how many of them must
/// not be similar for the others to be worth the time: of an honest game, 3 in 100 are by the bound above.
const DOUBT: usize = 12;
const DOUBT_MIN: usize = 4;
/// How many more games are drawn of a player with another backend: a look at one of them finds less, and
/// costs less.
const OTHERS: f64 = 1.5;
/// The most decisions of a game that are made again, so that no record makes an auditor compute for long.
const DECISIONS_MAX: usize = 96;
/// The chance that a whole game is found forged because of rounding alone.
pub const ALARM: f64 = 1e-8;

/// A game that its player did not play as the record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forged {
    /// The game, as the caller numbers it.
    pub game: u32,
    /// The first step that proves it.
    pub ply: u32,
}

/// What an examination came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examined {
    /// Games that were looked at.
    pub games: u64,
    /// Decisions that were made again.
    pub decisions: u64,
    /// Of several forged games, the first.
    pub forged: Option<Forged>,
    /// What a program of another version wrote: segments and games of which nothing can be said here.
    pub unjudged: u64,
}

/// How an auditor computes: the network of the model, and the name of what computes it.
pub struct Auditor<'a> {
    /// The configuration of all games.
    pub config: Config,
    /// The model that should have played.
    pub model: ModelId,
    /// Its network, on this node.
    pub evaluator: &'a mut dyn AnyEvaluator,
    /// The name of this node's backend.
    pub backend: &'a str,
}

impl Auditor<'_> {
    /// Looks at decisions of each of these valid games, which `choices` draws.
    ///
    /// # Errors
    /// [`Unjudged`] if the evaluator fails. Games that do not say how they were played are left out.
    pub fn sample(
        &mut self,
        games: &[(u32, &GameRecord)],
        choices: &mut Choices,
    ) -> Result<Examined, Unjudged> {
        let mut examined = Examined::default();
        let mut drawn = Vec::new();
        for &(game, record) in games.iter().filter(|(_, record)| record.played.is_some()) {
            examined.games += 1;
            if again::model_of(record) != Some(self.model) {
                examined.found(Forged { game, ply: 0 });
                continue;
            }
            drawn.push((game, record, draw(record, self.is_same(record), choices)));
        }
        let asked: Vec<(&GameRecord, &[u32])> =
            drawn.iter().map(|(_, record, plies)| (*record, plies.as_slice())).collect();
        let outcomes = again::compare(&asked, self.config, self.evaluator)?;
        for ((game, record, _), outcome) in drawn.iter().zip(outcomes) {
            examined.decisions += outcome.as_ref().map_or(0, Vec::len) as u64;
            let ply = match self.verdict(record, &outcome) {
                Verdict::True => None,
                Verdict::Forged(ply) => Some(ply),
                Verdict::Doubtful => {
                    let (ply, decisions) = self.doubted(record)?;
                    examined.decisions += decisions;
                    ply
                }
            };
            if let Some(ply) = ply {
                examined.found(Forged { game: *game, ply });
            }
        }
        Ok(examined)
    }

    /// Looks at one game as another node has reported it: at the decision of this ply, or at the whole game
    /// if one decision proves nothing here.
    ///
    /// # Errors
    /// [`Unjudged`] if the evaluator fails, or the record does not say how the game was played.
    pub fn confirm(&mut self, game: u32, record: &GameRecord, ply: u32) -> Result<Examined, Unjudged> {
        let mut examined = Examined { games: 1, ..Examined::default() };
        if record.played.is_none() {
            return Err(Unjudged::Unsaid);
        }
        if again::model_of(record) != Some(self.model) {
            examined.found(Forged { game, ply: 0 });
            return Ok(examined);
        }
        if self.is_same(record) {
            let outcomes = again::compare(&[(record, &[ply])], self.config, self.evaluator)?;
            for outcome in &outcomes {
                examined.decisions += outcome.as_ref().map_or(0, Vec::len) as u64;
                if let Verdict::Forged(ply) = self.verdict(record, outcome) {
                    examined.found(Forged { game, ply });
                }
            }
        } else {
            let (ply, decisions) = self.whole(record)?;
            examined.decisions += decisions;
            if let Some(ply) = ply {
                examined.found(Forged { game, ply });
            }
        }
        Ok(examined)
    }

    /// The share of the games like this one that is looked at, where `share` is that of the games whose
    /// backend is this node's.
    #[must_use]
    pub fn share(&self, record: &GameRecord, share: f64) -> f64 {
        if self.is_same(record) { share } else { (share * OTHERS).min(1.0) }
    }

    fn is_same(&self, record: &GameRecord) -> bool {
        record
            .played
            .as_ref()
            .is_some_and(|played| !played.backend.is_empty() && played.backend == self.backend)
    }

    fn verdict(&self, record: &GameRecord, outcome: &Outcome) -> Verdict {
        let compared = match outcome {
            Ok(compared) => compared,
            Err(untrue) => return Verdict::Forged(untrue.ply),
        };
        let same = self.is_same(record);
        let differs = |one: &&Compared| if same { !one.equal } else { !one.similar };
        match compared.iter().find(differs) {
            None => Verdict::True,
            Some(one) if same => Verdict::Forged(one.ply),
            Some(_) => Verdict::Doubtful,
        }
    }

    /// Looks at some decisions of a game, and at the whole game if these are no reason to believe it.
    fn doubted(&mut self, record: &GameRecord) -> Result<(Option<u32>, u64), Unjudged> {
        match self.again(record, DOUBT)? {
            Ok(compared) if dissimilar(&compared) >= DOUBT_MIN.min(compared.len()) => self.whole(record),
            Ok(compared) => Ok((None, compared.len() as u64)),
            Err(untrue) => Ok((Some(untrue.ply), 0)),
        }
    }

    /// Makes the decisions of a game again, or as many as there may be. Returns the first step that is not
    /// similar if rounding does not explain the game, and the number of decisions.
    fn whole(&mut self, record: &GameRecord) -> Result<(Option<u32>, u64), Unjudged> {
        Ok(match self.again(record, DECISIONS_MAX)? {
            Ok(compared) => (unexplained(&compared), compared.len() as u64),
            Err(untrue) => (Some(untrue.ply), 0),
        })
    }

    /// Makes up to so many decisions of a game again, evenly spread.
    fn again(&mut self, record: &GameRecord, most: usize) -> Result<Outcome, Unjudged> {
        let step = record.decisions.len().div_ceil(most).max(1);
        let plies: Vec<u32> = record.decisions.iter().step_by(step).map(|decision| decision.ply).collect();
        let outcomes = again::compare(&[(record, &plies)], self.config, self.evaluator)?;
        Ok(outcomes.into_iter().next().unwrap_or_else(|| Ok(Vec::new())))
    }
}

/// The plies of two decisions. With `thorough`, one of them is of a thorough search, if there is one.
fn draw(record: &GameRecord, thorough: bool, choices: &mut Choices) -> Vec<u32> {
    let mut one_of = |plies: Vec<u32>| (!plies.is_empty()).then(|| plies[choices.below(plies.len())]);
    let first = record.decisions.iter().filter(|decision| !thorough || !decision.policy.is_empty());
    let first = one_of(first.map(|decision| decision.ply).collect());
    let any = one_of(record.decisions.iter().map(|decision| decision.ply).collect());
    let mut plies: Vec<u32> = first.into_iter().chain(any).collect();
    plies.sort_unstable();
    plies.dedup();
    plies
}

enum Verdict {
    True,
    Forged(u32),
    Doubtful,
}

impl Examined {
    fn found(&mut self, forged: Forged) {
        self.forged = self.forged.or(Some(forged));
    }
}

fn dissimilar(compared: &[Compared]) -> usize {
    compared.iter().filter(|one| !one.similar).count()
}

/// The first decision that is not similar, if rounding does not explain how many there are.
fn unexplained(compared: &[Compared]) -> Option<u32> {
    let explained = tail(compared.len(), dissimilar(compared), DISSIMILAR_MAX) > ALARM;
    compared.iter().find(|one| !one.similar && !explained).map(|one| one.ply)
}

/// The chance of `hits` or more among `tries` that each hit with the chance `share`.
pub(super) fn tail(tries: usize, hits: usize, share: f64) -> f64 {
    // The first term in logarithms, because it is far below the smallest number.
    let log = |n: usize| (1..=n).map(|i| (i as f64).ln()).sum::<f64>();
    if hits > tries {
        return 0.0;
    }
    let first = log(tries) - log(hits) - log(tries - hits)
        + hits as f64 * share.ln()
        + (tries - hits) as f64 * (1.0 - share).ln();
    let (mut term, mut sum) = (first.exp(), 0.0);
    for hit in hits..=tries {
        sum += term;
        term *= (tries - hit) as f64 / (hit + 1) as f64 * share / (1.0 - share);
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests;
