// Placements: which are legal, and what they do.
//
// Cells that reach far enough are three words a lane (Reach), one bit a cell.
//
// Work: a warp has the game, a lane a row: from where a plain move of 1, 2 or 3 cells is open follows for all cells at once
// from shifts; only cells without one are looked at one by one, for a capture.
#pragma once

#include "rules/movement.cuh"

namespace rules {

// The cells from which a plain move of 1, 2 and 3 cells is open in some direction.
struct Reach {
    u32 far[3];
};

template <class B> DEVICE Reach reach(u32 open) {
    Reach reach = {{0, 0, 0}};
    UNROLL
    for (int direction = 0; direction < B::DIRECTIONS; direction++) {
        u32 one = before<B>(open, direction), two = one & before<B>(one, direction);
        reach.far[0] |= one;
        reach.far[1] |= two;
        reach.far[2] |= one & before<B>(two, direction);
    }
    return reach;
}

// How many rings the seat could put down at once.
template <class B> DEVICE int placeable(const Game<B>& game, int seat) {
    int room = B::SUPPLY - game.on_board[seat], hand = game.hand[seat];
    int most = hand < room ? hand : room;
    return most < 0 ? 0 : most > 3 ? 3 : most;
}

// Whether a ring of the seat may be put on the stack on a place. For one lane alone.
template <class B> DEVICE bool stacks_on(const Table<B>& t, int seat, int place) {
    u64 stack = t.game.stacks[cell_of<B>(place)];
    return acts_from(t, place, height_of(stack) + 1, top_of(stack) == seat ? cap_of(stack) + 1 : 1);
}

// Of the empty cells, those on which `count` rings have a capture though no plain move.
template <class B> CALLED u32 capturing(const Table<B>& t, u32 cells, int count) {
    u32 found = 0;
    for (; cells != 0; cells &= cells - 1)
        if (captures_from(t, place_at(lane_id(), lowest_bit(cells)), count, count)) found |= cells & (0 - cells);
    return found;
}

// Whether the seat, were it its turn, had a legal placement. After look().
template <class B> CALLED bool can_place(Table<B>& t, int seat) {
    const Game<B>& game = t.game;
    if (placeable<B>(game, seat) == 0) return false;
    u32 occupied = own_any<B>(game.controlled), open = open_cells<B>(game);
    u32 free = open & ~own_any<B>(game.markers), near = 0;
    UNROLL
    for (int direction = 0; direction < B::DIRECTIONS; direction++) near |= before<B>(open, direction);
    if (any((free & near) != 0)) return true;
    if (any(capturing(t, free & ~near, 1) != 0)) return true;
    int count = gather(occupied, t.places);
    bool found = false;
    for (int i = lane_id(); i < count && !found; i += 32) found = stacks_on(t, seat, t.places[i]);
    return any(found);
}

// Visits the placements of the seat to move and returns whether there is any. After look().
template <class B, class Visit> DEVICE bool list_rings(Table<B>& t, Visit& visit) {
    const Game<B>& game = t.game;
    int most = placeable<B>(game, game.seat);
    if (most == 0) return false;
    u32 occupied = own_any<B>(game.controlled), open = open_cells<B>(game);
    u32 candidates = open & ~own_any<B>(game.markers);
    Reach reached = reach<B>(open);
    bool found = false;
    // Two and three rings need a cell that is legal for one as well.
    UNROLL
    for (int i = 0; i < 3; i++) {
        if (i >= most) break;
        u32 legal = candidates & reached.far[i];
        legal |= capturing(t, candidates & ~legal, i + 1);
        for (u32 rest = legal; rest != 0; rest &= rest - 1)
            visit(cell_code<B>(PLACE_1 + i, place_at(lane_id(), lowest_bit(rest))));
        if (i == 0) candidates = legal;
        found |= legal != 0;
    }
    int count = gather(occupied, t.places);
    for (int i = lane_id(); i < count; i += 32)
        if (stacks_on(t, game.seat, t.places[i])) {
            visit(cell_code<B>(PLACE_1, t.places[i]));
            found = true;
        }
    return any(found);
}

// Puts rings of the seat to move on a place.
template <class B> DEVICE void place_rings(Table<B>& t, int place, int count) {
    Game<B>& game = t.game;
    u64 stack = game.stacks[cell_of<B>(place)];
    for (int i = 0; i < count; i++) stack = pushed(stack, game.seat);
    sync_warp();
    if (lane_id() == 0) {
        game.hand[game.seat] -= count;
        game.on_board[game.seat] += count;
    }
    put_stack(game, place, stack);
    sync_warp();
}

} // namespace rules
