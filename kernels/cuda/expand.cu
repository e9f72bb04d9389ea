// Packed positions to the network's input, all relative to the seat to move: what `encode` does on the CPU, bit for bit.
//
// stacks: [boards, cells] u64 (rules/stack.cuh); ground: [boards, cells] u8 and headers: [boards, 32] u16 (position.cuh).
// planes: [boards * cells, 48] bf16 (every value is exact in bf16); globals: [boards, 32] f32. cells: of a board.
//
// Work: a block has one board and 128 threads. A thread writes two neighbouring channels of a cell at a time, pair t of all
// the board's pairs, then t + 128, ...; warp 0 then does the globals, a lane each, after counting the cells that are taken 32
// at a time.
#include "position.cuh"
#include "rules/stack.cuh"

namespace expand {

using namespace position;
using rules::height_of;

constexpr int THREADS = 128, CHANNELS = 48, GLOBALS = 32;

// Channels as in kernels/src/encoding/planes.rs.
enum Channel {
    CONTROLLER = 1, HEIGHT = 5, CAP = 6, HEIGHT_IS = 7, CAP_IS = 11, BELOW = 14, RINGS = 30, MARKER = 34, COLLAPSED = 38,
    MUST_MOVE = 42, ATTACKER = 43, BURIED = 44
};

DEVICE int ring(u64 stack, int i) { return (int)(stack >> (2 * i)) & 3; }

DEVICE float channel(u64 stack, int ground, const u16* header, int cell, int channel) {
    int seats = header[SEATS], seat = header[SEAT], height = height_of(stack);
    auto absolute = [&](int relative) { return (relative + seat) % seats; };
    if (channel == 0) return 1.0f;
    if (channel >= MARKER && channel < MUST_MOVE) {
        int at = (channel - MARKER) % SEATS_MAX, base = channel < COLLAPSED ? MARKED_BY : COLLAPSED_TO;
        return at < seats && ground == base + absolute(at);
    }
    if (channel == MUST_MOVE) return header[MUST] == cell;
    if (channel == ATTACKER) return header[ATTACK] == cell;
    if (height == 0) return 0.0f;
    if (channel < HEIGHT) {
        int at = channel - CONTROLLER;
        return at < seats && ring(stack, height - 1) == absolute(at);
    }
    if (channel == HEIGHT) return (float)height / 8.0f;
    if (channel < RINGS) {
        int cap = rules::cap_of(stack);
        if (channel == CAP) return (float)cap / 8.0f;
        if (channel < CAP_IS) return (height < 4 ? height : 4) == channel - HEIGHT_IS + 1;
        if (channel < BELOW) return (cap < 3 ? cap : 3) == channel - CAP_IS + 1;
        int at = (channel - BELOW) % SEATS_MAX, below = cap + (channel - BELOW) / SEATS_MAX;
        return below < height && at < seats && ring(stack, height - 1 - below) == absolute(at);
    }
    int at = (channel - RINGS) % SEATS_MAX;
    if (channel >= BURIED) at = channel - BURIED;
    if (at >= seats) return 0.0f;
    if (channel < MARKER) return (float)rules::ring_count(stack, absolute(at)) / 8.0f;
    return rules::buries(stack, absolute(at));
}

DEVICE float global(const u16* header, int taken, int cells, int global) {
    int seats = header[SEATS], seat = header[SEAT];
    if (global < 7) return header[PHASE] == global;
    if (global < 19) {
        int at = (global - 7) % SEATS_MAX, which = (global - 7) / SEATS_MAX, own = (at + seat) % seats;
        if (at >= seats) return 0.0f;
        return (float)header[HAND + which * SEATS_MAX + own] / (float)header[SUPPLY + which];
    }
    if (global < 22) return seats == global - 19 + 2;
    if (global == 22) return (float)cells / 469.0f;
    if (global == 23) return header[LINE_OF_THREE];
    if (global < 26) {
        bool mine = header[ALONE] == seat + 1;
        if (header[ALONE] == 0 || mine != (global == 24)) return 0.0f;
        return (float)(header[ROUNDS] < 3 ? header[ROUNDS] : 3) / 3.0f;
    }
    if (global < 31) return header[FLAGS] >> (global - 26) & 1;
    return (float)taken / (float)cells;
}

} // namespace expand

KERNEL(expand::THREADS)
expand_positions(const u64* stacks, const u8* ground, const u16* headers, bf16* planes, float* globals, int cells) {
    using namespace expand;
    size_t board = (size_t)block_x();
    const u16* header = headers + board * HEADER;
    stacks += board * cells;
    ground += board * cells;
    u32* pairs = (u32*)(planes + board * cells * CHANNELS);
    ROLLED for (int i = thread_id(); i < cells * (CHANNELS / 2); i += THREADS) {
        int cell = i / (CHANNELS / 2), at = i % (CHANNELS / 2) * 2;
        u64 stack = stacks[cell];
        int below = ground[cell];
        pairs[i] = pack(channel(stack, below, header, cell, at), channel(stack, below, header, cell, at + 1));
    }
    if (warp_id() == 0) {
        int taken = 0;
        for (int first = 0; first < cells; first += 32) {
            int cell = first + lane_id();
            taken += count_bits(ballot(cell < cells && (stacks[cell] != 0 || ground[cell] != 0)));
        }
        globals[board * GLOBALS + lane_id()] = global(header, taken, cells, lane_id());
    }
}
