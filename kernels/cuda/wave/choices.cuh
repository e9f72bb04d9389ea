// The random choices of a game: the generator of the host (rules::playout::Choices), number by number.
//
// The state is a u64; numbers are u64, int, f32 or f64 made of them.
//
// Work: arithmetic of one thread. A number is a function of the state before it, so lanes may draw the next ones each for
// itself; what is drawn for all is drawn by all lanes alike.
#pragma once

#include "rules.cuh"

namespace wave {

using namespace rules;

constexpr u64 STRIDE = 0x9e3779b97f4a7c15ull;

// SplitMix64 (Steele, Lea & Flood 2014): the number that a state holds.
DEVICE u64 mixed(u64 z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

DEVICE u64 next(u64& choices) {
    choices += STRIDE;
    return mixed(choices);
}
// An index below `count`.
DEVICE int below(u64& choices, int count) { return (int)((next(choices) >> 32) * (u64)count >> 32); }
// Uniform in [0, 1).
DEVICE float unit(u64& choices) { return (float)(next(choices) >> 40) / 16777216.0f; }

// Uniform, and neither 0 nor 1.
DEVICE double between_0_and_1(u64 number) { return ((double)(number >> 12) + 0.5) / 4503599627370496.0; }

// A sample of the standard Gumbel distribution. In double precision: the logarithm of the logarithm needs both ends.
DEVICE float gumbel(u64 number) { return (float)-log(-log(between_0_and_1(number))); }

} // namespace wave
