// What a game of self-play is in global memory: its slot, its search tree, its record.
//
// Everything a game needs belongs to its slot; slots share nothing but the settings. Settings and Slot are 20 words, Node 11,
// Edge 8, Step 2; how many of them there are is said at Memory.
//
// Work: a warp has the slot. A slot is copied to registers, the same in all lanes, and put back at the end. What lies in
// memory is written by one lane, or an element a lane, and read by all after sync_warp().
#pragma once

#include "rules.cuh"
#include "rules/random.cuh"

namespace wave {

using namespace rules;

// The same words as on the host (kernels/src/device/games/wave.rs).
struct Settings {
    u32 seed_low, seed_high; // of the seeds of games
    int begins;              // whether new games begin
    int seats, swap;
    int full, quick;  // simulations of a search that trains the policy, and of one that does not
    float full_share; // how many are of the first kind
    int sampled, sampled_spread; // so many first decisions are drawn, or up to one less than the spread more
    float opening_share;         // how many games open with random moves,
    int opening_max;             // and with how many at most
    float exploration;           // factor of the noise, and temperature of what is drawn
    int considered;              // root moves that sequential halving starts with, at most
    float visit_offset, value_scale;
    int nodes_room, edges_room, moves_room, policy_room; // of a slot, a slot, a record, a record
};

// What comes next: a new game, the next move of the game in the table, more of the search, an evaluation.
enum Mode { TO_BEGIN, TO_MOVE, TO_SEARCH, TO_EVALUATE };

// Words that the host reads: `games`, `dropped`.
struct Slot {
    u64 seed;    // of the game
    u64 choices; // state of its generator
    u32 games;   // begun in this slot
    u32 dropped; // of them, for want of memory
    int mode;
    int record;  // which of the two is being written
    int moves, policy; // its words so far
    int opening; // random moves still to be played
    int sampled; // decisions still to be drawn
    int full;
    int simulations, considered, done;
    int waiting; // the node that waits for its evaluation
    int depth;   // edges of the path to it
    int nodes, edges;
};

enum Known { NOTHING, ESTIMATE, EXACTLY };

// A position with a choice, or one whose result is known. Its own position lies beside, in Game<B> words.
struct Node {
    int known, mover;
    int first, count; // edges
    int visits;
    int parent; // in the tree: parents come before their children
    int moved;  // its number after the tree is cut down, or -1
    float value[SEATS]; // as evaluated, or as it is
};

struct Edge {
    u32 code;
    float logit; // logarithm of the prior
    int visits;
    float sum;   // of the mover's values
    int child;   // -1: none yet
    float noise; // at the root
    float score; // scratch
    u32 rank;    // scratch
};

// The header of a finished game's record; see record.cuh.
constexpr int RECORD_HEADER = 8;
struct Record {
    u32 seed_low, seed_high, moves, policy, winner, unused[3];
};

// A step of a path.
struct Step {
    int node, edge;
};

// Where the parts of a slot are. `queries`: what the network reads.
struct Memory {
    Slot* slots;
    u32* positions; // [slots, nodes_room] of Game<B>
    Node* nodes;    // [slots, nodes_room]
    Step* paths;    // [slots, nodes_room]
    Edge* edges;    // [slots, edges_room]
    u32* records;   // [slots, 2, RECORD_HEADER + moves_room + policy_room]
    u32* ready;     // [slots, 2] 1 until wave_collect has taken the record
    u64* stacks;    // [slots, cells]
    u8* ground;     // [slots, cells]
    u16* headers;   // [slots, 32]
};

// One slot while a warp works on it.
template <class B> struct Desk {
    const Settings& set;
    Slot s;
    Table<B>* table;
    u32* positions;
    Node* nodes;
    Step* path;
    Edge* edges;
    u32* records;
    u32* ready;
    u64* stacks;
    u8* ground;
    u16* header;
    int reusable; // the node that the last move has led to, if its evaluation is known, else -1

    DEVICE u32* position(int node) const { return positions + (size_t)node * game_words<B>(); }
    DEVICE Edge* edges_of(int node) const { return edges + nodes[node].first; }
    DEVICE u32* record(int which) const {
        return records + (size_t)which * (RECORD_HEADER + set.moves_room + set.policy_room);
    }
    DEVICE u32* record_moves() const { return record(s.record) + RECORD_HEADER; }
    DEVICE u32* record_policy() const { return record_moves() + set.moves_room; }
};

template <class B> DEVICE Desk<B> sit_down(const Settings* settings, const Memory& memory, int i) {
    const Settings& set = *settings;
    size_t slot = (size_t)i, nodes = slot * set.nodes_room;
    return {set,
            memory.slots[i],
            &own_table<B>(),
            memory.positions + nodes * game_words<B>(),
            memory.nodes + nodes,
            memory.paths + nodes,
            memory.edges + slot * set.edges_room,
            memory.records + slot * 2 * (RECORD_HEADER + set.moves_room + set.policy_room),
            memory.ready + slot * 2,
            memory.stacks + slot * B::CELLS,
            memory.ground + slot * B::CELLS,
            memory.headers + slot * 32,
            -1};
}

} // namespace wave
