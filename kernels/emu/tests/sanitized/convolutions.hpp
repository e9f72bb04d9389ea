// Convolutions, their derivatives and the fused tower, of every width.
#pragma once
#include "call.hpp"

inline bool convolutions(int width, unsigned long long seed) {
    // Two blocks of rows, the second with few; an inner dimension that is no multiple of a piece.
    constexpr int BOARDS = 5, CELLS = 29, TAPS = 3, K = 48, ROWS = BOARDS * CELLS, REACH = CELLS - 1;
    size_t n = static_cast<size_t>(width);
    std::vector<bf16> x(ROWS * K, ONE), w(TAPS * K * n, ONE), y(ROWS * n), residual(ROWS * n, ONE), mask(ROWS * n, ONE);
    std::vector<float> y32(ROWS * n), bias(n, 0.5f), by_board(BOARDS * n, 0.25f), at_most(BOARDS * n, 1.0f);
    std::vector<unsigned short> sources = graph(CELLS, TAPS), most(BOARDS * n, CELLS - 1);
    std::string suffix = "_" + std::to_string(width);
    for (bool back : {false, true}) {
        unsigned w_tile = static_cast<unsigned>(back ? width * 40 : 32 * (width + 8));
        unsigned shared = 2 * ((128 + 2 * REACH + 1) * (K + 8) + 3 * w_tile + TAPS * 128);
        std::string name = (back ? "conv_back" : "conv") + suffix;
        Call plain;
        plain.array(x).array(w).array(sources).array(y);
        for (int i = 0; i < 7; i++) plain.absent();
        plain.number(ROWS).number(CELLS).number(TAPS).number(K).number(REACH).number(0);
        Call whole;
        whole.array(x).array(w).array(sources).array(y).array(y32).array(bias).array(by_board).array(residual).array(mask);
        whole.array(most).array(at_most).number(ROWS).number(CELLS).number(TAPS).number(K).number(REACH).number(1);
        if (plain.fails(name, 2, 1, 128, shared, seed) || whole.fails(name, 2, 1, 128, shared, seed)) return true;
    }
    // A block has both pieces of the inputs, the second of which is half empty.
    constexpr int OF_SPLIT = 64, SPLITS = (ROWS + OF_SPLIT - 1) / OF_SPLIT, INPUTS = 64, THREADS = TAPS * INPUTS, RING = 256;
    std::vector<float> partial(SPLITS * TAPS * K * n);
    Call call;
    call.array(x).array(y).array(sources).array(partial).number(ROWS).number(CELLS).number(TAPS).number(K).number(OF_SPLIT);
    call.number(REACH).number(RING);
    unsigned shared = 2 * ((RING + 1) * (INPUTS + 8) + 3 * 32 * static_cast<unsigned>(width + 8) + TAPS * CELLS);
    return call.fails("weights_back" + suffix, 1, SPLITS, THREADS, shared, seed);
}

inline bool towers(int width, unsigned long long seed) {
    constexpr int CELLS = 31, TAPS = 3;
    int of_block = width <= 64 ? 4 : 2, boards = of_block + 1;
    unsigned c = static_cast<unsigned>(width), n = static_cast<unsigned>(boards), b = static_cast<unsigned>(of_block);
    unsigned conv = TAPS * c * c, stem = TAPS * 48 * c;
    // One tensor behind the other, nothing behind the last; the block pools.
    unsigned at = 0;
    auto next = [&](unsigned len) { return (at += len) - len; };
    std::vector<unsigned> layers;
    for (unsigned len : {stem, c, 32 * c, conv, c, 2 * c * c, conv, c}) layers.push_back(next(len));
    layers.push_back(0xffffffffu);
    std::vector<bf16> planes(n * CELLS * 48, ONE), weights16(at, 0x3c00), x(n * CELLS * c);
    std::vector<float> globals(n * 32, 1.0f), weights32(at, 0.01f), pooled(n * 2 * c);
    std::vector<unsigned short> sources = graph(CELLS, TAPS);
    Call call;
    call.array(planes).array(globals).array(weights16).array(weights32).array(layers).array(sources).array(x).array(pooled);
    call.number(boards).number(CELLS).number(TAPS).number(3);
    unsigned trunk = (b * 64 + 1) * ((c > 48 ? c : 48) + 8);
    unsigned shared = 2 * (2 * trunk + 3 * 32 * (c + 8)) + 4 * b * 3 * c + 9 * 64;
    if (call.fails("tower_" + std::to_string(width), 2, 1, b * 64, shared, seed)) return true;
    for (float value : pooled)
        if (!std::isfinite(value)) return true;
    return false;
}
