// The end of the game: the four tests, round-counted last player standing, and the ranks.
//
// What is counted for each seat is SEATS numbers, or 16 bits each of a u64, the same in all lanes.
//
// Work: a warp has the game. Counters are read by all lanes alike, markers counted a row a lane; lane s finds the rank of
// seat s.
#pragma once

#include "rules/placement.cuh"

namespace rules {

struct Verdict {
    int winner, reason; // winner -1: the game goes on
};

// The seat with the largest value, if it is above zero and nobody shares it; else -1.
DEVICE int unique_maximum(const int (&values)[SEATS]) {
    int best = 0, seat = -1;
    for (int i = 0; i < SEATS; i++) {
        if (values[i] == best) seat = -1;
        if (values[i] > best) {
            best = values[i];
            seat = i;
        }
    }
    return seat;
}

// The number of a seat's markers, 16 bits each.
template <class B> DEVICE u64 marker_counts(const Game<B>& game) {
    u64 counts = 0;
    for (int seat = 0; seat < SEATS; seat++) counts += (u64)count_bits(own<B>(game.markers[seat])) << 16 * seat;
    return warp_sum(counts);
}
DEVICE int part(u64 counts, int seat) { return (int)(counts >> 16 * seat & 0xffff); }

// The winner on a board without stacks where nobody can place. Each level looks at all seats again.
template <class B> DEVICE Verdict tie_break(const Game<B>& game) {
    u64 counts = marker_counts<B>(game);
    int territory[SEATS], rings[SEATS], markers[SEATS];
    for (int seat = 0; seat < SEATS; seat++) {
        territory[seat] = game.territory[seat];
        rings[seat] = game.eliminated[seat] + game.hand[seat];
        markers[seat] = part(counts, seat);
    }
    int winner = unique_maximum(territory);
    if (winner >= 0) return {winner, TERRITORY_CONTROL};
    winner = unique_maximum(rings);
    if (winner >= 0) return {winner, RING_ELIMINATION};
    winner = unique_maximum(markers);
    return {winner >= 0 ? winner : game.seat, LAST_PLAYER_STANDING};
}

// The four tests of the rules, in their order.
template <class B> CALLED Verdict verdict(Table<B>& t) {
    const Game<B>& game = t.game;
    int seats = game.seats, cells = 0;
    for (int seat = 0; seat < seats; seat++) {
        if (game.eliminated[seat] >= elimination_threshold<B>(seats)) return {seat, RING_ELIMINATION};
        cells += game.territory[seat];
    }
    for (int seat = 0; seat < seats; seat++) {
        int own = game.territory[seat];
        if (own >= territory_minimum<B>(seats) && own > cells - own) return {seat, TERRITORY_CONTROL};
    }
    if (!any(own_any<B>(game.controlled) != 0)) {
        look(t);
        for (int seat = 0; seat < seats; seat++)
            if (can_place(t, seat)) return {-1, 0};
        return tie_break<B>(game);
    }
    int alone = -1, count = 0;
    for (int seat = 0; seat < seats; seat++)
        if (present(game, seat)) {
            alone = seat;
            count++;
        }
    return {count == 1 ? alone : -1, LAST_PLAYER_STANDING};
}

// Whether seat a ranks before seat b: by territory, eliminated rings (with those in hand after a stalemate), markers,
// and who lost the last ring later; the winner before all.
template <class B> DEVICE bool ranks_before(const Game<B>& game, u64 markers, bool stalemate, int winner, int a, int b) {
    if ((a == winner) != (b == winner)) return a == winner;
    if (game.territory[a] != game.territory[b]) return game.territory[a] > game.territory[b];
    int rings_a = game.eliminated[a] + (stalemate ? game.hand[a] : 0);
    int rings_b = game.eliminated[b] + (stalemate ? game.hand[b] : 0);
    if (rings_a != rings_b) return rings_a > rings_b;
    if (part(markers, a) != part(markers, b)) return part(markers, a) > part(markers, b);
    return game.lost_at[a] > game.lost_at[b];
}

// Ends the game.
template <class B> CALLED void finish(Table<B>& t, Verdict verdict) {
    Game<B>& game = t.game;
    int lane = lane_id(), rank = 0;
    u64 markers = marker_counts<B>(game);
    bool stalemate = !any(own_any<B>(game.controlled) != 0);
    if (lane < game.seats) {
        rank = 1;
        for (int other = 0; other < game.seats; other++)
            rank += ranks_before(game, markers, stalemate, verdict.winner, other, lane);
    }
    sync_warp();
    if (lane < SEATS) game.ranks[lane] = rank;
    if (lane == 0) {
        game.winner = game.seat = verdict.winner;
        game.reason = verdict.reason;
        game.phase = OVER;
        game.swap_open = 0;
        game.lps_first = game.lps_alone = -1;
        game.lps_seen = game.lps_real = game.lps_rounds = 0;
        clear_turn(game);
    }
    sync_warp();
}

// Whether the seat, were it its turn, has a legal placement, plain move or capture. After look().
template <class B> DEVICE bool has_real_action(Table<B>& t, int seat) { return can_place(t, seat) || can_move(t, seat); }

// Registers the start of a turn; true if the seat to move wins by last player standing.
template <class B> CALLED bool last_player_standing(Table<B>& t) {
    Game<B>& game = t.game;
    int me = game.seat, first = game.lps_first, alone = game.lps_alone, rounds = game.lps_rounds;
    u32 seen = (u32)game.lps_seen, real = (u32)game.lps_real, here = 0;
    for (int seat = 0; seat < game.seats; seat++) here |= (u32)present(game, seat) << seat;
    auto has = [&](int seat) { return seat >= 0 && (here >> seat & 1) != 0; };
    if (!has(first)) {
        first = me;
        seen = real = 0;
        if (!has(alone)) {
            alone = -1;
            rounds = 0;
        }
    } else if (first == me && seen != 0) {
        u32 acting = here & real;
        if (count_bits(acting) == 1) {
            int only = lowest_bit(acting);
            rounds = alone != only ? 1 : rounds < 0xffff ? rounds + 1 : rounds;
            alone = only;
        } else {
            alone = -1;
            rounds = 0;
        }
        seen = real = 0;
    }
    look(t);
    bool acts = has_real_action(t, me), wins = rounds >= 3 && alone == me && acts;
    for (int seat = 0; wins && seat < game.seats; seat++)
        wins = seat == me || !present(game, seat) || !has_real_action(t, seat);
    sync_warp();
    if (lane_id() == 0) {
        game.lps_first = first;
        game.lps_seen = (int)(seen | 1u << me);
        game.lps_real = (int)(real | (u32)acts << me);
        game.lps_alone = alone;
        game.lps_rounds = rounds;
    }
    sync_warp();
    return wins;
}

} // namespace rules
