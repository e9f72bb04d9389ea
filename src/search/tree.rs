//! The search tree, in three flat vectors that are reused from search to search.
//!
//! Invariant: a node is a position with two legal moves or more, or one whose result is known; single legal
//! moves on the way are already played. The values of a node belong to the people behind the seats *of that
//! node*: on the way up through a `SW` edge the values of the two seats change places.

use super::{SearchError, gumbel::Arm};
use rules::{Bits, Move, MoveKind, Phase, SEATS_MAX, State, Topology};

/// The child of an edge that has none yet.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// The evaluator was not asked yet.
    Nothing,
    /// The evaluator gave a value and logits.
    Estimate,
    /// The game is over, or the seat to move wins in one step.
    Exactly,
}

#[derive(Clone)]
pub(super) struct TreeNode<T: Topology> {
    pub(super) state: State<T>,
    pub(super) known: Known,
    /// The evaluator's value, or the result.
    pub(super) value: [f32; SEATS_MAX],
    /// The number of visits, including the evaluation; `sum` is the sum of their values.
    pub(super) visits: u32,
    pub(super) sum: [f32; SEATS_MAX],
    first: u32,
    count: u32,
}

#[derive(Clone, Copy)]
pub(super) struct Edge {
    /// The logarithm of the prior probability.
    pub(super) logit: f32,
    pub(super) visits: u32,
    /// The sum of the values for the seat that moves.
    pub(super) sum: f32,
    pub(super) child: u32,
}

pub(super) struct Tree<T: Topology> {
    nodes: Vec<TreeNode<T>>,
    moves: Vec<Move>,
    edges: Vec<Edge>,
    legal: Vec<Move>,
}

/// The value of a game that `seat` has won: 1 for this seat, 0 for the others.
pub(super) fn one_hot(seat: u8) -> [f32; SEATS_MAX] {
    let mut value = [0.0; SEATS_MAX];
    value[usize::from(seat)] = 1.0;
    value
}

impl<T: Topology> Tree<T> {
    pub(super) fn new() -> Self {
        Self { nodes: Vec::new(), moves: Vec::new(), edges: Vec::new(), legal: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.nodes.clear();
        self.moves.clear();
        self.edges.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(super) fn node(&self, node: u32) -> &TreeNode<T> {
        &self.nodes[node as usize]
    }

    pub(super) fn node_mut(&mut self, node: u32) -> &mut TreeNode<T> {
        &mut self.nodes[node as usize]
    }

    fn range(&self, node: u32) -> std::ops::Range<usize> {
        let node = self.node(node);
        node.first as usize..(node.first + node.count) as usize
    }

    pub(super) fn moves(&self, node: u32) -> &[Move] {
        &self.moves[self.range(node)]
    }

    pub(super) fn edges(&self, node: u32) -> &[Edge] {
        &self.edges[self.range(node)]
    }

    pub(super) fn edges_mut(&mut self, node: u32) -> &mut [Edge] {
        let range = self.range(node);
        &mut self.edges[range]
    }

    pub(super) fn arms(&self, node: u32) -> impl Iterator<Item = Arm> + Clone {
        self.edges(node).iter().map(|edge| Arm { logit: edge.logit, visits: edge.visits, sum: edge.sum })
    }

    /// Adds the root with its legal moves.
    pub(super) fn add_root(&mut self, state: &State<T>, legal: &[Move]) -> u32 {
        self.push(state, Known::Nothing, [0.0; SEATS_MAX], legal)
    }

    /// The child behind an edge, which is made if there is none yet.
    pub(super) fn child(&mut self, node: u32, edge: usize) -> Result<u32, SearchError> {
        let child = self.edges(node)[edge].child;
        if child != NONE {
            return Ok(child);
        }
        let mut state = self.node(node).state;
        state.apply(self.moves(node)[edge]);
        let mut legal = std::mem::take(&mut self.legal);
        let child = self.settle(state, &mut legal);
        self.legal = legal;
        let child = child?;
        self.edges_mut(node)[edge].child = child;
        Ok(child)
    }

    /// Plays single legal moves, then adds the position that is reached.
    fn settle(&mut self, mut state: State<T>, legal: &mut Vec<Move>) -> Result<u32, SearchError> {
        loop {
            if let Some(outcome) = state.outcome() {
                return Ok(self.push(&state, Known::Exactly, one_hot(outcome.winner), &[]));
            }
            state.legal(legal);
            match legal[..] {
                [] => return Err(SearchError::NoLegalMove),
                [single] => state.apply(single),
                _ => break,
            }
        }
        Ok(if wins(&state, legal).next().is_some() {
            self.push(&state, Known::Exactly, one_hot(state.seat()), &[])
        } else {
            self.push(&state, Known::Nothing, [0.0; SEATS_MAX], legal)
        })
    }

    fn push(&mut self, state: &State<T>, known: Known, value: [f32; SEATS_MAX], legal: &[Move]) -> u32 {
        let id = self.nodes.len() as u32;
        self.nodes.push(TreeNode {
            state: *state,
            known,
            value,
            visits: 0,
            sum: [0.0; SEATS_MAX],
            first: self.moves.len() as u32,
            count: legal.len() as u32,
        });
        self.moves.extend_from_slice(legal);
        self.edges.resize(self.moves.len(), Edge { logit: 0.0, visits: 0, sum: 0.0, child: NONE });
        id
    }

    /// Adds a visit to every node and edge of the path, whose last edge leads to `leaf`.
    pub(super) fn back_up(&mut self, path: &[(u32, usize)], leaf: u32) {
        let mut value = self.node(leaf).value;
        self.visit(leaf, value);
        for &(node, edge) in path.iter().rev() {
            if self.moves(node)[edge].kind() == MoveKind::Swap {
                value.swap(0, 1);
            }
            self.visit(node, value);
            let mover = usize::from(self.node(node).state.seat());
            let edge = &mut self.edges_mut(node)[edge];
            edge.visits += 1;
            edge.sum += value[mover];
        }
    }

    pub(super) fn visit(&mut self, node: u32, value: [f32; SEATS_MAX]) {
        let node = self.node_mut(node);
        node.visits += 1;
        for (sum, value) in node.sum.iter_mut().zip(value) {
            *sum += value;
        }
    }

    /// A child of the root that has this position and was evaluated.
    pub(super) fn find_child(&self, state: &State<T>) -> Option<u32> {
        let children = self.edges(0).iter().map(|edge| edge.child).filter(|&child| child != NONE);
        children.into_iter().find(|&child| {
            let node = self.node(child);
            node.known == Known::Estimate && node.state == *state
        })
    }

    /// Copies the part of `from` below `root` with its positions and evaluations. Visits are not copied,
    /// because sequential halving gives every root move the same number of them.
    pub(super) fn copy_below(&mut self, from: &Self, root: u32) {
        self.clear();
        self.copy_node(from, root);
        let mut next = 0;
        while next < self.nodes.len() {
            for edge in self.range(next as u32) {
                let child = self.edges[edge].child;
                if child != NONE {
                    self.edges[edge].child = self.copy_node(from, child);
                }
            }
            next += 1;
        }
    }

    /// Copies one node. The edges of the copy still name the children of the original.
    fn copy_node(&mut self, from: &Self, node: u32) -> u32 {
        let original = from.node(node);
        let id = self.push(&original.state, original.known, original.value, from.moves(node));
        for (edge, original) in self.edges_mut(id).iter_mut().zip(from.edges(node)) {
            *edge = Edge { visits: 0, sum: 0.0, ..*original };
        }
        id
    }
}

/// The indices of the moves that win at once.
pub(super) fn wins<T: Topology>(state: &State<T>, legal: &[Move]) -> impl Iterator<Item = usize> {
    let legal = if may_win(state) { legal } else { &[] };
    legal.iter().enumerate().filter_map(move |(i, &mv)| {
        let mut next = *state;
        next.apply(mv);
        next.outcome().is_some_and(|outcome| outcome.winner == state.seat()).then_some(i)
    })
}

/// Whether one step may win, so that it is worth the time to try every move. A placement or a swap changes
/// nothing on which victory depends. This misses a few wins, and the search finds those as it finds other
/// good moves.
fn may_win<T: Topology>(state: &State<T>) -> bool {
    let seat = state.seat();
    match state.phase() {
        Phase::Place | Phase::Over => return false,
        Phase::Territory | Phase::Forced => return true,
        Phase::Move | Phase::Capture | Phase::Chain | Phase::Line => {}
    }
    // A strike eliminates two rings, any other step here at most one.
    const RINGS: u16 = 2;
    let config = state.config();
    let others = (0..state.seats()).filter(|&other| other != seat);
    let foreign: u16 = others.map(|other| state.hand(other) + state.on_board(other)).sum();
    state.eliminated(seat) + RINGS >= config.elimination_threshold()
        || u32::from(state.territory(seat)) + state.marker_bits(seat).count()
            >= u32::from(config.territory_minimum())
        || foreign <= RINGS
        || state.occupied_bits().count() <= u32::from(RINGS)
}
