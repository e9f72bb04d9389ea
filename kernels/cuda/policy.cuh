// The logit of one legal move, from what the heads computed of its position; policy.cu says what it is made of.
//
// Of one position: head: [cells, 96] f32, kinds: [kind_count] f32. pairs: [7, 32] f32, rays: [7 * 8 * 24] f32, reads:
// [kind_count, 6] u8.
//
// Work: a warp has the move, all its lanes call together and get the logit. Lane i has the i-th number of queries and keys and
// the further cells i, i + 32, ...; lanes 0 to 2 have the three planes, 3 the ray and 4 the kind.
#pragma once

#include "prims.cuh"

namespace policy {

constexpr int KEY = 32, PLANES = 64, STRIDE = 96, SEATS_MAX = 4, NOTHING = 255;
constexpr int PAIRS = 7, RAYS = PAIRS * 8 * 24, PARTIAL = PAIRS * KEY + RAYS;
// One over the square root of KEY, and what the sum over a region is multiplied by.
constexpr float PAIR_SCALE = 0.17677669f, SUM_SCALE = 1.0f / 32.0f;

// What a move is to the policy: its cells, its entry of the table of rays, and how many further cells it has.
struct Action {
    int kind, ray, cells[3], many;
};

// Arrays of the network; head and kinds are those of the position.
struct Heads {
    const float* head;
    const float* kinds;
    const float* pairs;
    const float* rays;
    const u8* reads;
};

DEVICE float factor_of(bool mean, int many) { return mean ? 1.0f / (float)(many > 1 ? many : 1) : SUM_SCALE; }

// `further(m)` is the m-th further cell. Each lane adds its part: a product, a plane, some of the further cells.
template <class Further> DEVICE float logit_of(const Heads& heads, const Action& action, Further further) {
    int lane = lane_id();
    const u8* read = heads.reads + action.kind * 6;
    const float* head = heads.head;
    float part = 0.0f;
    if (read[0] != NOTHING) {
        float q = head[action.cells[0] * STRIDE + lane], k = head[action.cells[1] * STRIDE + KEY + lane];
        part = q * k * heads.pairs[read[0] * KEY + lane] * PAIR_SCALE;
        if (lane == 3) part += heads.rays[action.ray];
    }
    if (lane == 4) part += heads.kinds[action.kind];
    for (int j = 0; j < 3; j++)
        if (lane == j && read[1 + j] != NOTHING) part += head[action.cells[j] * STRIDE + PLANES + read[1 + j]];
    for (int j = 0; j < 2; j++)
        if (read[4 + j] != NOTHING) {
            float factor = factor_of(j == 0, action.many);
            for (int m = lane; m < action.many; m += 32) part += head[further(m) * STRIDE + PLANES + read[4 + j]] * factor;
        }
    return warp_sum(part);
}

} // namespace policy
