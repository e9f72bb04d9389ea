// Legal moves in the order of the host, which records refer to by index.
//
// A rank, a u32, tells the order of any two legal moves of a position; moves are sorted by it. edges: [room] Edge, of which
// codes and ranks are written.
//
// Work: a warp has the position. Ranks are found a move a lane; in each step of the sorting network a lane has the wires i,
// i + 32, ...
#pragma once

#include "rules.cuh"
#include "wave/slot.cuh"

namespace wave {

// The place of a cell, for one lane alone.
template <class B> DEVICE int place_alone(int cell) {
    int row = 0;
    while (row + 1 < B::ROWS && row_start<B>(row + 1) <= cell) row++;
    return place_at(row, cell - row_start<B>(row) + row_shift<B>(row));
}

struct Way {
    int direction, distance;
};

// From one cell to another on a ray, for one lane alone.
template <class B> DEVICE Way way_between(int from, int to) {
    int a = place_alone<B>(from), b = place_alone<B>(to);
    int rows = row_of(b) - row_of(a), columns = column_of(b) - column_of(a);
    int row = (rows > 0) - (rows < 0), column = (columns > 0) - (columns < 0), direction = 0;
    for (int i = 0; i < B::DIRECTIONS; i++)
        if (row_step<B>(i) == row && column_step<B>(i) == column) direction = i;
    rows = rows < 0 ? -rows : rows;
    columns = columns < 0 ? -columns : columns;
    return {direction, rows > columns ? rows : columns};
}

constexpr u32 LAST = 0xfffffffeu;

template <class B> DEVICE u32 rank_of(u32 code) {
    int kind = (int)(code >> 27);
    u32 from = code >> 18 & 511, to = code >> 9 & 511, aux = code & 511;
    switch (kind) {
    case SWAP:
        return 0;
    case PLACE_1:
    case PLACE_2:
    case PLACE_3:
        return 1 + (from << 2 | (u32)kind);
    case PAY_LINE:
    case PAY_TERRITORY:
    case PAY_RECOVERY:
    case FORCED_ELIMINATION:
        return from;
    case CLAIM: // by wall
        return aux << 9 | from;
    case MOVE_STACK:
    case CAPTURE_FIRST:
    case CAPTURE_NEXT: { // a stack's plain moves, then its captures
        Way way = way_between<B>((int)from, (int)to);
        return from << 9 | (u32)(kind != MOVE_STACK) << 8 | (u32)way.direction << 5 | (u32)way.distance;
    }
    case RECOVER_LINE:
    case RECOVER_STRETCH:
    case RECOVER_FALLBACK:
    case RECOVER_STRIKE: // by payer, free of charge last
        return from << 12 | (u32)way_between<B>((int)from, (int)to).direction << 9 | aux;
    case LINE_EXACT:
    case LINE_ALL:
    case LINE_STRETCH: { // by axis, then by where the line starts along it
        int direction = way_between<B>((int)from, (int)to).direction, axis = direction % (B::DIRECTIONS / 2);
        u32 start = direction == axis ? from : to;
        return (u32)axis << 20 | start << 10 | (kind == LINE_STRETCH ? 1 + aux : 0);
    }
    default: // to do nothing
        return LAST;
    }
}

// Sorts by rank: a bitonic network whose wires beyond `count` carry what is never smaller.
DEVICE void sort(Edge* edges, int count) {
    for (int size = 2; size < 2 * count; size *= 2)
        for (int step = size / 2; step > 0; step /= 2) {
            int flip = step == size / 2 ? size - 1 : step;
            for (int i = lane_id(); i < count; i += 32) {
                int other = i ^ flip;
                if (other <= i || other >= count || edges[i].rank <= edges[other].rank) continue;
                u32 rank = edges[i].rank, code = edges[i].code;
                edges[i].rank = edges[other].rank;
                edges[i].code = edges[other].code;
                edges[other].rank = rank;
                edges[other].code = code;
            }
            sync_warp();
        }
}

// Writes the codes of all legal moves and returns their number; if that is more than the room, they are of no use.
template <class B> CALLED int list_in_order(Table<B>& t, Edge* edges, int room) {
    int count = list_into(t, room, [edges](int at, u32 code) { edges[at].code = code; });
    if (count < 2 || count > room) return count;
    for (int i = lane_id(); i < count; i += 32) edges[i].rank = rank_of<B>(edges[i].code);
    sync_warp();
    sort(edges, count);
    return count;
}

} // namespace wave
