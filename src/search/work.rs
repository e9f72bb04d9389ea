//! A search that stops whenever it needs an evaluation, so that many searches share one call of the network.
//!
//! A caller uses [`Search::start`], then answers with [`Search::answer`] while [`Search::query`] gives a
//! position, and then reads the results.
//!
//! Invariant: at most one position at a time waits in a search.

use super::{
    gumbel::{self, SearchSettings},
    tree::{Known, Tree, one_hot, wins},
};
use kernels::{Evaluation, Query};
use rules::{Move, MoveKind, SEATS_MAX, State, Topology, playout::Choices};

/// Why a search cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// An unfinished position has no legal move, which is a bug in the rules.
    #[error("an unfinished position without a legal move")]
    NoLegalMove,
    /// The evaluator gave something that is no evaluation of the position.
    #[error("an evaluation that is no distribution over the {legal} legal moves and the seats")]
    Evaluation {
        /// The number of legal moves of the position.
        legal: usize,
    },
}

/// Gumbel AlphaZero over one position at a time. It keeps its memory and its evaluations from move to move.
pub struct Search<T: Topology> {
    settings: SearchSettings,
    tree: Tree<T>,
    spare: Tree<T>,
    /// The paper's g for each root move; zeros without noise.
    noise: Vec<f32>,
    schedule: Vec<u32>,
    done: usize,
    path: Vec<(u32, usize)>,
    waiting: Option<u32>,
    /// The root moves that win at once. If there are any, nothing was searched.
    won: Vec<usize>,
    legal: Vec<Move>,
    scores: Vec<f32>,
    seat: u8,
    /// The index of the pie rule among the root moves.
    swap: Option<usize>,
}

const ROOT: u32 = 0;

impl<T: Topology> Search<T> {
    /// A search that has not started.
    #[must_use]
    pub fn new(settings: SearchSettings) -> Self {
        Self {
            settings,
            tree: Tree::new(),
            spare: Tree::new(),
            noise: Vec::new(),
            schedule: Vec::new(),
            done: 0,
            path: Vec::new(),
            waiting: None,
            won: Vec::new(),
            legal: Vec::new(),
            scores: Vec::new(),
            seat: 0,
            swap: None,
        }
    }

    /// Sets the factor of the noise for the searches that start from now on.
    pub fn set_noise_scale(&mut self, scale: f32) {
        self.settings.noise_scale = scale;
    }

    /// Forgets every evaluation, as is needed when the evaluator changes.
    pub fn clear(&mut self) {
        self.tree.clear();
        self.waiting = None;
    }

    /// Begins to search a position. With `noise` the search explores, without it it plays its best.
    pub fn start(
        &mut self,
        state: &State<T>,
        simulations: u32,
        noise: Option<&mut Choices>,
    ) -> Result<(), SearchError> {
        self.waiting = None;
        self.done = 0;
        self.won.clear();
        self.schedule.clear();
        self.seat = state.seat();
        state.legal(&mut self.legal);
        if self.legal.is_empty() {
            return Err(SearchError::NoLegalMove);
        }
        self.swap = self.legal.iter().position(|mv| mv.kind() == MoveKind::Swap);
        self.won.extend(wins(state, &self.legal));
        if self.legal.len() == 1 && self.won.is_empty() {
            self.won.push(0);
        }
        if !self.won.is_empty() {
            self.tree.clear();
            return Ok(());
        }
        self.noise.clear();
        match noise {
            Some(choices) => {
                let scale = self.settings.noise_scale;
                self.noise.extend(self.legal.iter().map(|_| scale * gumbel::gumbel(choices)));
            }
            None => self.noise.resize(self.legal.len(), 0.0),
        }
        let considered = self.settings.considered.min(self.legal.len()).min(simulations.max(1) as usize);
        gumbel::schedule(considered, simulations, &mut self.schedule);
        let known = if self.tree.is_empty() { None } else { self.tree.find_child(state) };
        if let Some(child) = known {
            self.spare.copy_below(&self.tree, child);
            std::mem::swap(&mut self.tree, &mut self.spare);
            let value = self.tree.node(ROOT).value;
            self.tree.visit(ROOT, value);
            self.advance()
        } else {
            self.tree.clear();
            self.tree.add_root(state, &self.legal);
            self.path.clear();
            self.waiting = Some(ROOT);
            Ok(())
        }
    }

    /// Draws from `choices` what [`Self::start`] draws for this position with noise, and searches nothing.
    pub fn pass(state: &State<T>, legal: &[Move], choices: &mut Choices) {
        if legal.len() > 1 && wins(state, legal).next().is_none() {
            choices.skip(legal.len() as u64);
        }
    }

    /// The position that waits for its evaluation; none when the search is finished.
    #[must_use]
    pub fn query(&self) -> Option<Query<'_, T>> {
        self.waiting.map(|node| Query { state: &self.tree.node(node).state, legal: self.tree.moves(node) })
    }

    /// Takes the evaluation of [`Self::query`] and goes on to the next one, or to the end. After an error the
    /// search cannot be used until the next start.
    pub fn answer(&mut self, evaluation: &Evaluation) -> Result<(), SearchError> {
        let Some(node) = self.waiting.take() else { return Ok(()) };
        let legal = self.tree.moves(node).len();
        let (inside, outside) = evaluation.value.split_at(usize::from(self.tree.node(node).state.seats()));
        let sum: f32 = inside.iter().sum();
        let valid = evaluation.logits.len() == legal
            && evaluation.logits.iter().all(|logit| logit.is_finite())
            && inside.iter().all(|&value| value >= 0.0)
            && (sum - 1.0).abs() < 1e-2
            && outside.iter().all(|&value| value == 0.0);
        if !valid {
            self.clear();
            return Err(SearchError::Evaluation { legal });
        }
        let total = gumbel::log_sum_exp(&evaluation.logits);
        for (edge, logit) in self.tree.edges_mut(node).iter_mut().zip(&evaluation.logits) {
            edge.logit = logit - total;
        }
        let entry = self.tree.node_mut(node);
        entry.known = Known::Estimate;
        entry.value = evaluation.value;
        self.tree.back_up(&self.path, node);
        if node != ROOT {
            self.done += 1;
        }
        self.advance()
    }

    /// Simulates until an evaluation is needed or all simulations are done.
    fn advance(&mut self) -> Result<(), SearchError> {
        while self.done < self.schedule.len() {
            let leaf = self.descend()?;
            if self.tree.node(leaf).known == Known::Nothing {
                self.waiting = Some(leaf);
                return Ok(());
            }
            self.tree.back_up(&self.path, leaf);
            self.done += 1;
        }
        Ok(())
    }

    /// Walks down to a node that has not been visited, or whose result is known.
    fn descend(&mut self) -> Result<u32, SearchError> {
        self.path.clear();
        let mut node = ROOT;
        loop {
            let edge = if node == ROOT { self.choose_root() } else { self.choose_interior(node) };
            self.path.push((node, edge));
            let child = self.tree.child(node, edge)?;
            let entry = self.tree.node(child);
            if entry.known != Known::Estimate || entry.visits == 0 {
                return Ok(child);
            }
            node = child;
        }
    }

    /// Chooses a root move. The first simulation goes to the pie rule if it is legal: it is one move among
    /// about two hundred, and too important to leave to the noise.
    fn choose_root(&mut self) -> usize {
        let visits = self.schedule[self.done];
        if visits == 0
            && let Some(swap) = self.swap
            && self.tree.edges(ROOT)[swap].visits == 0
        {
            return swap;
        }
        self.best_with(visits)
    }

    /// Of the root moves with this number of visits, the one with the highest `g + logit + sigma(completed
    /// Q)`.
    fn best_with(&mut self, visits: u32) -> usize {
        self.score(ROOT);
        let mut best = (f32::NEG_INFINITY, 0);
        let edges = self.tree.edges(ROOT);
        for (i, ((edge, score), noise)) in edges.iter().zip(&self.scores).zip(&self.noise).enumerate() {
            if edge.visits == visits && score + noise > best.0 {
                best = (score + noise, i);
            }
        }
        best.1
    }

    fn choose_interior(&mut self, node: u32) -> usize {
        self.score(node);
        gumbel::softmax(&mut self.scores);
        gumbel::interior(&self.scores, self.tree.edges(node).iter().map(|edge| edge.visits))
    }

    /// Writes `logit + sigma(completed Q)` of the node's moves into `scores`.
    fn score(&mut self, node: u32) {
        let entry = self.tree.node(node);
        let value = entry.value[usize::from(entry.state.seat())];
        gumbel::improved_logits(&self.settings, value, self.tree.arms(node), &mut self.scores);
    }

    /// The legal moves of the position that was searched.
    #[must_use]
    pub fn legal(&self) -> &[Move] {
        &self.legal
    }

    /// The index of the move to play, when the search is finished.
    #[must_use]
    pub fn best(&mut self) -> usize {
        if let Some(&won) = self.won.first() {
            return won;
        }
        let most = self.tree.edges(ROOT).iter().map(|edge| edge.visits).max().unwrap_or(0);
        self.best_with(most)
    }

    /// The improved policy over the legal moves, `softmax(logits + sigma(completed Q))`. If moves win at
    /// once, it is uniform over them.
    #[must_use]
    pub fn policy(&mut self) -> &[f32] {
        if self.won.is_empty() {
            self.score(ROOT);
            gumbel::softmax(&mut self.scores);
        } else {
            self.scores.clear();
            self.scores.resize(self.legal.len(), 0.0);
            for &won in &self.won {
                self.scores[won] = 1.0 / self.won.len() as f32;
            }
        }
        &self.scores
    }

    /// The value of the best move for the people behind the seats, which is the mean of its simulations.
    /// There is none for a single legal move, which was not searched.
    #[must_use]
    pub fn value(&mut self) -> Option<[f32; SEATS_MAX]> {
        if self.tree.is_empty() {
            return (self.legal.len() > 1).then(|| one_hot(self.seat));
        }
        let best = self.best();
        let edge = self.tree.edges(ROOT)[best];
        let node = self.tree.node(if edge.visits > 0 { edge.child } else { ROOT });
        let mut value = node.sum.map(|sum| sum / node.visits.max(1) as f32);
        if edge.visits > 0 && self.swap == Some(best) {
            value.swap(0, 1);
        }
        Some(value)
    }

    /// The number of visits of each legal move; none if nothing was searched.
    pub fn visits(&self) -> impl Iterator<Item = u32> {
        let edges = if self.tree.is_empty() { &[][..] } else { self.tree.edges(ROOT) };
        edges.iter().map(|edge| edge.visits)
    }
}
