//! The end of the game: the four tests, round-counted last player standing, and the ranks.
//!
//! Tests 1 to 4 look at the board alone, except that a stackless board without any unique maximum goes to
//! the seat that moved last.

use std::array::from_fn;

use crate::bits::Bits;
use crate::board::SEATS_MAX;
use crate::state::{Lps, NEVER, Phase, State};
use crate::topology::Topology;

/// Why the winner won, as the reference engine labels it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Enough eliminated rings, or the most of them on a board without stacks.
    RingElimination,
    /// Enough territory, or the most of it on a board without stacks.
    TerritoryControl,
    /// Nobody else has rings, or real actions; or the most markers, or the last move, on a board without stacks.
    LastPlayerStanding,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::RingElimination, Self::TerritoryControl, Self::LastPlayerStanding];

    /// The label used in traces and the notation.
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
    /// Why.
    pub reason: Reason,
    /// Rank of each seat from 1, ties share (1, 2, 2, 4); 0 for seats not in the game.
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

    /// The winner on a board without stacks where nobody can place. Each level looks at all seats again.
    fn tie_break(&self) -> (u8, Reason) {
        // Absent seats hold nothing, and nothing is no maximum.
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

    /// Notes who has just lost the last ring, for the ranks.
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

    /// The winner first; the others by territory, eliminated rings, markers, time of losing the last ring.
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

    /// Registers the start of a turn; true if the seat to move wins by last player standing.
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

    /// Whether the seat, were it its turn, has a legal placement, plain move or capture.
    pub(crate) fn has_real_action(&self, seat: u8) -> bool {
        self.can_move(seat) || self.can_place(seat)
    }
}
