// The search tree of a slot.
//
// A node is a position with a real choice, or one whose result is known; single legal moves on the way are already
// played. Values belong to the people behind the seats of that node: on the way up through the pie rule the
// components of the two seats change places.
//
// All works on a Desk<B> (wave/slot.cuh): nodes, edges and positions of the slot, the path of the simulation, and the position
// in the table.
//
// Work: a warp has the slot. Positions are copied a word a lane and edges an edge a lane; what is added to nodes on the way up
// is added by lane 0.
#pragma once

#include "wave/order.cuh"

namespace wave {

// Whether one step can win, so that trying every move is worth its time (search/tree.rs).
template <class B> DEVICE bool may_win(const Game<B>& game) {
    constexpr int RINGS = 2; // a strike eliminates two rings, any other step here at most one
    if (game.phase == PLACE || game.phase == OVER) return false;
    if (game.phase == rules::TERRITORY || game.phase == FORCED) return true;
    int me = game.seat, foreign = 0;
    for (int seat = 0; seat < game.seats; seat++)
        if (seat != me) foreign += game.hand[seat] + game.on_board[seat];
    int markers = warp_sum(count_bits(own<B>(game.markers[me])));
    int stacks = warp_sum(count_bits(own_any<B>(game.controlled)));
    return game.eliminated[me] + RINGS >= elimination_threshold<B>(game.seats) ||
           game.territory[me] + markers >= territory_minimum<B>(game.seats) || foreign <= RINGS || stacks <= RINGS;
}

// Tries every move of the position, which is also in memory: each edge's score becomes 1 or 0, the number of winning
// moves is returned, and the position is as before. Where only one matters, stops there.
template <class B> CALLED int count_wins(Table<B>& t, const u32* position, Edge* edges, int count, bool all) {
    if (!may_win<B>(t.game)) return 0;
    int me = t.game.seat, wins = 0;
    ROLLED
    for (int i = 0; i < count && (all || wins == 0); i++) {
        apply(t, edges[i].code);
        bool won = t.game.phase == OVER && t.game.winner == me;
        wins += won;
        if (lane_id() == 0) edges[i].score = won;
        load(t, position);
    }
    return wins;
}

// Adds a node with the `count` moves that were listed behind the last edge. The position was stored before.
template <class B> DEVICE int add_node(Desk<B>& d, int known, int winner, int count, int parent) {
    Node node = {known, d.table->game.seat, d.s.edges, count, 0, parent, -1, {0.0f, 0.0f, 0.0f, 0.0f}};
    for (int seat = 0; seat < SEATS; seat++) node.value[seat] = known == EXACTLY && seat == winner;
    int id = d.s.nodes++;
    if (lane_id() == 0) d.nodes[id] = node;
    for (int i = lane_id(); i < count; i += 32) {
        Edge& edge = d.edges[d.s.edges + i];
        edge = {edge.code, 0.0f, 0, 0.0f, -1, 0.0f, 0.0f, 0};
    }
    sync_warp();
    d.s.edges += count;
    return id;
}

// Adds the node behind an edge and leaves its position in the table; -1 for want of memory or of a legal move.
template <class B> DEVICE int add_child(Desk<B>& d, int parent, int edge) {
    Table<B>& t = *d.table;
    Edge* listed = d.edges + d.s.edges;
    int room = d.set.edges_room - d.s.edges, count = 0;
    if (d.s.nodes >= d.set.nodes_room) return -1;
    load(t, d.position(parent));
    u32 code = d.edges_of(parent)[edge].code;
    for (;;) {
        apply(t, code);
        if (t.game.phase == OVER) break;
        count = list_in_order(t, listed, room);
        if (count == 0 || count > room) return -1;
        if (count > 1) break;
        code = listed[0].code;
        sync_warp();
    }
    u32* position = d.position(d.s.nodes);
    store(t, position);
    sync_warp();
    int known = NOTHING, winner = t.game.phase == OVER ? t.game.winner : t.game.seat;
    if (t.game.phase == OVER || count_wins(t, position, listed, count, false) > 0) known = EXACTLY, count = 0;
    int child = add_node(d, known, winner, count, parent);
    if (lane_id() == 0) d.edges_of(parent)[edge].child = child;
    sync_warp();
    return child;
}

// Adds a visit to every node and edge of the path, whose last edge leads to `leaf`.
template <class B> DEVICE void back_up(Desk<B>& d, int leaf) {
    sync_warp();
    if (lane_id() == 0) {
        float value[SEATS];
        for (int seat = 0; seat < SEATS; seat++) value[seat] = d.nodes[leaf].value[seat];
        d.nodes[leaf].visits++;
        for (int i = d.s.depth - 1; i >= 0; i--) {
            Step step = d.path[i];
            Edge& edge = d.edges_of(step.node)[step.edge];
            if (edge.code >> 27 == SWAP) {
                float first = value[0];
                value[0] = value[1];
                value[1] = first;
            }
            Node& node = d.nodes[step.node];
            node.visits++;
            edge.visits++;
            edge.sum += value[node.mover];
        }
    }
    sync_warp();
}

// Keeps the part of the tree below a node, as the root: positions and evaluations stay, visits do not. What is kept
// moves towards the front in its order, so nothing is overwritten before it has moved. The root had a number above 0.
template <class B> DEVICE void cut_down(Desk<B>& d, int root) {
    int nodes = 0, edges = 0;
    sync_warp();
    for (int i = root; i < d.s.nodes; i++) {
        int old = d.nodes[i].parent, parent = i > root && old >= root ? d.nodes[old].moved : -1;
        bool stays = i == root || parent >= 0;
        sync_warp();
        if (lane_id() == 0) {
            d.nodes[i].moved = stays ? nodes : -1;
            d.nodes[i].parent = parent;
        }
        nodes += stays;
        sync_warp();
    }
    for (int i = root; i < d.s.nodes; i++) {
        Node node = d.nodes[i];
        if (node.moved < 0) continue;
        const Edge* from = d.edges + node.first;
        // Chunk by chunk: all lanes have read theirs before any writes.
        for (int base = 0; base < node.count; base += 32) {
            int k = base + lane_id();
            Edge edge = {};
            if (k < node.count) {
                edge = from[k];
                if (edge.child >= 0) edge.child = d.nodes[edge.child].moved;
                edge.visits = 0;
                edge.sum = 0.0f;
            }
            sync_warp();
            if (k < node.count) d.edges[edges + k] = edge;
            sync_warp();
        }
        const u32* words = d.position(i);
        u32* to = d.position(node.moved);
        for (int k = lane_id(); k < game_words<B>(); k += 32) to[k] = words[k];
        node.first = edges;
        node.visits = 0;
        if (lane_id() == 0) d.nodes[node.moved] = node;
        sync_warp();
        edges += node.count;
    }
    d.s.nodes = nodes;
    d.s.edges = edges;
}

} // namespace wave
