// One step: list what is legal, carry a move out, go to the next phase or seat.
//
// A move is a u32 (rules/moves.cuh), the position the one in Table<B>, which apply() replaces by the next.
//
// Work: a warp has the game, and all lanes carry out the same move together. What is listed is visited by one lane each: that
// of the row, of the ray, of the slide; lane 0 for regions and for moves without a cell. Numbered lists are in the order of
// the lanes.
#pragma once

#include "rules/lines.cuh"
#include "rules/moves.cuh"
#include "rules/outcome.cuh"
#include "rules/recovery.cuh"
#include "rules/territory.cuh"

namespace rules {

// Visits a move on each of the cells of a set.
template <class B, class Visit> DEVICE void list_cells(u32 cells, int kind, Visit& visit) {
    for (; cells != 0; cells &= cells - 1) visit(cell_code<B>(kind, place_at(lane_id(), lowest_bit(cells))));
}

// Visits each legal move, every one from a single lane. There is none exactly when the game is over.
template <class B, class Visit> CALLED void list_legal(Table<B>& t, Visit& visit) {
    const Game<B>& game = t.game;
    int me = game.seat, bare = -1;
    switch (game.phase) {
    case PLACE: {
        if (game.swap_open && me == 1 && lane_id() == 0) visit(bare_code(SWAP));
        look(t);
        bool found = list_rings(t, visit), skips = false;
        if (game.hand[me] > 0)
            skips = any(own<B>(game.controlled[me]) != 0) ? can_move(t, me) : may_recover<B>(game);
        bare = skips ? SKIP_PLACEMENT : found ? -1 : NO_PLACEMENT;
        break;
    }
    case MOVE: {
        look(t);
        u32 movers = game.must == NONE_CELL ? own<B>(game.controlled[me]) : spot(place_of<B>(game.must));
        bool found = list_moves(t, gather(movers, t.places), true, CAPTURE_FIRST, visit);
        bool recovers = may_recover<B>(game);
        if (recovers) list_recoveries(t, visit);
        bare = recovers ? SKIP_RECOVERY : found ? -1 : NO_MOVEMENT;
        break;
    }
    case CAPTURE:
    case CHAIN: {
        bool first = game.phase == CAPTURE;
        look(t);
        int count = gather(spot(place_of<B>(game.attack)), t.places);
        list_moves(t, count, false, first ? CAPTURE_FIRST : CAPTURE_NEXT, visit);
        bare = first ? SKIP_CAPTURE : -1;
        break;
    }
    case LINE:
        if (game.due)
            list_cells<B>(own<B>(game.controlled[me]), PAY_LINE, visit);
        else
            bare = list_runs<B>(t, visit) ? -1 : NO_LINE;
        break;
    case TERRITORY:
        if (game.due)
            list_cells<B>(region_payers<B>(game), game.recovery ? PAY_RECOVERY : PAY_TERRITORY, visit);
        else
            bare = list_regions(t, true, visit) ? SKIP_TERRITORY : NO_TERRITORY;
        break;
    case FORCED:
        list_cells<B>(own<B>(game.controlled[me]), FORCED_ELIMINATION, visit);
        break;
    case OVER:
        break;
    }
    if (bare >= 0 && lane_id() == 0) visit(bare_code(bare));
}

// A visitor that puts the moves of its lane, numbered from `at` on, as far as there is room, and counts them.
template <class Put> struct Listing {
    Put put;
    int at, room;
    DEVICE void operator()(u32 code) {
        if (at < room) put(at, code);
        at++;
    }
};

// Calls put(i, code) with the legal moves, each from a single lane, in an order that depends on the position alone, and
// returns their number; those that there is no room for are left out. They are listed twice: to count those of each lane,
// then to put them where they belong.
template <class B, class Put> DEVICE int list_into(Table<B>& t, int room, Put put) {
    Listing<Put> counted = {put, 0, 0};
    list_legal(t, counted);
    int end = lanes_up_to(counted.at), count = (int)shuffle((u32)end, 31);
    sync_warp(); // what was there has been read
    Listing<Put> listed = {put, end - counted.at, room};
    list_legal(t, listed);
    sync_warp();
    return count;
}

// What the move does to the board and the counters.
template <class B> DEVICE void perform(Table<B>& t, Move move) {
    Game<B>& game = t.game;
    switch (move.kind) {
    case PLACE_1:
    case PLACE_2:
    case PLACE_3:
        return place_rings(t, move.from, move.kind - PLACE_1 + 1);
    case MOVE_STACK:
    case CAPTURE_FIRST:
    case CAPTURE_NEXT:
        return travel(t, move.from, move.to, move.aux);
    case RECOVER_LINE:
    case RECOVER_STRETCH:
    case RECOVER_FALLBACK:
    case RECOVER_STRIKE:
        return recover(t, move);
    case LINE_EXACT:
    case LINE_ALL:
    case LINE_STRETCH:
        return collapse(t, line_cells<B>(game, move));
    case CLAIM:
        return claim_region(t, move);
    case PAY_LINE:
        return eliminate_top(t, move.from, 1);
    case PAY_TERRITORY:
    case FORCED_ELIMINATION:
        return eliminate_top(t, move.from, cap_of(game.stacks[cell_of<B>(move.from)]));
    case PAY_RECOVERY:
        return eliminate_buried(t, move.from);
    default: // the moves that change nothing on the board
        return;
    }
}

// Notes the step itself, and who has just lost the last ring.
template <class B> DEVICE void note_step(Table<B>& t, Move move) {
    Game<B>& game = t.game;
    int lane = lane_id();
    u32 ply = game.ply + (game.ply != NEVER);
    sync_warp();
    if (lane < game.seats && !present(game, lane) && game.lost_at[lane] == NEVER) game.lost_at[lane] = ply;
    if (lane == 0) {
        game.ply = ply;
        if (move.kind == SWAP) game.swapped ^= 1;
        if (move.kind != SWAP && !is_idle(move.kind)) game.acted = 1;
        if (game.seat == 1) game.swap_open = 0;
    }
    sync_warp();
}

// Goes to a phase of the same seat. `must`, `attack`: NONE_CELL or the cell; `due`: whether something is to be paid.
template <class B> CALLED void enter(Table<B>& t, int phase, int must, int attack, bool due) {
    Game<B>& game = t.game;
    sync_warp();
    if (lane_id() == 0) {
        game.phase = phase;
        game.must = must;
        game.attack = attack;
        game.due = due;
    }
    sync_warp();
}

// The next seat that has any ring begins its turn.
template <class B> CALLED void end_turn(Table<B>& t) {
    Game<B>& game = t.game;
    if (game.turn_end) {
        Verdict won = verdict(t);
        if (won.winner >= 0) return finish(t, won);
    }
    int seat = game.seat;
    for (int i = 1; i <= game.seats; i++) {
        int next = (game.seat + i) % game.seats;
        if (present(game, next)) {
            seat = next;
            break;
        }
    }
    sync_warp();
    if (lane_id() == 0) {
        game.seat = seat;
        game.phase = PLACE;
        clear_turn(game);
    }
    sync_warp();
    if (last_player_standing(t)) finish(t, {game.seat, LAST_PLAYER_STANDING});
}

// After a move or capture of the stack that now stands, or stood, on a place.
template <class B> CALLED void after_landing(Table<B>& t, int place, int next) {
    bool mine = any((own<B>(t.game.controlled[t.game.seat]) & spot(place)) != 0), captures = false;
    if (mine) {
        look(t);
        captures = can_capture(t, place);
    }
    enter(t, captures ? next : LINE, NONE_CELL, captures ? cell_of<B>(place) : NONE_CELL, false);
}

// Goes to what follows the move.
template <class B> DEVICE void advance(Table<B>& t, Move move) {
    const Game<B>& game = t.game;
    bool stands = any(own<B>(game.controlled[game.seat]) != 0), gives_up = !game.acted && stands;
    switch (move.kind) {
    case PLACE_1:
    case PLACE_2:
    case PLACE_3:
        return enter(t, MOVE, cell_of<B>(move.from), NONE_CELL, false);
    case SKIP_PLACEMENT:
    case NO_PLACEMENT:
        return enter(t, MOVE, NONE_CELL, NONE_CELL, false);
    case MOVE_STACK:
        return after_landing(t, move.to, CAPTURE);
    case CAPTURE_FIRST:
    case CAPTURE_NEXT:
        return after_landing(t, move.to, CHAIN);
    case SKIP_CAPTURE:
    case NO_MOVEMENT:
    case SKIP_RECOVERY:
    case RECOVER_LINE:
    case RECOVER_STRETCH:
    case RECOVER_FALLBACK:
    case RECOVER_STRIKE:
        return enter(t, LINE, NONE_CELL, NONE_CELL, false);
    case LINE_EXACT:
    case LINE_ALL:
        return enter(t, stands || has_line(t) ? LINE : TERRITORY, NONE_CELL, NONE_CELL, stands);
    case LINE_STRETCH:
        return enter(t, has_line(t) ? LINE : TERRITORY, NONE_CELL, NONE_CELL, false);
    case PAY_LINE:
        return enter(t, LINE, NONE_CELL, NONE_CELL, false);
    case NO_LINE:
        return enter(t, gives_up && !has_region(t) ? FORCED : TERRITORY, NONE_CELL, NONE_CELL, false);
    case CLAIM:
        return enter(t, TERRITORY, NONE_CELL, NONE_CELL, true);
    case PAY_TERRITORY:
    case PAY_RECOVERY:
        enter(t, TERRITORY, NONE_CELL, NONE_CELL, false);
        if (!has_region(t)) end_turn(t);
        return;
    case SKIP_TERRITORY:
        if (gives_up) return enter(t, FORCED, NONE_CELL, NONE_CELL, false);
        return end_turn(t);
    case NO_TERRITORY:
    case FORCED_ELIMINATION:
        return end_turn(t);
    default: // the pie rule
        return;
    }
}

// Plays a legal move, the same in all lanes. What an illegal one does is unspecified.
template <class B> CALLED void apply(Table<B>& t, u32 code) {
    Move move = decode<B>(code);
    perform(t, move);
    note_step(t, move);
    if (!t.game.turn_end) {
        Verdict won = verdict(t);
        if (won.winner >= 0) return finish(t, won);
    }
    advance(t, move);
}

} // namespace rules
