// Kernels under AddressSanitizer and UndefinedBehaviorSanitizer, with arrays that are exactly as long as they need.
// Exits 0 if all is well; with an argument, runs a kernel with a planted mistake, which the sanitizer must report.
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "rules.cuh"
#include "wave/slot.cuh"

extern "C" void emu_launch(const char* name, unsigned grid_x, unsigned grid_y, unsigned threads, unsigned shared_bytes,
                           void* const* arguments, const unsigned* sizes, unsigned count, unsigned long long seed,
                           char* error, size_t error_bytes);

namespace {

// A launch's arguments, collected one by one.
struct Call {
    std::vector<unsigned long long> values;
    std::vector<unsigned> sizes;

    template <class T> Call& array(std::vector<T>& v) { return add(reinterpret_cast<unsigned long long>(v.data()), 8); }
    Call& absent() { return add(0, 8); }
    Call& number(int v) { return add(static_cast<unsigned>(v), 4); }
    Call& add(unsigned long long value, unsigned size) {
        values.push_back(value);
        sizes.push_back(size);
        return *this;
    }

    // Whether the kernel fails.
    bool fails(const char* name, unsigned blocks_x, unsigned blocks_y, unsigned threads, unsigned shared, unsigned long long seed) {
        std::vector<void*> pointers;
        for (auto& value : values) pointers.push_back(&value);
        char error[512];
        emu_launch(name, blocks_x, blocks_y, threads, shared, pointers.data(), sizes.data(), static_cast<unsigned>(sizes.size()), seed,
                   error, sizeof error);
        return error[0] != 0;
    }
};

constexpr unsigned short ONE = 0x3f80, NO_CELL = 511;

bool convolutions(unsigned long long seed) {
    constexpr int BOARDS = 3, CELLS = 61, TAPS = 7, WIDTH = 32, ROWS = BOARDS * CELLS;
    std::vector<unsigned short> x(ROWS * WIDTH, ONE), w(TAPS * WIDTH * WIDTH, ONE), sources(CELLS * TAPS), y(ROWS * WIDTH);
    std::vector<float> partial(TAPS * WIDTH * WIDTH);
    for (int i = 0; i < CELLS * TAPS; i++) sources[i] = i % 3 ? static_cast<unsigned short>(i % CELLS) : NO_CELL;
    bool failed = false;
    for (const char* name : {"conv_32", "conv_back_32"}) {
        Call call;
        call.array(x).array(w).array(sources).array(y);
        for (int i = 0; i < 7; i++) call.absent();
        call.number(ROWS).number(CELLS).number(TAPS).number(WIDTH).number(0);
        failed |= call.fails(name, 2, 1, 128, 6 * (128 * 40 + 32 * 40), seed);
    }
    Call call;
    call.array(x).array(y).array(sources).array(partial).number(ROWS).number(CELLS).number(TAPS).number(WIDTH).number(1024);
    return failed | call.fails("weights_back_32", TAPS, 1, 32, 6 * 32 * (40 + 40), seed);
}

bool towers(unsigned long long seed) {
    constexpr int BOARDS = 5, CELLS = 61, TAPS = 7, WIDTH = 32, LAYERS = 3;
    constexpr unsigned STEM = TAPS * 48 * WIDTH, LAYER = TAPS * WIDTH * WIDTH, REST = STEM + 2 * LAYER;
    std::vector<unsigned short> planes(BOARDS * CELLS * 48, ONE), weights16(REST + 4096, 0x3c00), sources(CELLS * TAPS);
    std::vector<unsigned short> x(BOARDS * CELLS * WIDTH);
    std::vector<float> globals(BOARDS * 32, 1.0f), weights32(REST + 4096, 0.01f), pooled(BOARDS * 2 * WIDTH);
    // Biases, globals and pooling weights come behind the convolutions; the first block pools.
    std::vector<unsigned> layers = {0, REST, REST + 32, STEM, REST, REST + 2048, STEM + LAYER, REST, 0xffffffffu};
    for (int i = 0; i < CELLS * TAPS; i++) sources[i] = i % 3 ? static_cast<unsigned short>(i % CELLS) : NO_CELL;
    Call call;
    call.array(planes).array(globals).array(weights16).array(weights32).array(layers).array(sources).array(x).array(pooled);
    call.number(BOARDS).number(CELLS).number(TAPS).number(LAYERS);
    unsigned shared = 2 * (2 * (4 * 64 + 1) * 56 + 3 * 32 * 40) + 4 * 4 * 3 * 32 + 9 * 64;
    if (call.fails("tower_32", 2, 1, 256, shared, seed)) return true;
    for (float value : pooled)
        if (!std::isfinite(value)) return true;
    return false;
}

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
    if (play.fails(kernel.c_str(), 2, 1, rules::THREADS, SHARED, seed)) return true;
    std::vector<int> numbers(GAMES);
    constexpr int ROOM = 3; // fewer than there are: the rest is left out
    std::vector<unsigned> codes(GAMES * ROOM), first(GAMES);
    Call list;
    list.array(ends).array(codes).array(numbers).number(GAMES).number(ROOM).number(1);
    kernel = std::string("legal_") + board;
    if (list.fails(kernel.c_str(), 1, 1, rules::THREADS, SHARED, seed)) return true;
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
    return step.fails(kernel.c_str(), 1, 1, rules::THREADS, SHARED, seed);
}

bool all_games(unsigned long long seed) {
    return games<rules::Hex8>("hex8", 2, 1000, seed) || games<rules::Hex8>("hex8", 3, 90, seed) ||
           games<rules::Square8>("square8", 4, 1000, seed) || games<rules::Square19>("square19", 2, 60, seed) ||
           games<rules::Hexagonal>("hexagonal", 3, 60, seed);
}

// Self-play of two slots until one of their games has ended and was collected.
template <class B> bool waves(const char* board, int seats, unsigned long long seed) {
    constexpr int SLOTS = 2, NODES = 12, EDGES = 3000, MOVES = 400, POLICY = 6000, RECORD = wave::RECORD_HEADER + MOVES + POLICY;
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
    for (size_t i = 0; i < head.size(); i++) head[i] = static_cast<float>(i * 7919 % 113) / 64.0f;
    // Every kind reads a pair, or planes, or cells, as far as it has them.
    for (int kind = 0; kind < 27; kind++) {
        bool line = kind >= 16 && kind <= 18, region = kind == 21, ray = kind == 6 || kind == 7 || (kind >= 9 && kind <= 13);
        unsigned char read[6] = {ray ? static_cast<unsigned char>(0) : static_cast<unsigned char>(255), 255, 255, 255, 255, 255};
        if (ray) read[1] = read[2] = 7;
        if (line || region) read[4] = read[5] = 18;
        memcpy(&reads[kind * 6], read, 6);
    }
    std::string kernel = std::string("wave_") + board;
    for (int i = 0; i < 400 && outbox[0] < 2; i++) {
        Call step;
        step.array(uploaded).array(slots).array(positions).array(nodes).array(paths).array(edges).array(records).array(ready);
        step.array(stacks).array(ground).array(headers).array(head).array(kinds).array(value).array(pairs).array(rays).array(reads);
        if (step.number(SLOTS).number(1).fails(kernel.c_str(), 1, 1, 32, sizeof(rules::Table<B>), seed)) return true;
        Call collect;
        collect.array(records).array(ready).array(outbox).number(2 * SLOTS).number(MOVES).number(POLICY).number(1 + RECORD);
        if (collect.fails("wave_collect", 1, 1, 32, 0, seed)) return true;
    }
    return outbox[0] < 2 || slots[0].dropped + slots[1].dropped != 0;
}

} // namespace

int main(int count, char**) {
    std::vector<float> out(64);
    if (count > 1) {
        Call().array(out).number(64).fails("planted_store_behind_the_end", 1, 1, 64, 0, 1);
        return 0;
    }
    if (waves<rules::Hex8>("hex8", 2, 1) || waves<rules::Square8>("square8", 3, 2)) return 3;
    for (unsigned long long seed = 0; seed < 4; seed++) {
        if (convolutions(seed) || towers(seed) || all_games(seed)) return 1;
        // A block that fails leaves its fibers where they are; the next one takes up their stacks.
        Call call;
        if (!call.array(out).fails("planted_divergent_shuffle", 1, 1, 64, 0, seed)) return 2;
    }
    return 0;
}
