// Everything on vectors: expansion, pools, small layers, the policy head, the optimiser. Odd sizes, so that the last warp or
// block has work for some of its threads only.
#pragma once
#include "call.hpp"

inline bool vectors(unsigned long long seed) {
    constexpr int BOARDS = 5, CELLS = 37, WIDTH = 33, ROWS = BOARDS * CELLS, OUT = 27;
    std::vector<unsigned long long> stacks(ROWS, 3ull << 58 | 0x1b);
    std::vector<unsigned char> ground(ROWS, 2);
    std::vector<unsigned short> headers(BOARDS * 32, 1), most(BOARDS * WIDTH);
    for (int board = 0; board < BOARDS; board++) headers[static_cast<size_t>(board * 32)] = 4; // seats
    std::vector<bf16> planes(ROWS * 48), x(ROWS * WIDTH, ONE);
    std::vector<float> globals(BOARDS * 32), pooled(BOARDS * 2 * WIDTH, 1.0f), sums(BOARDS * WIDTH), all(BOARDS * WIDTH);
    std::vector<float> w(2 * WIDTH * OUT, 0.5f), bias(OUT, 1.0f), y(BOARDS * OUT), columns(OUT), dx(BOARDS * 2 * WIDTH);
    std::vector<float> dw(2 * 2 * WIDTH * OUT);
    auto blocks = [](int count) { return static_cast<unsigned>((count + 127) / 128); };
    bool failed = false;
    auto run = [&](Call& call, const char* name, unsigned count, unsigned shared) {
        failed |= call.fails(name, count, 1, 128, shared, seed);
    };
    run(Call().array(stacks).array(ground).array(headers).array(planes).array(globals).number(CELLS), "expand_positions",
        BOARDS, 0);
    run(Call().array(x).array(pooled).array(most).number(CELLS).number(WIDTH), "pool", BOARDS, 0);
    run(Call().array(x).array(pooled).absent().number(CELLS).number(WIDTH), "pool", BOARDS, 0);
    run(Call().array(x).array(sums).number(CELLS).number(WIDTH), "board_sums", BOARDS, 0);
    run(Call().array(pooled).array(sums).array(all).number(BOARDS).number(CELLS).number(WIDTH), "pool_back",
        blocks(BOARDS * WIDTH), 0);
    // Blocks have 32 by 32 sums; the vectors are in two splits.
    constexpr unsigned SHARED = 2 * 4 * 32 * 33;
    Call layer, back, weights;
    layer.array(pooled).array(w).array(bias).array(y).number(BOARDS).number(2 * WIDTH).number(OUT).number(1);
    back.array(y).array(w).array(pooled).array(dx).number(BOARDS).number(2 * WIDTH).number(OUT).number(0);
    weights.array(pooled).array(y).array(dw).number(BOARDS).number(2 * WIDTH).number(OUT).number(3);
    failed |= layer.fails("dense", 1, 1, 128, SHARED, seed) || back.fails("dense_back", 1, 3, 128, SHARED, seed);
    failed |= weights.fails("dense_weights", 3, 2, 128, SHARED, seed);
    run(Call().array(y).array(columns).number(BOARDS).number(OUT), "column_sums", OUT, 16);
    return failed;
}

inline bool policies(unsigned long long seed) {
    constexpr int BOARDS = 21, CELLS = 37, KINDS = 3, MOVES = 35, MANY = 40, SHARE = 16, BLOCKS = 2, PARTIAL = 7 * 32 + 7 * 192;
    std::vector<float> head(BOARDS * CELLS * 96, 0.1f), kinds(BOARDS * KINDS, 0.2f), pairs(7 * 32, 1.0f), rays(7 * 192);
    // A pair with planes, single planes, and sums over cells; the last plane of all.
    std::vector<unsigned char> reads = {6, 19, 18, 17, 255, 255, 255, 0, 255, 19, 255, 255, 255, 255, 255, 255, 18, 19};
    std::vector<unsigned> actions, ends, target_index(BOARDS, MOVES - 1), target_ends;
    std::vector<unsigned short> many(MANY, CELLS - 1);
    for (unsigned board = 0; board < BOARDS; board++) {
        for (unsigned i = 0; i < MOVES; i++) {
            actions.insert(actions.end(), {i % KINDS | (7u * 192 - 1) << 16, (i % CELLS) | (CELLS - 1) << 16,
                                           (CELLS - 1) | (i % KINDS == 2 ? MANY : 0) << 16, 0});
        }
        ends.push_back((board + 1) * MOVES);
        target_ends.push_back(board + 1);
    }
    std::vector<float> logits(BOARDS * MOVES), target_weight(BOARDS, 1.0f), values(BOARDS * 4, 0.3f), losses(BOARDS * 2);
    std::vector<unsigned char> seats(BOARDS, 4), winners(BOARDS, 3);
    std::vector<float> sums(head.size()), dkinds(kinds.size()), partial(BLOCKS * PARTIAL);
    std::vector<bf16> dhead(head.size());
    Call forward, loss, back;
    forward.array(head).array(kinds).array(pairs).array(rays).array(reads).array(actions).array(many).array(ends).array(logits);
    forward.number(BOARDS).number(CELLS).number(KINDS);
    loss.array(logits).array(ends).array(target_index).array(target_weight).array(target_ends).array(values).array(seats);
    loss.array(winners).array(losses).number(BOARDS).number(0.5f).number(0.5f);
    back.array(head).array(pairs).array(reads).array(actions).array(many).array(ends).array(logits).array(sums).array(dhead);
    back.array(dkinds).array(partial).number(BOARDS).number(CELLS).number(KINDS).number(SHARE);
    unsigned positions = (BOARDS + 3) / 4;
    return forward.fails("policy_logits", positions, 1, 128, 0, seed) || loss.fails("policy_losses", positions, 1, 128, 0, seed) ||
           back.fails("policy_back", BLOCKS, 1, 32, 4 * (PARTIAL + KINDS), seed);
}

inline bool updates(unsigned long long seed) {
    constexpr int COUNT = 8195, BLOCKS = 2, SPLITS = 3, ROWS = 13, N = 9, COLUMNS = 7, WIDTH = 33, HEAD = 84;
    std::vector<float> weights(COUNT, 0.1f), average(COUNT), first(COUNT), second(COUNT), gradient(COUNT, 0.2f), scale(2);
    std::vector<double> squares(BLOCKS);
    std::vector<unsigned char> decays(COUNT, 1);
    std::vector<bf16> weights16(COUNT), head16(WIDTH * 96);
    std::vector<float> partial(SPLITS * ROWS * N, 1.0f), out(ROWS * COLUMNS), w(WIDTH * HEAD, 0.1f), bias(HEAD), head_bias(96);
    auto blocks = [](int count) { return static_cast<unsigned>((count + 127) / 128); };
    Call sum, norm, clip, step, pack;
    sum.array(partial).array(out).number(SPLITS).number(ROWS * N).number(N).number(COLUMNS);
    norm.array(gradient).array(squares).number(COUNT);
    clip.array(squares).array(scale).number(BLOCKS).number(1.0f);
    step.array(weights).array(average).array(first).array(second).array(gradient).array(decays).array(scale).array(weights16);
    step.number(COUNT);
    for (float number : {0.001f, 0.02f, 0.1f, 0.05f, 0.9f}) step.number(number);
    pack.array(w).array(bias).array(head16).array(head_bias).number(WIDTH).number(HEAD);
    return sum.fails("sum_partials", blocks(ROWS * N), 1, 128, 0, seed) || norm.fails("gradient_norm", BLOCKS, 1, 128, 32, seed) ||
           clip.fails("gradient_scale", 1, 1, 128, 32, seed) || step.fails("adamw", blocks(COUNT), 1, 128, 0, seed) ||
           pack.fails("pack_head", blocks(WIDTH * 96), 1, 128, 0, seed);
}
