// Regions: what may be claimed, and what a claim does.
//
// A region is found under the wall of one marker colour (0 to 3) or of collapsed cells alone (4); the same cells may be
// found under several walls, and the lowest one names the region. A region is its cells, a word a lane; seats are a bit each.
//
// Work: a warp has the game. Regions are filled one after another, a row a lane, every lane taking what its neighbours have
// until none gains a cell.
#pragma once

#include "rules/moves.cuh"
#include "rules/rows.cuh"
#include "rules/state.cuh"

namespace rules {

constexpr int NO_COLOUR = SEATS;

// The cells that a wall leaves open.
template <class B> DEVICE u32 open_under(const Game<B>& game, int wall) {
    u32 closed = own_any<B>(game.collapsed);
    if (wall < NO_COLOUR) closed |= own<B>(game.markers[wall]);
    return row_mask<B>(lane_id()) & ~closed;
}

// A mask of the seats with a ring in any stack.
template <class B> DEVICE u32 active_colours(const Game<B>& game) {
    u32 active = 0;
    for (int seat = 0; seat < SEATS; seat++) active |= (u32)(game.on_board[seat] > 0) << seat;
    return active;
}

// A mask of the seats that control a stack in the set.
template <class B> DEVICE u32 colours_in(const Game<B>& game, u32 cells) {
    u32 colours = 0;
    for (int seat = 0; seat < SEATS; seat++)
        colours |= (u32)any((own<B>(game.controlled[seat]) & cells) != 0) << seat;
    return colours;
}

// Stacks that hold a ring of the seat to move, below the top where only buried rings count.
template <class B> DEVICE u32 stacks_holding(const Game<B>& game, bool buried) {
    u32 holding = 0;
    for (u32 rest = own_any<B>(game.controlled); rest != 0; rest &= rest - 1) {
        u64 stack = game.stacks[cell_of<B>(place_at(lane_id(), lowest_bit(rest)))];
        if (buried ? buries(stack, game.seat) : ring_count(stack, game.seat) > 0) holding |= rest & (0 - rest);
    }
    return holding;
}

// The stacks one of which must lie outside a region that the seat to move claims, and can pay for it.
template <class B> DEVICE u32 region_payers(const Game<B>& game) {
    return game.recovery ? stacks_holding<B>(game, true) : own<B>(game.controlled[game.seat]);
}

// Visits the regions that the seat to move may claim, from lane 0: all of them, or only the first; returns whether there is
// any.
template <class B, class Visit> DEVICE bool list_regions(const Table<B>& t, bool all, Visit& visit) {
    const Game<B>& game = t.game;
    u32 payers = region_payers<B>(game), active = active_colours<B>(game);
    if (active == 0 || !any(payers != 0)) return false;
    u32 walls = 0;
    bool found = false;
    ROLLED
    for (int wall = 0; wall <= NO_COLOUR; wall++) {
        bool counts = wall < NO_COLOUR ? any(own<B>(game.markers[wall]) != 0) : (active & (active - 1)) != 0;
        if (!counts) continue;
        u32 open = open_under<B>(game, wall), rest = open;
        while (any(rest != 0)) {
            int seed = lowest_place(rest);
            u32 cells = component<B>(open, spot(seed)), border = grown<B>(cells) & ~cells;
            rest &= ~cells;
            u32 colours = colours_in<B>(game, cells);
            bool qualifies = wall < NO_COLOUR ? colours != active : count_bits(colours) == 1;
            if (!qualifies || !any((payers & ~cells) != 0)) continue;
            bool known = false;
            for (u32 others = walls; others != 0; others &= others - 1) {
                u32 there = open_under<B>(game, lowest_bit(others));
                known |= !any((cells & ~there) != 0 || (border & there) != 0);
            }
            if (known) continue;
            if (lane_id() == 0) visit(move_code(CLAIM, cell_of<B>(seed), NONE_CELL, wall));
            if (!all) return true;
            found = true;
        }
        walls |= 1u << wall;
    }
    return found;
}

struct Ignore {
    DEVICE void operator()(u32) const {}
};

// Whether the seat to move may claim anything.
template <class B> CALLED bool has_region(const Table<B>& t) {
    Ignore ignore;
    return list_regions(t, false, ignore);
}

// Eliminates the rings in the region, collapses its cells and its border markers.
template <class B> CALLED void claim_region(Table<B>& t, Move move) {
    Game<B>& game = t.game;
    u32 cells = component<B>(open_under<B>(game, move.aux), spot(move.from));
    u32 markers = own_any<B>(game.markers) & ~cells, border = grown<B>(cells) & markers;
    while (B::LINKED) {
        u32 fresh = grown_eight(border) & markers & ~border;
        if (!any(fresh != 0)) break;
        border |= fresh;
    }
    // The rings of each seat, 16 bits each.
    u64 rings = 0;
    u32 stacks = own_any<B>(game.controlled) & cells;
    for (u32 rest = stacks; rest != 0; rest &= rest - 1) {
        u64 stack = game.stacks[cell_of<B>(place_at(lane_id(), lowest_bit(rest)))];
        for (int seat = 0; seat < SEATS; seat++) rings += (u64)ring_count(stack, seat) << 16 * seat;
    }
    rings = warp_sum(rings);
    sync_warp();
    int lane = lane_id();
    for (; stacks != 0; stacks &= stacks - 1) game.stacks[cell_of<B>(place_at(lane, lowest_bit(stacks)))] = 0;
    if (lane < B::ROWS)
        for (int seat = 0; seat < SEATS; seat++) game.controlled[seat][lane] &= ~cells;
    if (lane < SEATS) game.on_board[lane] -= (int)(rings >> 16 * lane & 0xffff);
    if (lane == 0)
        for (int seat = 0; seat < SEATS; seat++) game.eliminated[game.seat] += (int)(rings >> 16 * seat & 0xffff);
    sync_warp();
    collapse(t, cells | border);
}

} // namespace rules
