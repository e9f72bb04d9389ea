// Positions in, legal moves or next positions out: single steps, for search and for proof against the host's rules.
//
// games: [count] positions of Game<B> as u32 words (rules/state.cuh). legal_*: codes: [count, room] u32, in an order that
// depends on the position alone; numbers: [count] int, how many there are, which may be more than the room, then the rest is
// left out. apply_*: codes: [count] u32, one legal move each; the positions are replaced by the next ones.
//
// Work: a block has four warps, each with a Table<B> of its own in the block's shared memory. Warp w of all warps of the grid
// takes the positions w, w + warps, ...; `blocks` is the size of the grid. What lanes do is said in rules.cuh.
#include "rules.cuh"

namespace rules {

template <class B> DEVICE void list(const u32* games, u32* codes, int* numbers, int count, int room, int blocks) {
    Table<B>& t = own_table<B>();
    for_own_games(count, blocks, [&](int i) {
        load(t, games + (size_t)i * game_words<B>());
        u32* own = codes + (size_t)i * room;
        int found = list_into(t, room, [own](int at, u32 code) { own[at] = code; });
        if (lane_id() == 0) numbers[i] = found;
    });
}

template <class B> DEVICE void step(u32* games, const u32* codes, int count, int blocks) {
    Table<B>& t = own_table<B>();
    for_own_games(count, blocks, [&](int i) {
        load(t, games + (size_t)i * game_words<B>());
        apply(t, codes[i]);
        store(t, games + (size_t)i * game_words<B>());
    });
}

} // namespace rules

#define STEP_KERNELS(name, board)                                                                                      \
    KERNEL(rules::THREADS) legal_##name(const u32* games, u32* codes, int* numbers, int count, int room, int blocks) {  \
        rules::list<rules::board>(games, codes, numbers, count, room, blocks);                                         \
    }                                                                                                                  \
    KERNEL(rules::THREADS) apply_##name(u32* games, const u32* codes, int count, int blocks) {                          \
        rules::step<rules::board>(games, codes, count, blocks);                                                        \
    }

STEP_KERNELS(square8, Square8)
STEP_KERNELS(square19, Square19)
STEP_KERNELS(hex8, Hex8)
STEP_KERNELS(hexagonal, Hexagonal)
#undef STEP_KERNELS
