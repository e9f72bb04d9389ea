// The mathematics of Gumbel AlphaZero, as the host computes it (search/gumbel.rs): in emulation number by number, on a card
// but for the rounding of fused products, expf and logf.
//
// edges: [count] Edge, the moves of one node (wave/slot.cuh); logits, scores and values are f32.
//
// Work: a warp has the node. What is computed for each move is computed a move a lane; sums are in the order of the moves,
// the same in every lane.
#pragma once

#include "wave/slot.cuh"

namespace wave {

DEVICE float minus_infinity() { return float_of(0xff800000u); }

constexpr float LEAST_PRIOR = 1.17549435e-38f; // the smallest normal number

// The i-th entry of sequential halving's schedule: how often the move that is visited has been visited before.
DEVICE int scheduled(int considered, int simulations, int i) {
    if (considered <= 1) return i;
    int phases = 0;
    while (1 << phases < considered) phases++;
    for (int remaining = considered, visits = 0;; remaining = remaining / 2 > 2 ? remaining / 2 : 2) {
        int extra = simulations / (phases * remaining);
        for (int k = 0; k < (extra > 1 ? extra : 1); k++, visits++) {
            if (i < remaining) return visits;
            i -= remaining;
        }
    }
}

DEVICE float largest_score(const Edge* edges, int count) {
    float most = minus_infinity();
    for (int i = lane_id(); i < count; i += 32) most = edges[i].score > most ? edges[i].score : most;
    return warp_max(most);
}

// Replaces scores by exp(score - most) and returns their sum.
DEVICE float exponentials(Edge* edges, int count, float most) {
    for (int i = lane_id(); i < count; i += 32) edges[i].score = expf(edges[i].score - most);
    sync_warp();
    float sum = 0.0f;
    for (int i = 0; i < count; i++) sum += edges[i].score;
    return sum;
}

// Scores to probabilities.
CALLED void softmax(Edge* edges, int count) {
    float sum = exponentials(edges, count, largest_score(edges, count));
    sync_warp();
    for (int i = lane_id(); i < count; i += 32) edges[i].score /= sum;
    sync_warp();
}

// Logits to logarithms of a distribution.
DEVICE void normalise(Edge* edges, int count) {
    for (int i = lane_id(); i < count; i += 32) edges[i].score = edges[i].logit;
    sync_warp();
    float most = largest_score(edges, count), total = most + logf(exponentials(edges, count, most));
    for (int i = lane_id(); i < count; i += 32) edges[i].logit -= total;
    sync_warp();
}

// Scores: logit + sigma(completed Q). A move without visits is given the mixed value of the paper's equation 33.
CALLED void improve(Edge* edges, int count, float value, float visit_offset, float value_scale) {
    int visits = 0, visits_max = 0;
    float weight = 0.0f, weighted = 0.0f;
    for (int base = 0; base < count; base += 32) {
        int mine = base + lane_id();
        for (u32 tried = ballot(mine < count && edges[mine].visits > 0); tried != 0; tried &= tried - 1) {
            const Edge& edge = edges[base + lowest_bit(tried)];
            float prior = expf(edge.logit);
            prior = prior > LEAST_PRIOR ? prior : LEAST_PRIOR;
            visits += edge.visits;
            visits_max = edge.visits > visits_max ? edge.visits : visits_max;
            weight += prior;
            weighted += prior * (edge.sum / (float)edge.visits);
        }
    }
    float mixed = visits > 0 ? (value + (float)visits * (weighted / weight)) / (float)(1 + visits) : value;
    float scale = (visit_offset + (float)visits_max) * value_scale;
    for (int i = lane_id(); i < count; i += 32) {
        const Edge& edge = edges[i];
        float completed = edge.visits > 0 ? edge.sum / (float)edge.visits : mixed;
        edges[i].score = edge.logit + scale * completed;
    }
    sync_warp();
}

// An edge and how good it is; the better one, or the first of equals.
struct Best {
    float value;
    int edge;

    DEVICE void offer(float other, int at) {
        if (other > value || (other == value && at < edge)) {
            value = other;
            edge = at;
        }
    }
};

constexpr int NO_EDGE = 1 << 30;

// The best of all lanes; the first move if no lane has been offered a number.
DEVICE int best_of(Best best) {
    for (int mask = 16; mask > 0; mask /= 2) best.offer(shuffle_xor(best.value, mask), shuffle_xor(best.edge, mask));
    return best.edge == NO_EDGE ? 0 : best.edge;
}

// Of the root moves with so many visits, the one with the highest noise + score; the first move if there is none.
DEVICE int best_with(const Edge* edges, int count, int visits) {
    Best best = {minus_infinity(), NO_EDGE};
    for (int i = lane_id(); i < count; i += 32)
        if (edges[i].visits == visits) best.offer(edges[i].score + edges[i].noise, i);
    return best_of(best);
}

// The move below the root whose share of the visits is furthest behind its probability (equation 14).
DEVICE int furthest_behind(const Edge* edges, int count) {
    int total = 0;
    for (int i = lane_id(); i < count; i += 32) total += edges[i].visits;
    float per_visit = 1.0f / (float)(1 + warp_sum(total));
    Best best = {minus_infinity(), NO_EDGE};
    for (int i = lane_id(); i < count; i += 32) best.offer(edges[i].score - (float)edges[i].visits * per_visit, i);
    return best_of(best);
}

} // namespace wave
