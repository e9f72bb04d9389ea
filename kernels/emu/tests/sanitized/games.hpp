// The rules: random games, lists of moves, single steps, on every board.
#pragma once
#include "call.hpp"

#include "rules.cuh"

// Random games from the empty board, then the legal moves where they ended and one of them.
template <class B> bool games(const char* board, int seats, int steps_max, unsigned long long seed) {
    constexpr int GAMES = 5; // more than a block has warps
    constexpr unsigned SHARED = sizeof(rules::Table<B>) * rules::WARPS;
    rules::Game<B> start = {};
    for (int seat = 0; seat < rules::SEATS; seat++) {
        start.hand[seat] = seat < seats ? B::SUPPLY : 0;
        start.lost_at[seat] = rules::NEVER;
    }
    start.seats = seats;
    start.must = start.attack = rules::NONE_CELL;
    start.lps_first = start.lps_alone = -1;
    start.swap_open = seats == 2;
    std::vector<rules::Game<B>> starts(1, start), ends(GAMES, start);
    std::vector<unsigned> results(GAMES * 4);
    std::string kernel = std::string("playout_") + board;
    Call play;
    play.array(starts).number(1).array(results).array(ends).number(GAMES).number(7).number(0).number(0).number(steps_max)
        .number(2);
    if (play.fails(kernel, 2, 1, rules::THREADS, SHARED, seed)) return true;
    std::vector<int> numbers(GAMES);
    constexpr int ROOM = 3; // fewer than there are: the rest is left out
    std::vector<unsigned> codes(GAMES * ROOM), first(GAMES);
    Call list;
    list.array(ends).array(codes).array(numbers).number(GAMES).number(ROOM).number(1);
    kernel = std::string("legal_") + board;
    if (list.fails(kernel, 1, 1, rules::THREADS, SHARED, seed)) return true;
    for (int i = 0; i < GAMES; i++) {
        bool over = ends[i].phase == rules::OVER;
        if ((numbers[i] == 0) != over) return true;
        if (over) ends[i] = start;
        constexpr unsigned NONE = rules::NONE_CELL, ON_FIRST_CELL = NONE << 9 | NONE; // one ring
        first[i] = over ? ON_FIRST_CELL : codes[i * ROOM];
    }
    Call step;
    step.array(ends).array(first).number(GAMES).number(1);
    kernel = std::string("apply_") + board;
    return step.fails(kernel, 1, 1, rules::THREADS, SHARED, seed);
}

inline bool all_games(unsigned long long seed) {
    return games<rules::Hex8>("hex8", 2, 1000, seed) || games<rules::Hex8>("hex8", 3, 90, seed) ||
           games<rules::Square8>("square8", 4, 1000, seed) || games<rules::Square19>("square19", 2, 60, seed) ||
           games<rules::Hexagonal>("hexagonal", 3, 60, seed);
}
