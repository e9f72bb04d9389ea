// Questions and answers: the position that waits, as the network reads it (position.cuh), and what the network says of it.
//
// Asked: stacks: [cells] u64, ground: [cells] u8, header: [32] u16. Answered: head: [cells, 96] f32, kinds: [27] f32, value:
// [4] f32, a logit of each seat from the mover on; logits and probabilities of the node's moves and seats are f32.
//
// Work: a warp has the slot. Cells are written a cell a lane, the header a number a lane; logits are found move by move, by
// the whole warp (policy.cuh), and kept by lane 0.
#pragma once

#include "policy.cuh"
#include "position.cuh"
#include "wave/gumbel.cuh"
#include "wave/order.cuh"

namespace wave {

template <class B> DEVICE u16 header_of(const Game<B>& game, int i) {
    int seat = i % SEATS, seats = game.seats;
    if (i >= position::HAND && i < position::SUPPLY) {
        if (seat >= seats) return 0;
        int held = i < position::ELIMINATED ? game.hand[seat] : game.eliminated[seat];
        return (u16)(i < position::TERRITORY ? held : game.territory[seat]);
    }
    switch (i) {
    case position::SEATS:
        return (u16)seats;
    case position::SEAT:
        return (u16)game.seat;
    case position::PHASE:
        return (u16)game.phase;
    case position::MUST:
        return (u16)game.must;
    case position::ATTACK:
        return (u16)game.attack;
    case position::FLAGS: {
        int swap = game.swap_open && game.seat == 1 && game.phase == PLACE;
        return (u16)(swap | game.due << 1 | game.recovery << 2 | game.acted << 3 | game.turn_end << 4);
    }
    case position::ALONE:
        return (u16)(game.lps_alone + 1);
    case position::ROUNDS:
        return (u16)game.lps_rounds;
    case position::SUPPLY:
        return B::SUPPLY;
    case position::ELIMINATION_THRESHOLD:
        return (u16)elimination_threshold<B>(seats);
    case position::TERRITORY_MINIMUM:
        return (u16)territory_minimum<B>(seats);
    case position::LINE_OF_THREE:
        return line_length<B>(seats) == 3;
    default:
        return 0;
    }
}

// Writes the position in the table where the network reads it.
template <class B> DEVICE void ask(const Desk<B>& d) {
    const Game<B>& game = d.table->game;
    for (int cell = lane_id(); cell < B::CELLS; cell += 32) {
        int place = place_alone<B>(cell), ground = 0;
        for (int seat = 0; seat < SEATS; seat++) {
            if (game.markers[seat][row_of(place)] >> column_of(place) & 1) ground = position::MARKED_BY + seat;
            if (game.collapsed[seat][row_of(place)] >> column_of(place) & 1) ground = position::COLLAPSED_TO + seat;
        }
        d.stacks[cell] = game.stacks[cell];
        d.ground[cell] = (u8)ground;
    }
    d.header[lane_id()] = header_of(game, lane_id());
}

// What the network computed of one position.
struct Answer {
    policy::Heads heads;
    const float* value; // a logit of each relative seat
};

DEVICE bool is_finite(float value) { return (bits_of(value) & 0x7f800000u) != 0x7f800000u; }

// The logit of a move; 0 if it overflowed. Lines and regions are looked up in the table, which holds the position.
template <class B> DEVICE float logit_of(Desk<B>& d, const policy::Heads& heads, u32 code) {
    int kind = (int)(code >> 27);
    policy::Action action = {kind, 0, {(int)(code >> 18 & 511), (int)(code >> 9 & 511), (int)(code & 511)}, 0};
    Table<B>& t = *d.table;
    int pair = heads.reads[kind * 6];
    if (pair != policy::NOTHING) {
        Way way = way_between<B>(action.cells[0], action.cells[1]);
        action.ray = (pair * 8 + way.direction) * 24 + way.distance - 1;
    } else if (kind == LINE_EXACT || kind == LINE_ALL || kind == LINE_STRETCH) {
        action.many = gather(line_cells<B>(t.game, decode<B>(code)), t.places);
    } else if (kind == CLAIM) {
        Move move = decode<B>(code);
        action.many = gather(component<B>(open_under<B>(t.game, move.aux), spot(move.from)), t.places);
    }
    float logit = policy::logit_of(heads, action, [&](int m) { return cell_of<B>(t.places[m]); });
    return is_finite(logit) ? logit : 0.0f;
}

// Writes the probability that each seat wins, by seat of the game: the same for all if the network's are no numbers.
DEVICE void judge(Node& node, const float* logits, int seats) {
    float share[SEATS], most = logits[0], sum = 0.0f;
    for (int i = 1; i < seats; i++) most = logits[i] > most ? logits[i] : most;
    for (int i = 0; i < seats; i++) {
        share[i] = expf(logits[i] - most);
        sum += share[i];
    }
    bool sound = true;
    for (int i = 0; i < seats; i++) {
        share[i] /= sum;
        sound &= is_finite(share[i]);
    }
    for (int i = 0; i < seats; i++) node.value[(node.mover + i) % seats] = sound ? share[i] : 1.0f / (float)seats;
}

// Takes the answer to what was asked about a node.
template <class B> DEVICE void take_answer(Desk<B>& d, int id, const Answer& answer) {
    Node& node = d.nodes[id];
    Edge* edges = d.edges + node.first;
    int count = node.count;
    load(*d.table, d.position(id));
    ROLLED
    for (int i = 0; i < count; i++) {
        float logit = logit_of(d, answer.heads, edges[i].code);
        if (lane_id() == 0) edges[i].logit = logit;
    }
    sync_warp();
    normalise(edges, count);
    if (lane_id() == 0) {
        node.known = ESTIMATE;
        judge(node, answer.value, d.table->game.seats);
    }
    sync_warp();
}

} // namespace wave
