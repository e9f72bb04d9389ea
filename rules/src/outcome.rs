//! The end of the game: the four tests, round-counted last player standing, and the ranks (docs/rules.md,
//! section 13).
//!
//! Invariant: tests 1 to 4 depend on the board and the counters alone, with one exception: on a board without
//! stacks and without a single largest value, the seat that moved last wins.

use std::array::from_fn;

use crate::bits::Bits;
use crate::board::SEATS_MAX;
use crate::phase::Phase;
use crate::state::{Lps, NEVER, State};
use crate::topology::Topology;

/// Why the winner won. The labels are those of the recorded games, which name the level of a stalemate that
/// decided (docs/rules.md, finding 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The winner eliminated enough rings, or the most of them on a board without stacks.
    RingElimination,
    /// The winner has enough territory, or the most of it on a board without stacks.
    TerritoryControl,
    /// Nobody else has rings, or nobody else had real actions for three rounds; or, on a board without
    /// stacks, the winner has the most markers or moved last.
    LastPlayerStanding,
}

impl Reason {
    /// All reasons, in the order of the tests.
    pub const ALL: [Self; 3] = [Self::RingElimination, Self::TerritoryControl, Self::LastPlayerStanding];

    /// The label in recorded games and in the notation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RingElimination => "ring_elimination",
            Self::TerritoryControl => "territory_control",
            Self::LastPlayerStanding => "last_player_standing",
        }
    }
}

/// How a game ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// The winning seat, from 0.
    pub winner: u8,
    /// The test that decided.
    pub reason: Reason,
    /// The rank of each seat, from 1; equal seats share a rank (1, 2, 2, 4). Seats that are not in the game
    /// have 0.
    pub ranks: [u8; 4],
}

/// The seat with the largest value, if it is above zero and nobody shares it.
fn unique_maximum(values: [u32; SEATS_MAX]) -> Option<u8> {
    let (seat, &best) = values.iter().enumerate().max_by_key(|(_, value)| **value)?;
    let shared = values.iter().filter(|&&value| value == best).count() > 1;
    (best > 0 && !shared).then_some(seat as u8)
}

impl<T: Topology> State<T> {
    /// The four tests of the rules, in their order.
    pub(crate) fn victory(&self) -> Option<(u8, Reason)> {
        let config = self.config();
        let threshold = config.elimination_threshold() as i16;
        let seats = usize::from(self.seats);
        if let Some(seat) = self.eliminated[..seats].iter().position(|&rings| rings >= threshold) {
            return Some((seat as u8, Reason::RingElimination));
        }
        let minimum = config.territory_minimum();
        let cells: u16 = self.territory[..seats].iter().sum();
        let controls = |&own: &u16| own >= minimum && own > cells - own;
        if let Some(seat) = self.territory[..seats].iter().position(controls) {
            return Some((seat as u8, Reason::TerritoryControl));
        }
        if self.occupied.is_empty() {
            let stalemate = self.seat_range().all(|seat| !self.can_place(seat));
            return stalemate.then(|| self.tie_break());
        }
        let mut present = self.seat_range().filter(|&seat| self.present(seat));
        match (present.next(), present.next()) {
            (Some(seat), None) => Some((seat, Reason::LastPlayerStanding)),
            _ => None,
        }
    }

    /// The winner on a board without stacks where nobody can place. Each level looks at all seats again
    /// (finding 14).
    fn tie_break(&self) -> (u8, Reason) {
        // Seats that are not in the game have zeros everywhere, and zero never wins a level.
        let territory = self.territory.map(u32::from);
        let rings = from_fn(|seat| (self.eliminated[seat] + self.hand[seat]).max(0) as u32);
        let markers = self.markers.map(|markers| markers.count());
        if let Some(seat) = unique_maximum(territory) {
            return (seat, Reason::TerritoryControl);
        }
        if let Some(seat) = unique_maximum(rings) {
            return (seat, Reason::RingElimination);
        }
        if let Some(seat) = unique_maximum(markers) {
            return (seat, Reason::LastPlayerStanding);
        }
        (self.seat, Reason::LastPlayerStanding)
    }

    /// Records which seats have just lost their last ring; the ranks depend on it.
    pub(crate) fn note_losses(&mut self) {
        for seat in self.seat_range() {
            if !self.present(seat) && self.lost_at[usize::from(seat)] == NEVER {
                self.lost_at[usize::from(seat)] = self.ply;
            }
        }
    }

    /// Ends the game.
    pub(crate) fn finish(&mut self, winner: u8, reason: Reason) {
        self.outcome = Some(Outcome { winner, reason, ranks: self.ranks(winner) });
        self.phase = Phase::Over;
        self.seat = winner;
        self.clear_turn();
        self.swap_open = false;
        self.lps = Lps::default();
    }

    /// The ranks: the winner is first, the others follow by territory, eliminated rings, markers, and the
    /// step at which they lost their last ring.
    fn ranks(&self, winner: u8) -> [u8; 4] {
        let stalemate = self.occupied.is_empty();
        let key = |seat: u8| {
            let i = usize::from(seat);
            let hand = if stalemate { self.hand[i] } else { 0 };
            let rings = self.eliminated[i] + hand;
            (seat == winner, self.territory[i], rings, self.markers[i].count(), self.lost_at[i])
        };
        let mut ranks = [0; SEATS_MAX];
        for seat in self.seat_range() {
            let better = self.seat_range().filter(|&other| key(other) > key(seat)).count();
            ranks[usize::from(seat)] = 1 + better as u8;
        }
        ranks
    }

    /// Registers the start of a turn. The result is true if the seat to move wins by last player standing.
    pub(crate) fn last_player_standing(&mut self) -> bool {
        let seat = self.seat;
        let present = self.seat_range().filter(|&s| self.present(s)).fold(0u8, |mask, s| mask | 1 << s);
        let has = |who: Option<u8>| who.is_some_and(|s| present >> s & 1 != 0);
        let lps = &mut self.lps;
        if !has(lps.first) {
            lps.first = Some(seat);
            (lps.seen, lps.real) = (0, 0);
            if !has(lps.alone) {
                (lps.alone, lps.rounds) = (None, 0);
            }
        } else if lps.first == Some(seat) && lps.seen != 0 {
            let real = present & lps.real;
            if real.count_ones() == 1 {
                let only = Some(real.trailing_zeros() as u8);
                lps.rounds = if lps.alone == only { lps.rounds.saturating_add(1) } else { 1 };
                lps.alone = only;
            } else {
                (lps.alone, lps.rounds) = (None, 0);
            }
            (lps.seen, lps.real) = (0, 0);
        }
        let real = self.has_real_action(seat);
        self.lps.seen |= 1 << seat;
        self.lps.real |= u8::from(real) << seat;
        self.lps.rounds >= 3
            && self.lps.alone == Some(seat)
            && real
            && self.seat_range().all(|s| s == seat || !self.present(s) || !self.has_real_action(s))
    }

    /// Whether the seat would have a legal placement, plain move or capture if it were to move.
    pub(crate) fn has_real_action(&self, seat: u8) -> bool {
        self.can_move(seat) || self.can_place(seat)
    }
}
