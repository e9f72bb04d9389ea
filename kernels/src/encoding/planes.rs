//! A position as numbers.
//!
//! Invariant: everything is relative to the seat to move (seat 0 is the mover, 1 the next in turn), so that a
//! position and the same position with the seats rotated look alike; and cells are treated alike, so that
//! encoding commutes with the symmetries of the board. There is no history: a position says all that matters.

use rules::{Bits, Cell, Phase, SEATS_MAX, State, Topology, Victory};

/// The version of the encoding. It changes whenever the same position would be encoded differently;
/// checkpoints carry it.
pub const ENCODER_VERSION: u32 = 1;

/// Channels of a cell.
pub const CHANNELS: usize = 48;
/// Numbers that describe the position as a whole.
pub const GLOBALS: usize = 32;

const CONTROLLER: usize = 1;
const HEIGHT: usize = 5;
const CAP: usize = 6;
const HEIGHT_IS: usize = 7;
const CAP_IS: usize = 11;
const BELOW: usize = 14;
const RINGS: usize = 30;
const MARKER: usize = 34;
const COLLAPSED: usize = 38;
const MUST: usize = 42;
const ATTACK: usize = 43;
const BURIED: usize = 44;

/// Rings below the cap that are shown one by one.
const BELOW_SHOWN: u32 = 4;

/// How many turns a seat comes after the mover: 0 for the mover itself.
#[must_use]
pub fn relative(seat: u8, mover: u8, seats: u8) -> usize {
    usize::from((seat + seats - mover) % seats)
}

/// Writes the channels of every cell, `[cells, CHANNELS]`, and the globals.
///
/// # Panics
/// If the slices have other lengths.
pub fn encode<T: Topology>(state: &State<T>, planes: &mut [f32], globals: &mut [f32]) {
    assert_eq!((planes.len(), globals.len()), (T::CELLS * CHANNELS, GLOBALS));
    planes.fill(0.0);
    let (mover, seats) = (state.seat(), state.seats());
    for cell in planes.chunks_exact_mut(CHANNELS) {
        cell[0] = 1.0;
    }
    let mut set = |cell: Cell, channel: usize, value: f32| {
        planes[usize::from(cell) * CHANNELS + channel] = value;
    };
    for seat in 0..seats {
        let at = relative(seat, mover, seats);
        state.marker_bits(seat).cells().for_each(|cell| set(cell, MARKER + at, 1.0));
        state.collapsed_bits(seat).cells().for_each(|cell| set(cell, COLLAPSED + at, 1.0));
        state.controlled_bits(seat).cells().for_each(|cell| set(cell, CONTROLLER + at, 1.0));
    }
    for cell in state.occupied_bits().cells() {
        let stack = state.stack(cell);
        let (height, cap) = (stack.height(), stack.cap());
        set(cell, HEIGHT, height as f32 / 8.0);
        set(cell, CAP, cap as f32 / 8.0);
        set(cell, HEIGHT_IS + height.min(4) as usize - 1, 1.0);
        set(cell, CAP_IS + cap.min(3) as usize - 1, 1.0);
        for below in 0..BELOW_SHOWN.min(height - cap) {
            let owner = relative(stack.ring(height - cap - 1 - below), mover, seats);
            set(cell, BELOW + below as usize * SEATS_MAX + owner, 1.0);
        }
        for seat in 0..seats {
            let at = relative(seat, mover, seats);
            set(cell, RINGS + at, stack.count(seat) as f32 / 8.0);
            set(cell, BURIED + at, f32::from(u8::from(stack.buries(seat))));
        }
    }
    if let Some(cell) = state.must_cell() {
        set(cell, MUST, 1.0);
    }
    if let Some(cell) = state.attack_cell() {
        set(cell, ATTACK, 1.0);
    }
    encode_globals(state, globals);
}

fn encode_globals<T: Topology>(state: &State<T>, globals: &mut [f32]) {
    globals.fill(0.0);
    let (mover, seats, config) = (state.seat(), state.seats(), state.config());
    globals[phase_index(state.phase())] = 1.0;
    for seat in 0..seats {
        let at = relative(seat, mover, seats);
        globals[7 + at] = f32::from(state.hand(seat)) / f32::from(T::BOARD.supply());
        globals[11 + at] = f32::from(state.eliminated(seat)) / f32::from(config.elimination_threshold());
        globals[15 + at] = f32::from(state.territory(seat)) / f32::from(config.territory_minimum());
    }
    globals[19 + usize::from(seats) - 2] = 1.0;
    globals[22] = T::CELLS as f32 / 469.0;
    globals[23] = f32::from(u8::from(config.line_length() == 3));
    let lps = state.lps();
    if let Some(alone) = lps.alone {
        let rounds = f32::from(lps.rounds.min(3)) / 3.0;
        globals[if alone == mover { 24 } else { 25 }] = rounds;
    }
    for (global, flag) in globals[26..31].iter_mut().zip(flags(state)) {
        *global = f32::from(u8::from(flag));
    }
    let taken = (0..seats).fold(state.occupied_bits(), |bits, seat| {
        bits | state.marker_bits(seat) | state.collapsed_bits(seat)
    });
    globals[31] = taken.count() as f32 / T::CELLS as f32;
}

/// The index of the global that is 1 in a phase.
pub(crate) const fn phase_index(phase: Phase) -> usize {
    match phase {
        Phase::Place => 0,
        Phase::Move => 1,
        Phase::Capture => 2,
        Phase::Chain => 3,
        Phase::Line => 4,
        Phase::Territory => 5,
        // A finished game is never evaluated.
        Phase::Forced | Phase::Over => 6,
    }
}

/// The globals that are 0 or 1.
pub(crate) fn flags<T: Topology>(state: &State<T>) -> [bool; 5] {
    [
        state.swap_available(),
        state.payment_due(),
        state.recovery_turn(),
        state.acted(),
        state.options().victory == Victory::TurnEnd,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rules::{Config, Options, Symmetry, playout, with_board};

    fn commutes<T: Topology>(seats: u8, seed: u64) {
        let mut choices = playout::Choices::new(seed);
        let symmetries = Symmetry::all::<T>();
        let swap = seats == 2;
        let start = State::<T>::new(seats, Options { swap, ..Options::default() });
        let (mut a, mut b) = (vec![0.0; T::CELLS * CHANNELS], vec![0.0; T::CELLS * CHANNELS]);
        let (mut ga, mut gb) = ([0.0; GLOBALS], [0.0; GLOBALS]);
        let mut turn = 0;
        playout::play(start, &mut choices, &mut Vec::new(), |state, _| {
            turn += 1;
            if turn % 7 != 0 {
                return;
            }
            let symmetry = symmetries[turn % symmetries.len()];
            encode(state, &mut a, &mut ga);
            encode(&symmetry.state(state), &mut b, &mut gb);
            assert_eq!(ga, gb);
            for cell in 0..T::CELLS {
                let image = usize::from(symmetry.cell(cell as Cell));
                assert_eq!(a[cell * CHANNELS..][..CHANNELS], b[image * CHANNELS..][..CHANNELS]);
            }
            assert!(a.iter().chain(&ga).all(|value| (0.0..=16.0).contains(value)));
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn encoding_commutes_with_symmetries(seed: u64, which in 0usize..12) {
            let config = Config::all()[which];
            with_board!(config.board, T => commutes::<T>(config.seats, seed));
        }
    }

    #[test]
    fn the_mover_is_seat_zero() {
        let mut state = State::<rules::Hex8>::new(3, Options::default());
        let mut legal = Vec::new();
        state.legal(&mut legal);
        let mv = legal[0];
        let cell = usize::from(mv.from());
        state.apply(mv);
        let (mut planes, mut globals) = (vec![0.0; 61 * CHANNELS], [0.0; GLOBALS]);
        encode(&state, &mut planes, &mut globals);
        assert_eq!(planes[cell * CHANNELS + CONTROLLER], 1.0);
        assert_eq!(planes[cell * CHANNELS + MUST], 1.0);
        assert_eq!((globals[0], globals[1]), (0.0, 1.0));
        while state.seat() == 0 {
            state.legal(&mut legal);
            state.apply(legal[0]);
        }
        encode(&state, &mut planes, &mut globals);
        let mine: f32 = planes.chunks_exact(CHANNELS).map(|c| c[CONTROLLER]).sum();
        let last: f32 = planes.chunks_exact(CHANNELS).map(|c| c[CONTROLLER + 2]).sum();
        assert_eq!((mine, last), (0.0, 1.0));
    }
}
