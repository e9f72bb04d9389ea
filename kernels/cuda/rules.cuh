// The rules of RingRift on the device: legal moves, what they do, and how games end. The rules of the crate `rules` are
// the reference; positions, codes of moves and outcomes are equal to theirs after every step.
//
// A position is Game<B>, u32 words, and a warp's slice of shared memory is Table<B> (rules/state.cuh), 1.4 kB on the small
// boards and 7 kB on the largest; a move is a u32 (rules/moves.cuh), a stack a u64 (rules/stack.cuh).
//
// Work: a warp has one game, in its slice of the block's shared memory; blocks have WARPS warps, those of wave.cu one. A set
// of cells is a row a lane, so a neighbour is a shift and one shuffle away, a flood fill iterates until a ballot is empty, and
// whether there is anything is one ballot. Moves along rays are found a ray a lane. Functions are called by all lanes
// together, unless they say "for one lane alone". No recursion, no allocation, no host: everything a game needs is Table<B>.
#pragma once

#include "rules/geometry.cuh"
#include "rules/stack.cuh"
#include "rules/state.cuh"
#include "rules/moves.cuh"
#include "rules/rows.cuh"
#include "rules/movement.cuh"
#include "rules/placement.cuh"
#include "rules/lines.cuh"
#include "rules/territory.cuh"
#include "rules/recovery.cuh"
#include "rules/outcome.cuh"
#include "rules/turn.cuh"

namespace rules {

constexpr int WARPS = 4, THREADS = 32 * WARPS;

// Runs `body` with each of `games` indices that fall to the calling warp.
template <class Body> DEVICE void for_own_games(int games, int blocks, Body body) {
    for (int i = block_x() * WARPS + warp_id(); i < games; i += blocks * WARPS) body(i);
}

} // namespace rules
