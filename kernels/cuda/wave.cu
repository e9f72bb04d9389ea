// Self-play with the search on the device: every game goes on until it needs the network again.
//
// Between two launches the network evaluates what the slots asked: stacks, ground and headers go through
// expand_positions and the layers to head, kinds and value, which the next launch reads. So search, rules and network
// take turns without the host; records of finished games wait until wave_collect has taken them (wave/record.cuh). A
// slot's game follows from its seed and the network alone, in emulation choice by choice what the host's self-play
// (learner/selfplay.rs with search/) makes of the same seed. A card fuses products with sums and rounds expf, logf and
// powf in its own way, so of moves that are nearly as good it may take another one than the host.
//
// settings: one Settings; slots ... headers: wave/slot.cuh, which says how long each is; count: how many slots there are.
// head: [slots * cells, 96] f32, kinds: [slots, 27] f32, value: [slots, 4] f32, relative to the mover, of the positions asked
// about; pairs: [7, 32] f32, rays: [7 * 8 * 24] f32, reads: [27, 6] u8 as in policy.cu.
//
// Trusted: rooms are those of the arrays and seats those of the board, simulations, considered, sampled_spread and opening_max
// are at least 1, quick is no more than full, nodes_room is above full; slots were zeros before the first launch, and ready
// likewise.
//
// wave_collect: records: [count, 8 + moves_room + policy_room] u32 (wave/record.cuh) and ready: [count] u32, two of each a slot.
// Copies records that are ready to the outbox, [room] u32, as far as they fit, without what is unused of them, one behind the
// other from its second word on; the first becomes the number of words. Those copied may be written anew.
//
// Work: a block is one warp, so that a multiprocessor takes as many as it has registers for, with one Table<B> of shared
// memory. It has the slots b, b + blocks, ...; `blocks` is the size of the grid. Its lanes are the rows of the board, the
// moves of a node, the words of a position, whatever is at hand. wave_collect is one warp, whose lanes look at 32 records at a
// time and copy them word by word, a lane each.
#include "wave/game.cuh"

namespace wave {

constexpr int KIND_COUNT = FORCED_ELIMINATION + 1;

static_assert(sizeof(Settings) == 80 && sizeof(Slot) == 80 && sizeof(Node) == 44 && sizeof(Edge) == 32 &&
                  sizeof(Record) == 4 * RECORD_HEADER,
              "the host allocates them");

template <class B>
DEVICE void wave(const Settings* settings, const Memory& memory, const policy::Heads& heads, const float* value, int slots,
                 int blocks) {
    ROLLED
    for (int i = block_x(); i < slots; i += blocks) {
        Desk<B> d = sit_down<B>(settings, memory, i);
        Answer answer = {heads, value + i * SEATS};
        answer.heads.head += (size_t)i * B::CELLS * policy::STRIDE;
        answer.heads.kinds += i * KIND_COUNT;
        go_on(d, i, answer);
        sync_warp();
        if (lane_id() == 0) memory.slots[i] = d.s;
    }
}

DEVICE void collect(const u32* records, u32* ready, u32* outbox, int count, int moves_room, int policy_room, int room) {
    size_t size = RECORD_HEADER + moves_room + policy_room;
    int used = 1;
    for (int base = 0; base < count; base += 32) {
        int i = base + lane_id();
        for (u32 rest = ballot(i < count && ready[i] != 0); rest != 0; rest &= rest - 1) {
            int which = base + lowest_bit(rest);
            const u32* record = records + size * which;
            int moves = (int)reinterpret_cast<const Record*>(record)->moves;
            int policy = (int)reinterpret_cast<const Record*>(record)->policy;
            int words = RECORD_HEADER + moves + policy, unused = moves_room - moves;
            if (words > room - used) continue;
            for (int k = lane_id(); k < words; k += 32)
                outbox[used + k] = record[k < RECORD_HEADER + moves ? k : k + unused];
            used += words;
            if (lane_id() == 0) ready[which] = 0;
        }
    }
    if (lane_id() == 0) outbox[0] = (u32)used;
}

} // namespace wave

#define WAVE_KERNEL(name, board)                                                                                        \
    KERNEL(32) wave_##name(const wave::Settings* settings, wave::Slot* slots, u32* positions, wave::Node* nodes,        \
                           wave::Step* paths, wave::Edge* edges, u32* records, u32* ready, u64* stacks, u8* ground,     \
                           u16* headers, const float* head, const float* kinds, const float* value, const float* pairs, \
                           const float* rays, const u8* reads, int count, int blocks) {                                 \
        wave::Memory memory = {slots, positions, nodes, paths, edges, records, ready, stacks, ground, headers};         \
        wave::wave<rules::board>(settings, memory, {head, kinds, pairs, rays, reads}, value, count, blocks);            \
    }

WAVE_KERNEL(square8, Square8)
WAVE_KERNEL(square19, Square19)
WAVE_KERNEL(hex8, Hex8)
WAVE_KERNEL(hexagonal, Hexagonal)
#undef WAVE_KERNEL

KERNEL(32) wave_collect(const u32* records, u32* ready, u32* outbox, int count, int moves_room, int policy_room, int room) {
    wave::collect(records, ready, outbox, count, moves_room, policy_room, room);
}
