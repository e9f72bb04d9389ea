// A position as the network is given it: what the numbers of its header and of its ground say.
//
// header: [32] u16, indexed by Header, three of them by seat, too; those behind the last are 0. ground: [cells] u8. Seats are
// those of the game, not relative. There is no work here: expand.cu reads both, wave/query.cuh writes them.
#pragma once

#include "prims.cuh"

namespace position {

constexpr int SEATS_MAX = 4, HEADER = 32;

enum Header {
    SEATS, SEAT, PHASE, MUST, ATTACK, FLAGS, ALONE, ROUNDS, // alone: 0 or 1 + seat
    HAND, ELIMINATED = HAND + SEATS_MAX, TERRITORY = ELIMINATED + SEATS_MAX,
    SUPPLY = TERRITORY + SEATS_MAX, ELIMINATION_THRESHOLD, TERRITORY_MINIMUM, LINE_OF_THREE
};

// The ground of a cell is 0, or one of these and a seat.
constexpr int MARKED_BY = 1, COLLAPSED_TO = MARKED_BY + SEATS_MAX;

} // namespace position
