// Recovery: a seat without stacks slides one of its markers, for a buried ring.
//
// What is listed as a line slide, by the longest run it forms, is not always accepted, by the first run found in the
// order of the axes; yet it suppresses fallbacks. Markers and payers are listed in `places` and `payers` of Table<B>.
//
// Work: a warp has the game. Slides are listed one a lane: lane i takes the slides i, i + 32, ... of all markers and
// directions, with every payer of each.
#pragma once

#include "rules/lines.cuh"
#include "rules/movement.cuh"
#include "rules/territory.cuh"

namespace rules {

// Whether the seat to move controls no stack, owns a marker and has a buried ring.
template <class B> DEVICE bool may_recover(const Game<B>& game) {
    return game.on_board[game.seat] > 0 && !any(own<B>(game.controlled[game.seat]) != 0) &&
           any(own<B>(game.markers[game.seat]) != 0);
}

// What a slide does. Runs are told by their ends.
struct Slide {
    bool listed;              // as a line slide
    bool accepted;            // as one
    bool free;                // offered as a free stretch, too
    int first, last;          // the run that collapses for a ring
    int free_first, free_last; // the run that collapses for free
};

// For one lane alone.
template <class B> CALLED Slide slide_of(const Game<B>& game, int from, int to) {
    const u32* rows = game.markers[game.seat];
    int length = line_length<B>(game.seats), found = 0, longest = 0;
    Slide slide = {false, false, false, -1, -1, -1, -1};
    int behind_longest = 0, free_axis = 0;
    for (int i = 0; i < B::DIRECTIONS / 2; i++) {
        int axis = recovery_axis<B>(i);
        int ahead = run_beyond<B>(rows, to, axis, from), behind = run_beyond<B>(rows, to, opposite<B>(axis), from);
        int run = behind + 1 + ahead;
        if (found == 0 && run >= B::BASE_LINE) {
            found = run;
            slide.first = place_beyond<B>(to, axis, -behind);
            slide.last = place_beyond<B>(to, axis, ahead);
        }
        if (run > longest) {
            longest = run;
            behind_longest = behind;
            slide.free_first = place_beyond<B>(to, axis, -behind);
            free_axis = axis;
        }
    }
    slide.listed = longest >= length;
    slide.accepted = found >= length;
    slide.free = slide.accepted && longest > length && behind_longest < length;
    slide.free_last = place_beyond<B>(slide.free_first, free_axis, length - 1);
    if (found == length) { // that run collapses instead
        slide.free_first = slide.first;
        slide.free_last = slide.last;
    }
    return slide;
}

// A neighbouring cell, and whether a slide may go there or a strike.
struct Neighbour {
    int place;
    bool open, stacked;
};

template <class B> DEVICE Neighbour neighbour(const Table<B>& t, int from, int direction) {
    int row = row_of(from) + row_step<B>(direction), column = column_of(from) + column_step<B>(direction);
    bool open = !is_closed(t, row, column);
    for (int seat = 0; open && seat < SEATS; seat++) open = (t.game.markers[seat][row] >> column & 1) == 0;
    return {place_at(row, column), open, is_stacked(t, row, column)};
}

// Visits all slides and strikes, without the option to decline. After look().
template <class B, class Visit> DEVICE void list_recoveries(Table<B>& t, Visit& visit) {
    const Game<B>& game = t.game;
    int slides = gather(own<B>(game.markers[game.seat]), t.places) * B::DIRECTIONS;
    int payers = gather(stacks_holding<B>(game, false), t.payers);
    bool lines = false;
    for (int i = lane_id(); i < slides; i += 32) {
        int from = t.places[i / B::DIRECTIONS];
        Neighbour to = neighbour(t, from, i % B::DIRECTIONS);
        if (!to.open) continue;
        Slide slide = slide_of<B>(game, from, to.place);
        lines |= slide.listed;
        for (int k = 0; slide.accepted && k < payers; k++)
            visit(triple_code<B>(RECOVER_LINE, from, to.place, t.payers[k]));
        if (slide.free) visit(pair_code<B>(RECOVER_STRETCH, from, to.place));
    }
    if (any(lines)) return;
    for (int i = lane_id(); i < slides; i += 32) {
        int from = t.places[i / B::DIRECTIONS];
        Neighbour to = neighbour(t, from, i % B::DIRECTIONS);
        int kind = to.open ? RECOVER_FALLBACK : RECOVER_STRIKE;
        for (int k = 0; (to.open || to.stacked) && k < payers; k++)
            visit(triple_code<B>(kind, from, to.place, t.payers[k]));
    }
}

// Carries out a slide or a strike.
template <class B> CALLED void recover(Table<B>& t, Move move) {
    Game<B>& game = t.game;
    u32 collapsing = 0;
    if (move.kind == RECOVER_LINE || move.kind == RECOVER_STRETCH) {
        Slide slide = slide_of<B>(game, move.from, move.to);
        collapsing = move.kind == RECOVER_LINE ? segment(slide.first, slide.last)
                                               : segment(slide.free_first, slide.free_last);
    }
    u32 origin = spot(move.from), landing = move.kind == RECOVER_STRIKE ? 0 : spot(move.to);
    sync_warp();
    int lane = lane_id();
    if (lane < B::ROWS) {
        u32& row = game.markers[game.seat][lane];
        row = (row & ~origin) | landing;
    }
    if (lane == 0) game.recovery = 1;
    sync_warp();
    if (move.kind == RECOVER_STRIKE) eliminate_top(t, move.to, 1);
    collapse(t, collapsing);
    if (move.aux >= 0) eliminate_buried(t, move.aux);
}

} // namespace rules
