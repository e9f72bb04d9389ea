// Random choices that follow from a seed, a game and a step alone, whoever draws them and in whatever order.
//
// A step's key comes from a counter (Salmon et al. 2011, Philox4x32-10). Under it each move's code gets a priority,
// and the highest wins: a uniform choice in a single pass over moves that need not be counted, stored or put in order.
// Counter and result are four u32, keys two, priorities one.
//
// Work: every lane computes the same key, and priorities of its own moves; chosen() is a maximum over the warp.
#pragma once

#include "rules/geometry.cuh"

namespace rules {

struct Key {
    u32 words[4];
};

DEVICE Key philox(Key counter, u32 key_low, u32 key_high) {
    for (int round = 0; round < 10; round++) {
        u64 low = (u64)counter.words[0] * 0xd2511f53u, high = (u64)counter.words[2] * 0xcd9e8d57u;
        counter = {{(u32)(high >> 32) ^ counter.words[1] ^ key_low, (u32)high,
                    (u32)(low >> 32) ^ counter.words[3] ^ key_high, (u32)low}};
        key_low += 0x9e3779b9u;
        key_high += 0xbb67ae85u;
    }
    return counter;
}

// Permutes the codes: different moves never share a priority.
DEVICE u32 priority(u32 code, const Key& key) {
    u32 x = code ^ key.words[0];
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    x = (x ^ x >> 16) + key.words[1];
    x = (x ^ x >> 17) * 0xed5ad4bbu;
    x = (x ^ x >> 11) * 0xac4c1b51u;
    return x ^ x >> 15;
}

// A visitor that keeps the move of the highest priority among those of its lane.
struct Choice {
    Key key;
    u64 best = 0; // priority and code; no code is 0

    DEVICE void operator()(u32 code) {
        u64 candidate = (u64)priority(code, key) << 32 | code;
        if (candidate > best) best = candidate;
    }
};

// The move chosen among those of all lanes; 0 if there was none.
DEVICE u32 chosen(const Choice& choice) { return (u32)warp_max(choice.best); }

} // namespace rules
