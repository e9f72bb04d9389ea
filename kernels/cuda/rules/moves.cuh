// Moves as 32 bits: a u32 with 5 for the kind, 9 for each of three cells, the same as on the host.
//
// Work: codes are made by one lane from places, and decoded by all together. Listing functions take a visitor, called with
// each legal move by exactly one lane. Visits happen in divergent code, so a visitor holds no warp operation.
#pragma once

#include "rules/geometry.cuh"

namespace rules {

enum Kind {
    PLACE_1, PLACE_2, PLACE_3, SKIP_PLACEMENT, NO_PLACEMENT, SWAP,
    MOVE_STACK, CAPTURE_FIRST, SKIP_CAPTURE, CAPTURE_NEXT,
    RECOVER_LINE, RECOVER_STRETCH, RECOVER_FALLBACK, RECOVER_STRIKE, SKIP_RECOVERY, NO_MOVEMENT,
    LINE_EXACT, LINE_ALL, LINE_STRETCH, PAY_LINE, NO_LINE,
    CLAIM, PAY_TERRITORY, PAY_RECOVERY, SKIP_TERRITORY, NO_TERRITORY, FORCED_ELIMINATION
};

DEVICE u32 move_code(int kind, int from, int to, int aux) {
    return (u32)kind << 27 | (u32)from << 18 | (u32)to << 9 | (u32)aux;
}
DEVICE u32 bare_code(int kind) { return move_code(kind, NONE_CELL, NONE_CELL, NONE_CELL); }
template <class B> DEVICE u32 cell_code(int kind, int from) {
    return move_code(kind, cell_of<B>(from), NONE_CELL, NONE_CELL);
}
template <class B> DEVICE u32 pair_code(int kind, int from, int to) {
    return move_code(kind, cell_of<B>(from), cell_of<B>(to), NONE_CELL);
}
template <class B> DEVICE u32 triple_code(int kind, int from, int to, int aux) {
    return move_code(kind, cell_of<B>(from), cell_of<B>(to), cell_of<B>(aux));
}

// A move with its places; -1 where it has none. A claim keeps the colour of its wall as `aux`.
struct Move {
    int kind, from, to, aux;
};

// All lanes ask for the same move.
template <class B> DEVICE Move decode(u32 code) {
    int kind = (int)(code >> 27);
    int from = (int)(code >> 18 & 511), to = (int)(code >> 9 & 511), aux = (int)(code & 511);
    return {kind, from < B::CELLS ? place_of<B>(from) : -1, to < B::CELLS ? place_of<B>(to) : -1,
            kind == CLAIM ? aux : aux < B::CELLS ? place_of<B>(aux) : -1};
}

// Whether a turn of nothing but such steps counts as idle.
DEVICE bool is_idle(int kind) {
    constexpr u32 IDLE = 1u << NO_PLACEMENT | 1u << NO_MOVEMENT | 1u << NO_LINE | 1u << NO_TERRITORY |
                         1u << SKIP_PLACEMENT | 1u << SKIP_TERRITORY | 1u << SKIP_CAPTURE | 1u << SKIP_RECOVERY;
    return (IDLE >> kind & 1) != 0;
}

} // namespace rules
