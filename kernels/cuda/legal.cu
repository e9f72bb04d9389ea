// Positions in, legal moves or next positions out: single steps, for search and for proof against the host's rules.
//
// games: [count] positions of Game<B> as u32 words (rules/state.cuh). legal_*: codes: [count, room] u32, in an order that
// depends on the position alone; numbers: [count] how many there are, which may be more than the room, then the rest is
// left out. apply_*: codes: [count] u32, one legal move each; the positions are replaced by the next ones.
//
// Work: a warp takes the positions w, w + warps, ...; `blocks` is the size of the grid. Moves are listed twice, first to
// count those of each lane, then to write them where they belong.
#include "rules.cuh"

namespace rules {

// A visitor that writes moves, or only counts them where there is no room.
struct Write {
    u32* codes;
    int at, room;
    DEVICE void operator()(u32 code) {
        if (at < room) codes[at] = code;
        at++;
    }
};

template <class B> DEVICE void list(const u32* games, u32* codes, int* numbers, int count, int room, int blocks) {
    Table<B>& t = own_table<B>();
    for_own_games(count, blocks, [&](int i) {
        load(t, games + (size_t)i * game_words<B>());
        Write counted = {codes, 0, 0};
        list_legal(t, counted);
        int end = lanes_up_to(counted.at);
        Write write = {codes + (size_t)i * room, end - counted.at, room};
        list_legal(t, write);
        if (lane_id() == 31) numbers[i] = end;
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
