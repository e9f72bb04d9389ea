// Plain moves and captures: what they are and what they do.
//
// A ray ends at the first stack or collapsed cell; markers never block. All is in Table<B>: what ends rays in `closed` and
// `stacked`, a row a word, the stacks at hand in `places`.
//
// Work: a warp has the game. Moves are listed a ray a lane: lane i takes the rays i, i + 32, ... of the stacks at hand, each
// stack's rays side by side.
#pragma once

#include "rules/moves.cuh"
#include "rules/rows.cuh"
#include "rules/state.cuh"

namespace rules {

// Notes what ends a ray, for all that follows until the game changes.
template <class B> CALLED void look(Table<B>& t) {
    int lane = lane_id();
    u32 occupied = own_any<B>(t.game.controlled), open = open_cells<B>(t.game);
    sync_warp();
    if (lane < B::ROWS) {
        t.closed[lane + 1] = ~(open << 1);
        t.stacked[lane + 1] = occupied << 1;
    } else if (lane == B::ROWS) {
        t.closed[0] = t.closed[B::ROWS + 1] = ALL_BITS;
        t.stacked[0] = t.stacked[B::ROWS + 1] = 0;
    }
    sync_warp();
}

template <class B> DEVICE bool is_closed(const Table<B>& t, int row, int column) {
    return (t.closed[row + 1] >> (column + 1) & 1) != 0;
}
template <class B> DEVICE bool is_stacked(const Table<B>& t, int row, int column) {
    return (t.stacked[row + 1] >> (column + 1) & 1) != 0;
}

// What a stack sees along a ray: the open cells before what ends it, and, if that is a stack whose cap it may
// overtake, the open cells beyond; 0 otherwise.
struct Ray {
    int open, beyond;
};

template <class B> DEVICE Ray cast(const Table<B>& t, int from, int direction, int cap) {
    int rows = row_step<B>(direction), columns = column_step<B>(direction);
    int row = row_of(from) + rows, column = column_of(from) + columns;
    Ray ray = {0, 0};
    for (; !is_closed(t, row, column); row += rows, column += columns) ray.open++;
    if (!is_stacked(t, row, column)) return ray;
    if (cap < cap_of(t.game.stacks[cell_of<B>(place_at(row, column))])) return ray;
    for (row += rows, column += columns; !is_closed(t, row, column); row += rows, column += columns) ray.beyond++;
    return ray;
}

// The distance of the nearest landing beyond the target.
DEVICE int first_landing(const Ray& ray, int height) { return height > ray.open + 2 ? height : ray.open + 2; }
DEVICE bool captures_along(const Ray& ray, int height) {
    return ray.beyond > 0 && first_landing(ray, height) <= ray.open + 1 + ray.beyond;
}

// Whether a stack of this height and cap would have a capture from a place. For one lane alone.
template <class B> DEVICE bool captures_from(const Table<B>& t, int from, int height, int cap) {
    for (int direction = 0; direction < B::DIRECTIONS; direction++)
        if (captures_along(cast(t, from, direction, cap), height)) return true;
    return false;
}

// Whether it would have a plain move or a capture. For one lane alone.
template <class B> CALLED bool acts_from(const Table<B>& t, int from, int height, int cap) {
    for (int direction = 0; direction < B::DIRECTIONS; direction++) {
        Ray ray = cast(t, from, direction, cap);
        if (ray.open >= height || captures_along(ray, height)) return true;
    }
    return false;
}

// Whether any stack that the seat controls has a plain move or a capture. After look().
template <class B> CALLED bool can_move(Table<B>& t, int seat) {
    int rays = gather(own<B>(t.game.controlled[seat]), t.places) * B::DIRECTIONS;
    for (int base = 0; base < rays; base += 32) {
        int i = base + lane_id();
        bool acts = false;
        if (i < rays) {
            int from = t.places[i / B::DIRECTIONS];
            u64 stack = t.game.stacks[cell_of<B>(from)];
            Ray ray = cast(t, from, i % B::DIRECTIONS, cap_of(stack));
            acts = ray.open >= height_of(stack) || captures_along(ray, height_of(stack));
        }
        if (any(acts)) return true;
    }
    return false;
}

// Whether the stack on a place has a capture. After look().
template <class B> DEVICE bool can_capture(const Table<B>& t, int from) {
    u64 stack = t.game.stacks[cell_of<B>(from)];
    int direction = lane_id();
    return any(direction < B::DIRECTIONS && captures_along(cast(t, from, direction, cap_of(stack)), height_of(stack)));
}

// Visits the moves of the first `count` listed stacks: captures of a kind, and plain moves where asked for. After
// look(). Returns whether there is any.
template <class B, class Visit>
DEVICE bool list_moves(const Table<B>& t, int count, bool plain, int capture, Visit& visit) {
    bool found = false;
    for (int i = lane_id(); i < count * B::DIRECTIONS; i += 32) {
        int from = t.places[i / B::DIRECTIONS], direction = i % B::DIRECTIONS;
        int rows = row_step<B>(direction), columns = column_step<B>(direction);
        u64 stack = t.game.stacks[cell_of<B>(from)];
        int height = height_of(stack);
        Ray ray = cast(t, from, direction, cap_of(stack));
        auto at = [&](int distance) {
            return place_at(row_of(from) + distance * rows, column_of(from) + distance * columns);
        };
        for (int distance = height; plain && distance <= ray.open; distance++) {
            visit(pair_code<B>(MOVE_STACK, from, at(distance)));
            found = true;
        }
        if (ray.beyond == 0) continue;
        for (int distance = first_landing(ray, height); distance <= ray.open + 1 + ray.beyond; distance++) {
            visit(triple_code<B>(capture, from, at(distance), at(ray.open + 1)));
            found = true;
        }
    }
    return any(found);
}

// Carries the stack from one place to another, over `target` where that is not -1. It leaves a marker, works on the
// markers strictly between, and pays its top ring for a marker under it.
template <class B> DEVICE void travel(Table<B>& t, int from, int to, int target) {
    Game<B>& game = t.game;
    int lane = lane_id(), me = game.seat;
    u64 stack = game.stacks[cell_of<B>(from)], left = 0;
    if (target >= 0) {
        u64 victim = game.stacks[cell_of<B>(target)];
        stack = with_bottom(stack, top_of(victim));
        left = popped(victim, 1);
    }
    u32 origin = spot(from), landing = spot(to), between = segment(from, to) & ~(origin | landing);
    u32 marked = own_any<B>(game.markers), walls = between & own<B>(game.markers[me]);
    u32 flips = between & marked & ~walls;
    bool pays = any((marked & landing) != 0);
    int collapsing = warp_sum(count_bits(walls)), lost = top_of(stack);
    if (pays) stack = popped(stack, 1);
    sync_warp();
    if (lane < B::ROWS) {
        for (int seat = 0; seat < SEATS; seat++) game.markers[seat][lane] &= ~(between | landing);
        game.markers[me][lane] |= flips | origin;
        game.collapsed[me][lane] |= walls;
    }
    put_stack(game, from, 0);
    if (target >= 0) put_stack(game, target, left);
    put_stack(game, to, stack);
    if (lane == 0) {
        game.territory[me] += collapsing;
        game.eliminated[me] += pays;
        game.on_board[lost] -= pays;
    }
    sync_warp();
}

} // namespace rules
