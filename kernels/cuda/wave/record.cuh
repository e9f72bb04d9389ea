// Records: what a finished game leaves for the host.
//
// A slot writes one of its two records while the other waits until wave_collect has taken it, between two launches of the
// search; what wave_collect has copied is what the host reads. A record is u32 words: a Record as header, moves_room words for
// the codes of all steps, policy_room words for the searched steps, of each: its number, how many moves have a weight, and
// these as index | weight << 16.
//
// Work: a warp has the slot. Weights are packed a move a lane, each behind those of the lanes below; lane 0 writes the rest.
#pragma once

#include "wave/slot.cuh"

namespace wave {

// Plays a step of the game; false if its record is full.
template <class B> DEVICE bool play(Desk<B>& d, u32 code) {
    if (d.s.moves >= d.set.moves_room) return false;
    if (lane_id() == 0) d.record_moves()[d.s.moves] = code;
    d.s.moves++;
    apply(*d.table, code);
    return true;
}

// Notes that the next step was searched for, with the scores of the moves as its policy where the search was a full
// one; false if the record is full.
template <class B> DEVICE bool note_decision(Desk<B>& d, const Edge* edges, int count) {
    int at = d.s.policy + 2, room = d.set.policy_room, weights = 0;
    u32* words = d.record_policy();
    for (int base = 0; d.s.full && base < count; base += 32) {
        int i = base + lane_id();
        u32 weight = i < count ? (u32)(edges[i].score * 65535.0f) : 0;
        u32 heavy = ballot(weight > 0), before = heavy & ((1u << lane_id()) - 1);
        int to = at + weights + count_bits(before);
        if (weight > 0 && to < room) words[to] = (u32)i | weight << 16;
        weights += count_bits(heavy);
    }
    if (at + weights > room) return false;
    if (lane_id() == 0) {
        words[at - 2] = (u32)d.s.moves;
        words[at - 1] = (u32)weights;
    }
    d.s.policy = at + weights;
    return true;
}

// Hands the record of a finished game over, and turns to the other one.
template <class B> DEVICE void hand_over(Desk<B>& d) {
    const Slot& s = d.s;
    Record header = {(u32)s.seed, (u32)(s.seed >> 32), (u32)s.moves, (u32)s.policy, (u32)d.table->game.winner, {0, 0, 0}};
    if (lane_id() == 0) {
        *reinterpret_cast<Record*>(d.record(s.record)) = header;
        d.ready[s.record] = 1;
    }
    sync_warp();
    d.s.record ^= 1;
}

} // namespace wave
