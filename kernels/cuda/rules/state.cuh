// The position of one game, and what a warp keeps beside it while it plays.
//
// Game<B> is 44 + 12 * ROWS + 2 * CELLS plain u32 words, the same in global memory (an array of games) and in shared memory
// (a slice a warp); the host writes and reads it word by word.
//
// Work: a warp has the game. Lane i owns row i of every set of cells and writes it alone; lane 0 writes the counters, but lane
// s < 4 those of one seat where all seats change. Everything is uniform but what a lane sees of its row. The discipline that
// keeps warps free of races: a function finds the game settled; if it changes it, it reads what it needs, calls sync_warp(),
// writes, and calls sync_warp() again.
#pragma once

#include "rules/geometry.cuh"
#include "rules/stack.cuh"

namespace rules {

enum Phase { PLACE, MOVE, CAPTURE, CHAIN, LINE, TERRITORY, FORCED, OVER };
enum Reason { RING_ELIMINATION, TERRITORY_CONTROL, LAST_PLAYER_STANDING };
constexpr u32 NEVER = 0xffffffffu;

// Seats count from 0; -1 is none. Cells are numbers, NONE_CELL is none. Flags are 0 or 1.
template <class B> struct Game {
    int hand[SEATS];
    int eliminated[SEATS];
    int on_board[SEATS];
    int territory[SEATS];
    u32 lost_at[SEATS]; // the step at which a seat lost its last ring, or NEVER
    u32 ply;
    int seats;
    int turn_end; // victories are tested where a turn ends, not after every step
    int seat;
    int phase;
    int must;
    int attack;
    int due;
    int acted;
    int recovery;
    int swap_open;
    int swapped;
    int lps_first;
    int lps_seen; // a bit a seat
    int lps_real;
    int lps_alone;
    int lps_rounds;
    int winner; // phase over: and why, and the rank of each seat from 1
    int reason;
    int ranks[SEATS];
    int unused;
    u32 controlled[SEATS][B::ROWS];
    u32 markers[SEATS][B::ROWS];
    u32 collapsed[SEATS][B::ROWS];
    u64 stacks[B::CELLS];
};

// What a warp needs in shared memory.
template <class B> struct Table {
    Game<B> game;
    // Rows -1 to ROWS with columns -1 to 30, so that a ray ends before it leaves them: cells that end a ray, those
    // beyond the edge included, and those of them that are stacks. Written by look().
    u32 closed[B::ROWS + 2];
    u32 stacked[B::ROWS + 2];
    // Lists of places. Written by gather().
    u16 places[B::CELLS];
    u16 payers[B::CELLS];
};

template <class B> DEVICE Table<B>& own_table() {
    return reinterpret_cast<Table<B>*>(shared_memory())[warp_id()];
}

template <class B> DEVICE constexpr int game_words() { return (int)(sizeof(Game<B>) / 4); }

// Takes a game out of global memory.
template <class B> DEVICE void load(Table<B>& t, const u32* words) {
    u32* to = reinterpret_cast<u32*>(&t.game);
    sync_warp();
    for (int i = lane_id(); i < game_words<B>(); i += 32) to[i] = words[i];
    sync_warp();
}
// Puts it back.
template <class B> DEVICE void store(const Table<B>& t, u32* words) {
    const u32* from = reinterpret_cast<const u32*>(&t.game);
    for (int i = lane_id(); i < game_words<B>(); i += 32) words[i] = from[i];
}

// A lane's row of a set of cells; 0 for lanes beyond the rows.
template <class B> DEVICE u32 own(const u32 (&rows)[B::ROWS]) { return lane_id() < B::ROWS ? rows[lane_id()] : 0; }
// The same of four sets together.
template <class B> DEVICE u32 own_any(const u32 (&sets)[SEATS][B::ROWS]) {
    u32 any = 0;
    if (lane_id() < B::ROWS)
        for (int seat = 0; seat < SEATS; seat++) any |= sets[seat][lane_id()];
    return any;
}
// The cells that a stack may come to stand on or pass: neither stacks nor collapsed.
template <class B> DEVICE u32 open_cells(const Game<B>& game) {
    return row_mask<B>(lane_id()) & ~(own_any<B>(game.controlled) | own_any<B>(game.collapsed));
}
DEVICE bool any(bool value) { return ballot(value) != 0; }

// Whether the seat has a ring in hand or in any stack.
template <class B> DEVICE bool present(const Game<B>& game, int seat) {
    return game.hand[seat] > 0 || game.on_board[seat] > 0;
}

// Part of a write: lane `row` puts a stack down, or takes it away, and keeps the sets in step; not the counters.
template <class B> DEVICE void put_stack(Game<B>& game, int place, u64 stack) {
    int row = row_of(place);
    if (lane_id() != row) return;
    game.stacks[cell_of<B>(place)] = stack;
    for (int seat = 0; seat < SEATS; seat++) {
        u32 others = game.controlled[seat][row] & ~(1u << column_of(place));
        game.controlled[seat][row] = others | (u32)(top_of(stack) == seat) << column_of(place);
    }
}

// Takes `count` rings off the top of a stack and credits them to the seat to move.
template <class B> CALLED void eliminate_top(Table<B>& t, int place, int count) {
    Game<B>& game = t.game;
    u64 stack = game.stacks[cell_of<B>(place)], rest = popped(stack, count);
    sync_warp();
    int lane = lane_id();
    if (lane < SEATS) game.on_board[lane] -= ring_count(stack, lane) - ring_count(rest, lane);
    if (lane == 0) game.eliminated[game.seat] += count;
    put_stack(game, place, rest);
    sync_warp();
}

// Takes the lowest ring of the seat to move out of a stack and credits it to that seat.
template <class B> CALLED void eliminate_buried(Table<B>& t, int place) {
    Game<B>& game = t.game;
    u64 rest = without_lowest(game.stacks[cell_of<B>(place)], game.seat);
    sync_warp();
    if (lane_id() == 0) {
        game.on_board[game.seat] -= 1;
        game.eliminated[game.seat] += 1;
    }
    put_stack(game, place, rest);
    sync_warp();
}

// Turns cells without stacks, a row a lane, into territory of the seat to move; markers on them go.
template <class B> CALLED void collapse(Table<B>& t, u32 cells) {
    Game<B>& game = t.game;
    int count = warp_sum(count_bits(cells));
    sync_warp();
    int lane = lane_id();
    if (lane < B::ROWS) {
        for (int seat = 0; seat < SEATS; seat++) game.markers[seat][lane] &= ~cells;
        game.collapsed[game.seat][lane] |= cells;
    }
    if (lane == 0) game.territory[game.seat] += count;
    sync_warp();
}

// Forgets what belongs to one turn; part of a write of lane 0.
template <class B> DEVICE void clear_turn(Game<B>& game) {
    game.must = NONE_CELL;
    game.attack = NONE_CELL;
    game.due = 0;
    game.acted = 0;
    game.recovery = 0;
}

} // namespace rules
