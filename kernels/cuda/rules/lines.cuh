// Lines: maximal runs of one's own markers along an axis.
//
// A line is its two ends, as places, or its cells, a word a lane.
//
// Work: a warp has the game, a lane a row: where lines start follows for all cells at once from shifts; the few there are,
// are walked by the lane of the row they start in.
#pragma once

#include "rules/moves.cuh"
#include "rules/rows.cuh"
#include "rules/state.cuh"

namespace rules {

// An axis in cell order: the direction of the pair that leads to higher cells.
template <class B> DEVICE int ascending(int axis) {
    bool falls = row_step<B>(axis) < 0 || (row_step<B>(axis) == 0 && column_step<B>(axis) < 0);
    return falls ? opposite<B>(axis) : axis;
}

// Whether the seat to move has a line.
template <class B> DEVICE bool has_line(const Table<B>& t) {
    u32 markers = own<B>(t.game.markers[t.game.seat]), starts = 0;
    int detected = line_detected<B>(t.game.seats);
    UNROLL
    for (int axis = 0; axis < B::DIRECTIONS / 2; axis++) starts |= run_starts<B>(markers, axis, detected);
    return any(starts != 0);
}

// Number of cells of a set from a place on, itself not counted, without the place `but`. For one lane alone.
template <class B> DEVICE int run_beyond(const u32* rows, int place, int direction, int but) {
    int row = row_of(place), column = column_of(place);
    for (int length = 0;; length++) {
        row += row_step<B>(direction);
        column += column_step<B>(direction);
        bool inside = row >= 0 && row < B::ROWS && column >= 0 && column < B::ROWS;
        if (!inside || (rows[row] >> column & 1) == 0 || place_at(row, column) == but) return length;
    }
}

// The place `by` steps from another.
template <class B> DEVICE int place_beyond(int place, int direction, int by) {
    return place_at(row_of(place) + by * row_step<B>(direction), column_of(place) + by * column_step<B>(direction));
}

// Visits the lines of the seat to move and their options; returns whether there is any.
template <class B, class Visit> DEVICE bool list_runs(const Table<B>& t, Visit& visit) {
    const u32(&rows)[B::ROWS] = t.game.markers[t.game.seat];
    u32 markers = own<B>(rows), found = 0;
    int detected = line_detected<B>(t.game.seats), length = line_length<B>(t.game.seats);
    for (int axis = 0; axis < B::DIRECTIONS / 2; axis++) {
        int direction = ascending<B>(axis);
        u32 starts = run_starts<B>(markers, direction, detected) & ~before<B>(markers, opposite<B>(direction));
        found |= starts;
        for (; starts != 0; starts &= starts - 1) {
            int from = place_at(lane_id(), lowest_bit(starts));
            int longer = run_beyond<B>(rows, from, direction, -1) + 1 - length;
            int to = place_beyond<B>(from, direction, longer + length - 1);
            visit(pair_code<B>(longer == 0 ? LINE_EXACT : LINE_ALL, from, to));
            for (int start = 0; longer > 0 && start <= longer; start++)
                visit(triple_code<B>(LINE_STRETCH, from, to, place_beyond<B>(from, direction, start)));
        }
    }
    return any(found != 0);
}

// A step from one place towards another on a ray.
DEVICE int step_towards(int from, int to, int by) {
    int rows = row_of(to) - row_of(from), columns = column_of(to) - column_of(from);
    int row = rows > 0 ? by : rows < 0 ? -by : 0, column = columns > 0 ? by : columns < 0 ? -by : 0;
    return place_at(row_of(from) + row, column_of(from) + column);
}

// The cells that a line move collapses, a row a lane.
template <class B> DEVICE u32 line_cells(const Game<B>& game, Move move) {
    if (move.kind != LINE_STRETCH) return segment(move.from, move.to);
    return segment(move.aux, step_towards(move.aux, move.to, line_length<B>(game.seats) - 1));
}

} // namespace rules
