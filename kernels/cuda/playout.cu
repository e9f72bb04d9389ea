// Random playouts: games played to their end by uniformly random legal moves, without the host.
//
// starts: [start_count] positions of Game<B> as u32 words (rules/state.cuh); game i starts from i % start_count.
// results: [games, 4] u32: winner | reason << 8 | over << 16; steps; rank of each seat, 8 bits each; a digest of the
// last position. ends: [games] positions as they ended, or null. seed_low, seed_high, first: u32; a game follows from
// (seed, first + i) and its start alone. A game that is not over after `steps_max` steps ends unfinished.
//
// Work: a block has four warps, each with a Table<B> of its own in the block's shared memory. Warp w of all warps of the grid
// plays the games w, w + warps, ... one after the other; `blocks` is the size of the grid. Lanes list moves, each its own,
// and agree on the one of the highest priority; the rest is said in rules.cuh.
#include "rules.cuh"
#include "rules/random.cuh"

namespace rules {

struct Seed {
    u32 low, high;
};

template <class B> DEVICE int play(Table<B>& t, Seed seed, u32 game, int steps_max) {
    int steps = 0;
    for (; t.game.phase != OVER && steps < steps_max; steps++) {
        Choice choice = {philox({{game, (u32)steps, 0, 0}}, seed.low, seed.high)};
        list_legal(t, choice);
        apply(t, chosen(choice));
    }
    return steps;
}

// The same for equal positions, whoever computes it.
template <class B> DEVICE u32 digest(const Table<B>& t) {
    const u32* words = reinterpret_cast<const u32*>(&t.game);
    u32 sum = 0;
    for (int i = lane_id(); i < game_words<B>(); i += 32) sum += priority(words[i], {{(u32)i * 0x9e3779b9u, (u32)i, 0, 0}});
    return warp_sum(sum);
}

template <class B>
DEVICE void playouts(const u32* starts, int start_count, u32* results, u32* ends, int games, Seed seed, u32 first,
                     int steps_max, int blocks) {
    Table<B>& t = own_table<B>();
    for_own_games(games, blocks, [&](int i) {
        load(t, starts + (size_t)(i % start_count) * game_words<B>());
        int steps = play(t, seed, first + (u32)i, steps_max);
        u32 sum = digest(t);
        const Game<B>& game = t.game;
        if (lane_id() == 0) {
            u32 over = game.phase == OVER, ranks = 0;
            for (int seat = 0; seat < SEATS; seat++) ranks |= (u32)game.ranks[seat] << 8 * seat;
            u32* result = results + (size_t)i * 4;
            result[0] = over ? (u32)game.winner | (u32)game.reason << 8 | 1u << 16 : 0;
            result[1] = (u32)steps;
            result[2] = over ? ranks : 0;
            result[3] = sum;
        }
        if (ends) store(t, ends + (size_t)i * game_words<B>());
    });
}

} // namespace rules

#define PLAYOUT_KERNEL(name, board)                                                                                    \
    KERNEL(rules::THREADS) playout_##name(const u32* starts, int start_count, u32* results, u32* ends, int games,      \
                                          u32 seed_low, u32 seed_high, u32 first, int steps_max, int blocks) {         \
        rules::playouts<rules::board>(starts, start_count, results, ends, games, {seed_low, seed_high}, first,         \
                                      steps_max, blocks);                                                              \
    }

PLAYOUT_KERNEL(square8, Square8)
PLAYOUT_KERNEL(square19, Square19)
PLAYOUT_KERNEL(hex8, Hex8)
PLAYOUT_KERNEL(hexagonal, Hexagonal)
#undef PLAYOUT_KERNEL
