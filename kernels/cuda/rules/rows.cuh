// Sets of cells by rows: lane i holds row i as one word, and a neighbour is a shift and one shuffle away.
//
// A set is a u32 in each lane, bit i for column i; lanes beyond the board's rows hold 0.
//
// Work: a warp has the set, a lane a row; all lanes call together.
#pragma once

#include "rules/geometry.cuh"
#include "rules/state.cuh"

namespace rules {

// The row `by` lanes on; 0 where there is none.
DEVICE u32 row_beside(u32 row, int by) {
    int from = lane_id() + by;
    u32 other = shuffle(row, from & 31);
    return from < 0 || from > 31 ? 0 : other;
}

// The cells whose neighbour in a direction is in the set. May run over the edge within a row.
template <class B> DEVICE u32 before(u32 row, int direction) {
    int rows = row_step<B>(direction), columns = column_step<B>(direction);
    u32 ahead = rows == 0 ? row : row_beside(row, rows);
    return columns == 0 ? ahead : columns > 0 ? ahead >> 1 : ahead << 1;
}

// The cells from which a run of `length` cells of the set starts in a direction.
template <class B> DEVICE u32 run_starts(u32 row, int direction, int length) {
    u32 starts = row;
    for (int i = 1; i < length; i++) starts = row & before<B>(starts, direction);
    return starts;
}

// What reaches a row from its two neighbours under the territory neighbours.
template <class B> DEVICE u32 inflow(u32 row) {
    u32 lower = row_beside(row, -1), upper = row_beside(row, 1);
    return B::HEX ? lower | lower >> 1 | upper | upper << 1 : lower | upper;
}

// The cells and their territory neighbours; may run over the edge within a row.
template <class B> DEVICE u32 grown(u32 row) { return row | row << 1 | row >> 1 | inflow<B>(row); }

// The cells and those at the eight steps dx, dy in {-1, 0, 1}, on hex boards as well.
DEVICE u32 grown_eight(u32 row) {
    u32 wide = row | row << 1 | row >> 1;
    return wide | row_beside(wide, -1) | row_beside(wide, 1);
}

// The runs of `allowed` that hold a bit of `seeds`, which lies in `allowed`.
DEVICE u32 spread(u32 seeds, u32 allowed) {
    u32 filled = seeds | (allowed & ~(allowed + seeds)); // carries run from a seed to the upper end of its run
    u32 open = allowed;
    UNROLL
    for (int step = 1; step < 32; step *= 2) {
        filled |= filled >> step & open;
        open &= open >> step;
    }
    return filled;
}

// The component of `open` under the territory neighbours that holds the cells of `seeds`.
template <class B> CALLED u32 component(u32 open, u32 seeds) {
    u32 filled = spread(seeds & open, open);
    for (;;) {
        u32 fresh = inflow<B>(filled) & open & ~filled;
        if (!any(fresh != 0)) return filled;
        filled |= spread(fresh, open);
    }
}

// The lowest place of a set that is not empty.
DEVICE int lowest_place(u32 row) {
    int first = lowest_bit(ballot(row != 0));
    return place_at(first, lowest_bit(shuffle(row, first)));
}

// The sum of the values of the lanes up to this one.
DEVICE int lanes_up_to(int value) {
    for (int by = 1; by < 32; by *= 2) value += (int)row_beside((u32)value, -by);
    return value;
}

// Lists the places of a set in cell order and returns their number. Others may still read the list as it was.
DEVICE int gather(u32 row, u16* places) {
    int end = lanes_up_to(count_bits(row));
    int total = (int)shuffle((u32)end, 31);
    sync_warp();
    for (int i = end - count_bits(row); row != 0; row &= row - 1)
        places[i++] = (u16)place_at(lane_id(), lowest_bit(row));
    sync_warp();
    return total;
}

} // namespace rules
