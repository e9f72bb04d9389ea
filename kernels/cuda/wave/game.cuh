// The games of a slot, one after the other: learner/selfplay.rs, choice by choice as far as the numbers are the same
// (wave/gumbel.cuh).
//
// All works on a Desk<B> (wave/slot.cuh) and the moves listed there; go_on() also takes the answer to the last question.
//
// Work: a warp has the slot. What is decided, every lane decides alike; moves are looked at a move a lane.
#pragma once

#include "wave/query.cuh"
#include "wave/record.cuh"
#include "wave/search.cuh"

namespace wave {

// The empty board.
template <class B> DEVICE void set_up(Table<B>& t, int seats, bool swap) {
    u32* words = reinterpret_cast<u32*>(&t.game);
    sync_warp();
    for (int i = lane_id(); i < game_words<B>(); i += 32) words[i] = 0;
    sync_warp();
    Game<B>& game = t.game;
    if (lane_id() < SEATS) {
        game.hand[lane_id()] = lane_id() < seats ? B::SUPPLY : 0;
        game.lost_at[lane_id()] = NEVER;
    }
    if (lane_id() == 0) {
        game.seats = seats;
        game.swap_open = swap;
        game.lps_first = game.lps_alone = -1;
        clear_turn(game);
    }
    sync_warp();
}

// Begins a game, unless none is to begin or wave_collect has not taken the one before the last.
template <class B> DEVICE bool begin_game(Desk<B>& d, int slot) {
    Slot& s = d.s;
    const Settings& set = d.set;
    if (!set.begins || d.ready[s.record] != 0) return false;
    u64 number = (u64)slot << 32 | s.games++;
    s.seed = mixed(((u64)set.seed_high << 32 | set.seed_low) + (number + 1) * STRIDE);
    s.choices = s.seed;
    s.sampled = set.sampled + below(s.choices, set.sampled_spread);
    s.opening = 0;
    if (unit(s.choices) < set.opening_share) s.opening = 1 + below(s.choices, set.opening_max);
    s.moves = s.policy = s.nodes = s.edges = 0;
    set_up(*d.table, set.seats, set.swap != 0);
    s.mode = TO_MOVE;
    return true;
}

// Plays single legal moves, then lists those of the next choice behind the last edge and returns their number: 0 when
// the game is over, -1 for want of memory or of a legal move.
template <class B> DEVICE int settle(Desk<B>& d) {
    Edge* listed = d.edges + d.s.edges;
    int room = d.set.edges_room - d.s.edges;
    while (d.table->game.phase != OVER) {
        int count = list_in_order(*d.table, listed, room);
        if (count == 0 || count > room) return -1;
        if (count > 1) return count;
        u32 code = listed[0].code;
        sync_warp();
        if (!play(d, code)) return -1;
    }
    return 0;
}

// Plays one of the random moves that a game opens with, but never the pie rule and never to the end of the game, which
// ends the opening. False if the record is full.
template <class B> DEVICE bool open(Desk<B>& d, int count) {
    Table<B>& t = *d.table;
    int first = d.edges[0].code >> 27 == SWAP ? 1 : 0;
    d.s.opening--;
    if (count == first) {
        d.s.opening = 0;
        return true;
    }
    u32 code = d.edges[first + below(d.s.choices, count - first)].code;
    store(t, d.position(0));
    sync_warp();
    apply(t, code);
    bool over = t.game.phase == OVER;
    load(t, d.position(0));
    if (over) {
        d.s.opening = 0;
        return true;
    }
    return play(d, code);
}

// Plays what the search found, or what wins on the spot; the table then holds the position. False if the record is
// full. `wins`: how many moves do, their scores are 1.
template <class B> DEVICE bool decide(Desk<B>& d, int count, int wins) {
    Edge* edges = d.edges;
    int choice = 0;
    if (wins > 0) {
        Best best = {0.0f, NO_EDGE};
        for (int i = lane_id(); i < count; i += 32) best.offer(edges[i].score, i);
        choice = best_of(best);
        sync_warp();
        for (int i = lane_id(); i < count; i += 32) edges[i].score *= 1.0f / (float)wins;
    } else {
        int most = 0;
        for (int i = lane_id(); i < count; i += 32) most = edges[i].visits > most ? edges[i].visits : most;
        score(d, 0);
        choice = best_with(edges, count, warp_max(most));
        softmax(edges, count);
    }
    sync_warp();
    if (!note_decision(d, edges, count)) return false;
    if (d.s.sampled > 0) {
        d.s.sampled--;
        choice = draw(d, edges, count);
    }
    u32 code = edges[choice].code;
    if (wins == 0) {
        int child = edges[choice].child;
        d.reusable = child >= 0 && d.nodes[child].known == ESTIMATE ? child : -1;
        load(*d.table, d.position(0));
    }
    return play(d, code);
}

// Takes up the next decision of the game in the table: after what is forced, an opening move, a move that wins, or the
// beginning of a search.
template <class B> DEVICE bool move_on(Desk<B>& d) {
    Slot& s = d.s;
    const Settings& set = d.set;
    // What was searched before is kept where there is room for as much again.
    if (d.reusable < 0 || s.edges > set.edges_room / 2 || s.nodes + set.full >= set.nodes_room) {
        d.reusable = -1;
        s.nodes = s.edges = 0;
    }
    for (;;) {
        int count = settle(d);
        if (count < 0) return false;
        if (count == 0) {
            hand_over(d);
            s.mode = TO_BEGIN;
            return true;
        }
        if (s.opening > 0) {
            if (!open(d, count)) return false;
            continue;
        }
        s.full = unit(s.choices) < set.full_share;
        s.simulations = s.full ? set.full : set.quick;
        if (d.reusable >= 0) {
            cut_down(d, d.reusable);
            begin_search(d);
            back_up(d, 0);
            s.mode = TO_SEARCH;
            return true;
        }
        store(*d.table, d.position(0));
        sync_warp();
        int wins = count_wins(*d.table, d.position(0), d.edges, count, true);
        if (wins == 0) {
            add_node(d, NOTHING, -1, count, -1);
            begin_search(d);
            s.waiting = 0;
            s.mode = TO_EVALUATE;
            return true;
        }
        sync_warp();
        if (!decide(d, count, wins)) return false;
    }
}

// Goes on with a slot until its next question; without one there is no game.
template <class B> DEVICE void go_on(Desk<B>& d, int slot, const Answer& answer) {
    Slot& s = d.s;
    if (s.mode == TO_EVALUATE) {
        take_answer(d, s.waiting, answer);
        back_up(d, s.waiting);
        s.done += s.waiting != 0;
        s.mode = TO_SEARCH;
    }
    for (;;) {
        bool fine = true;
        if (s.mode == TO_BEGIN) {
            if (!begin_game(d, slot)) return;
            d.reusable = -1;
        } else if (s.mode == TO_MOVE) {
            fine = move_on(d);
        } else if (s.mode == TO_SEARCH) {
            Found found = simulate(d);
            fine = found != NO_ROOM;
            s.mode = found == QUESTION ? TO_EVALUATE : TO_MOVE;
            if (found == ENOUGH) fine = decide(d, d.nodes[0].count, 0);
        } else {
            return ask(d);
        }
        if (!fine) { // not begun anew at once, lest it fail over and over
            s.dropped++;
            s.mode = TO_BEGIN;
            return;
        }
    }
}

} // namespace wave
