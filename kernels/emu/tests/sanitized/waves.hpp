// Self-play with the search on the device.
#pragma once

#include <cstring>
#include <string>

#include "sanitized/call.hpp"
#include "wave/slot.cuh"

// Self-play of two slots, on so many evaluations; where they suffice, until one of their games has ended and was collected.
template <class B> bool waves(const char* board, int seats, int evaluations, bool suffice, unsigned long long seed) {
    constexpr int SLOTS = 2, NODES = 12, EDGES = 12 * 4 * B::CELLS, MOVES = 400, POLICY = 6000;
    constexpr int RECORD = wave::RECORD_HEADER + MOVES + POLICY;
    wave::Settings settings = {1, 0, 1, seats, seats == 2, 3, 2, 0.25f, 8, 3, 0.5f, 12, 1.5f, 16, 50.0f, 1.0f,
                               NODES, EDGES, MOVES, POLICY};
    std::vector<wave::Settings> uploaded(1, settings);
    std::vector<wave::Slot> slots(SLOTS);
    std::vector<rules::Game<B>> positions(SLOTS * NODES);
    std::vector<wave::Node> nodes(SLOTS * NODES);
    std::vector<wave::Step> paths(SLOTS * NODES);
    std::vector<wave::Edge> edges(SLOTS * EDGES);
    std::vector<unsigned> records(2 * SLOTS * RECORD), ready(2 * SLOTS), outbox(1 + RECORD);
    std::vector<unsigned long long> stacks(SLOTS * B::CELLS);
    std::vector<unsigned char> ground(SLOTS * B::CELLS), reads(27 * 6);
    std::vector<unsigned short> headers(SLOTS * 32);
    std::vector<float> head(SLOTS * B::CELLS * 96), kinds(SLOTS * 27), value(SLOTS * 4), pairs(7 * 32), rays(7 * 8 * 24);
    // What the network would have said: no two of one kind are alike for long.
    size_t words = 0;
    for (std::vector<float>* said : {&head, &kinds, &value, &pairs, &rays})
        for (float& number : *said) number = static_cast<float>(words++ * 7919 % 113) / 64.0f - 0.75f;
    // Every kind reads a pair, or planes, or cells, as far as it has them.
    for (int kind = 0; kind < 27; kind++) {
        bool line = kind >= 16 && kind <= 18, region = kind == 21, ray = kind == 6 || kind == 7 || (kind >= 9 && kind <= 13);
        unsigned char read[6] = {255, 255, 255, 255, 255, 255};
        if (ray) read[0] = 0, read[1] = read[2] = 7;
        if (line || region) read[4] = read[5] = 18;
        memcpy(&reads[kind * 6], read, 6);
    }
    std::string kernel = std::string("wave_") + board;
    for (int i = 0; i < evaluations && outbox[0] < 2; i++) {
        Call step;
        step.array(uploaded).array(slots).array(positions).array(nodes).array(paths).array(edges).array(records).array(ready);
        step.array(stacks).array(ground).array(headers).array(head).array(kinds).array(value).array(pairs).array(rays);
        step.array(reads);
        if (step.number(SLOTS).number(1).fails(kernel.c_str(), 1, 1, 32, sizeof(rules::Table<B>), seed)) return true;
        Call collect;
        collect.array(records).array(ready).array(outbox).number(2 * SLOTS).number(MOVES).number(POLICY).number(1 + RECORD);
        if (collect.fails("wave_collect", 1, 1, 32, 0, seed)) return true;
    }
    return (outbox[0] >= 2) != suffice || slots[0].dropped + slots[1].dropped != 0;
}

inline bool all_waves(unsigned long long seed) {
    return waves<rules::Hex8>("hex8", 2, 400, true, seed) || waves<rules::Square8>("square8", 3, 400, true, seed) ||
           waves<rules::Square19>("square19", 2, 6, false, seed) || waves<rules::Hexagonal>("hexagonal", 4, 6, false, seed);
}
