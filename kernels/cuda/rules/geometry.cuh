// The boards: what is fixed before a game starts, and the arithmetic between cells and places.
//
// A cell is numbered by x, then by y, as everywhere in the project. A place is `row * 32 + column`, x and y above the
// board's lowest: column i of every row is bit i of a row's word, so the neighbours of a row lie at the same bit or one
// beside. Cells, places, rows, columns and directions are int, a row of a set of cells is a u32.
//
// Work: arithmetic of one thread, but for place_of, a ballot of all lanes, and what is said "as lane i sees it in row i".
// Nothing is tabulated: a table would be read at a different index by each lane.
#pragma once

#include "prims.cuh"

namespace rules {

constexpr int SEATS = 4;
constexpr int NONE_CELL = 511;
constexpr u32 ALL_BITS = 0xffffffffu;

// Eight numbers from -1 to 1 in one word, two bits each.
DEVICE constexpr u32 steps(int a, int b, int c, int d, int e, int f, int g, int h) {
    return (u32)(a + 1) | (u32)(b + 1) << 2 | (u32)(c + 1) << 4 | (u32)(d + 1) << 6 | (u32)(e + 1) << 8 |
           (u32)(f + 1) << 10 | (u32)(g + 1) << 12 | (u32)(h + 1) << 14;
}

// E, SE, S, NE, then the opposites. Line axes are the first half; recovery looks at E, S, SE, NE.
struct Square {
    static constexpr bool HEX = false;
    static constexpr int DIRECTIONS = 8;
    static constexpr u32 ROW_STEPS = steps(1, 1, 0, 1, -1, -1, 0, -1);
    static constexpr u32 COLUMN_STEPS = steps(0, 1, 1, -1, 0, -1, -1, 1);
};

struct Hexagon {
    static constexpr bool HEX = true;
    static constexpr int DIRECTIONS = 6;
    static constexpr u32 ROW_STEPS = steps(1, 1, 0, -1, -1, 0, 0, 0);
    static constexpr u32 COLUMN_STEPS = steps(0, -1, -1, 0, 1, 1, 0, 0);
};

// SHORT: three or four seats need lines of 3 only. DETECTED_SHORT: and find them. LINKED: the border of a region
// goes on through markers by the eight square steps. BASE_LINE: what recovery slides look for.
struct Square8 : Square {
    static constexpr int ROWS = 8, CELLS = 64, SUPPLY = 18, BASE_LINE = 3;
    static constexpr bool SHORT = true, DETECTED_SHORT = true, LINKED = true;
};
struct Square19 : Square {
    static constexpr int ROWS = 19, CELLS = 361, SUPPLY = 72, BASE_LINE = 4;
    static constexpr bool SHORT = false, DETECTED_SHORT = false, LINKED = true;
};
struct Hex8 : Hexagon {
    static constexpr int ROWS = 9, CELLS = 61, SUPPLY = 18, BASE_LINE = 4;
    static constexpr bool SHORT = true, DETECTED_SHORT = false, LINKED = true;
};
struct Hexagonal : Hexagon {
    static constexpr int ROWS = 25, CELLS = 469, SUPPLY = 96, BASE_LINE = 4;
    static constexpr bool SHORT = false, DETECTED_SHORT = false, LINKED = false;
};

template <class B> DEVICE int line_length(int seats) { return B::SHORT && seats > 2 ? 3 : 4; }
template <class B> DEVICE int line_detected(int seats) { return B::DETECTED_SHORT && seats > 2 ? 3 : 4; }
template <class B> DEVICE int elimination_threshold(int seats) { return B::SUPPLY * (1 + seats) / 3; }
template <class B> DEVICE int territory_minimum(int seats) { return B::CELLS / seats + 1; }

DEVICE int place_at(int row, int column) { return row * 32 + column; }
DEVICE int row_of(int place) { return place >> 5; }
DEVICE int column_of(int place) { return place & 31; }

template <class B> DEVICE int row_step(int direction) { return (int)(B::ROW_STEPS >> 2 * direction & 3) - 1; }
template <class B> DEVICE int column_step(int direction) { return (int)(B::COLUMN_STEPS >> 2 * direction & 3) - 1; }
template <class B> DEVICE int opposite(int direction) {
    return direction < B::DIRECTIONS / 2 ? direction + B::DIRECTIONS / 2 : direction - B::DIRECTIONS / 2;
}
// The i-th axis in the order in which recovery looks at them.
template <class B> DEVICE int recovery_axis(int i) { return B::HEX || i == 0 || i == 3 ? i : 3 - i; }

// The first column of a row.
template <class B> DEVICE int row_shift(int row) {
    if (!B::HEX) return 0;
    int shift = B::ROWS / 2 - row;
    return shift > 0 ? shift : 0;
}

// Number of cells in the rows before this one.
template <class B> DEVICE int row_start(int row) {
    if (!B::HEX) return row * B::ROWS;
    constexpr int RADIUS = B::ROWS / 2;
    if (row <= RADIUS) return row * (RADIUS + 1) + row * (row - 1) / 2;
    int left = B::ROWS - row; // rows from this one on, as long as the first ones
    return B::CELLS - (left * (RADIUS + 1) + left * (left - 1) / 2);
}

// The cells of a row that the board has; none outside.
template <class B> DEVICE u32 row_mask(int row) {
    if (row < 0 || row >= B::ROWS) return 0;
    if (!B::HEX) return (1u << B::ROWS) - 1;
    int beside = B::ROWS / 2 - row;
    int length = B::ROWS - (beside < 0 ? -beside : beside);
    return ((1u << length) - 1) << row_shift<B>(row);
}

template <class B> DEVICE int cell_of(int place) {
    int row = row_of(place);
    return row_start<B>(row) + column_of(place) - row_shift<B>(row);
}

// The place of a cell. All lanes ask for the same one.
template <class B> DEVICE int place_of(int cell) {
    int lane = lane_id();
    u32 before = ballot(lane < B::ROWS && row_start<B>(lane) <= cell);
    int row = count_bits(before) - 1;
    return place_at(row, cell - row_start<B>(row) + row_shift<B>(row));
}

// The places from one to another along a ray, both included, as lane i sees them in row i.
DEVICE u32 segment(int from, int to) {
    int lane = lane_id();
    int first_row = row_of(from), last_row = row_of(to), first = column_of(from), last = column_of(to);
    if (first_row == last_row) {
        int low = first < last ? first : last, high = first < last ? last : first;
        return lane == first_row ? (ALL_BITS >> (31 - high)) & (ALL_BITS << low) : 0;
    }
    int along = first_row < last_row ? lane - first_row : first_row - lane;
    int length = first_row < last_row ? last_row - first_row : first_row - last_row;
    if (along < 0 || along > length) return 0;
    return 1u << (last == first ? first : last > first ? first + along : first - along);
}

// One place, as lane i sees it in row i.
DEVICE u32 spot(int place) { return lane_id() == row_of(place) ? 1u << column_of(place) : 0; }

} // namespace rules
