// One search of a slot, which goes on until the network is needed: search/work.rs, decision by decision as
// far as the numbers are the same (wave/gumbel.cuh).
//
// All works on a Desk<B>: nodes, the edges of each, and the path from the root (wave/slot.cuh).
//
// Work: a warp has the slot, and every lane walks the same path. Noise and scores are a move a lane; what is drawn is drawn by
// all lanes alike.
#pragma once

#include "wave/choices.cuh"
#include "wave/gumbel.cuh"
#include "wave/tree.cuh"

namespace wave {

// Improved logits of a node's moves as their scores.
template <class B> DEVICE void score(Desk<B>& d, int id) {
    const Node& node = d.nodes[id];
    improve(d.edges + node.first, node.count, node.value[node.mover], d.set.visit_offset, d.set.value_scale);
}

// The first simulation goes to the pie rule where it is on offer.
template <class B> DEVICE int choose_root(Desk<B>& d) {
    int visits = scheduled(d.s.considered, d.s.simulations, d.s.done);
    if (visits == 0 && d.edges[0].code >> 27 == SWAP && d.edges[0].visits == 0) return 0;
    score(d, 0);
    return best_with(d.edges, d.nodes[0].count, visits);
}

template <class B> DEVICE int choose_interior(Desk<B>& d, int id) {
    score(d, id);
    Edge* edges = d.edges_of(id);
    softmax(edges, d.nodes[id].count);
    return furthest_behind(edges, d.nodes[id].count);
}

// Walks down to a node that has not been visited, or whose result is known; -1 if it cannot be added. The table holds
// its position if it is new.
template <class B> DEVICE int descend(Desk<B>& d) {
    d.s.depth = 0;
    for (int node = 0;;) {
        int edge = node == 0 ? choose_root(d) : choose_interior(d, node);
        sync_warp();
        if (lane_id() == 0) d.path[d.s.depth] = {node, edge};
        d.s.depth++;
        int child = d.edges_of(node)[edge].child;
        if (child < 0) return add_child(d, node, edge);
        if (d.nodes[child].known != ESTIMATE || d.nodes[child].visits == 0) return child;
        node = child;
    }
}

enum Found { ENOUGH, QUESTION, NO_ROOM };

// Simulates until an evaluation is needed or all simulations are done.
template <class B> DEVICE Found simulate(Desk<B>& d) {
    for (; d.s.done < d.s.simulations; d.s.done++) {
        int leaf = descend(d);
        if (leaf < 0) return NO_ROOM;
        if (d.nodes[leaf].known == NOTHING) {
            d.s.waiting = leaf;
            return QUESTION;
        }
        back_up(d, leaf);
    }
    return ENOUGH;
}

// Begins a search of the root, which is there.
template <class B> DEVICE void begin_search(Desk<B>& d) {
    int count = d.nodes[0].count;
    for (int i = lane_id(); i < count; i += 32)
        d.edges[i].noise = d.set.exploration * gumbel(mixed(d.s.choices + (u64)(i + 1) * STRIDE));
    d.s.choices += (u64)count * STRIDE;
    int considered = d.set.considered < count ? d.set.considered : count;
    d.s.considered = considered < d.s.simulations ? considered : d.s.simulations;
    d.s.done = d.s.depth = 0;
    sync_warp();
}

// An index drawn in proportion to the scores, which are probabilities, at the temperature of the exploration.
template <class B> DEVICE int draw(Desk<B>& d, Edge* edges, int count) {
    float power = 1.0f / d.set.exploration, sum = 0.0f;
    if (d.set.exploration != 1.0f) {
        sync_warp();
        for (int i = lane_id(); i < count; i += 32) edges[i].score = powf(edges[i].score, power);
        sync_warp();
    }
    for (int i = 0; i < count; i++) sum += edges[i].score;
    float left = unit(d.s.choices) * sum;
    int last = 0;
    for (int i = 0; i < count; i++) {
        if (!(edges[i].score > 0.0f)) continue;
        last = i;
        left -= edges[i].score;
        if (left < 0.0f) break;
    }
    return last;
}

} // namespace wave
