// A logit for each legal move of each position, the losses, and the derivative of the losses by what the heads computed.
//
// Positions: ends: [boards] u32, where each position's moves end among those of all, of which there are `moves`. actions:
// [moves, 4] u32: kind | ray << 16, cell | cell << 16, cell | number of further cells << 16, where those begin in many.
// many: u16 cells, as many as there are further cells of all moves. reads: [kind_count, 6] u8, what a kind of move reads:
// pair, three planes, a plane of which the mean and one of which the sum is taken; 255 where nothing is.
// Heads: head: [boards * cells, 96] f32: query 32, key 32, planes 20, nothing 12. kinds: [boards, kind_count] f32.
// Weights: pairs: [7, 32] f32; rays: [7 * 8 * 24] f32, by pair, direction and distance.
// Targets: target_ends: [boards] u32, where each position's targets end among those of all; target_index: u32, a move counted
// from the position's first, and target_weight: f32, as many as the last end says; a position's weights sum to one, and a
// position without any has no target. seats, winners: [boards] u8, seats at the table and which of them, from the mover on,
// has won.
//
// policy_logits: logits: [moves] f32. policy_losses turns them into their derivative, and values: [boards, 4] f32, logits of
// the seats, into theirs; losses: [boards, 2] f32, policy and value; per_policy and per_value: f32, what the derivatives, but
// not the losses, are multiplied by. policy_back: dlogits: [moves] f32, what policy_losses left; sums: [boards * cells, 96]
// f32, scratch that ends as the derivative by head; dhead: the same rounded to bf16; dkinds: [boards, kind_count] f32;
// partial: [blocks, 7 * 32 + 7 * 8 * 24] f32, the derivatives by pairs and rays, to be summed over the blocks.
//
// Trusted: kinds, rays and cells are within their arrays wherever a kind of move reads them, ends rise up to the number of
// moves, targets name moves of their position, winners are seats of theirs.
//
// Work: a block of policy_logits and policy_losses has four warps, and a warp one position. policy_logits goes through its
// moves one by one; lane i has the i-th number of queries and keys. policy_losses has a move a lane; lane 0 does the values.
// policy_back has one warp a block, which takes `share` positions in a row, move by move, and keeps the sums over them in
// shared memory: pairs, rays, and the kinds of one position; each number is added to by one lane alone.
#include "policy.cuh"

namespace policy {

// What is stored of a move, with where its further cells begin.
struct Stored {
    Action action;
    int many_start;
};

DEVICE Stored stored_at(const u32* actions, int i) {
    const u32* words = actions + (size_t)i * 4;
    u32 a = words[0], b = words[1], c = words[2];
    return {{(int)(a & 0xffff), (int)(a >> 16), {(int)(b & 0xffff), (int)(b >> 16), (int)(c & 0xffff)}, (int)(c >> 16)},
            (int)words[3]};
}

} // namespace policy

KERNEL(128)
policy_logits(const float* head, const float* kinds, const float* pairs, const float* rays, const u8* reads,
              const u32* actions, const u16* many, const u32* ends, float* logits, int boards, int cells, int kind_count) {
    using namespace policy;
    int board = block_x() * 4 + warp_id(), lane = lane_id();
    if (board >= boards) return;
    Heads heads = {head + (size_t)board * cells * STRIDE, kinds + board * kind_count, pairs, rays, reads};
    int end = (int)ends[board];
    for (int i = board == 0 ? 0 : (int)ends[board - 1]; i < end; i++) {
        Stored stored = stored_at(actions, i);
        float logit = logit_of(heads, stored.action, [&](int m) { return (int)many[stored.many_start + m]; });
        if (lane == 0) logits[i] = logit;
    }
}

// logits become the derivative of the loss: softmax minus target, times per_policy; zeros without a target. targets:
// indices and weights that sum to one. values: [boards, 4] f32 logits of the seats become their derivative in the same way.
// losses: [boards, 2] f32, policy and value, not multiplied.
KERNEL(128)
policy_losses(float* logits, const u32* ends, const u32* target_index, const float* target_weight, const u32* target_ends,
              float* values, const u8* seats, const u8* winners, float* losses, int boards, float per_policy,
              float per_value) {
    using namespace policy;
    int board = block_x() * 4 + warp_id(), lane = lane_id();
    if (board >= boards) return;
    int start = board == 0 ? 0 : (int)ends[board - 1], end = (int)ends[board];
    int target = board == 0 ? 0 : (int)target_ends[board - 1], target_end = (int)target_ends[board];
    float loss = 0.0f;
    if (target == target_end) {
        for (int i = start + lane; i < end; i += 32) logits[i] = 0.0f;
    } else {
        float most = logits[start], sum = 0.0f, picked = 0.0f;
        for (int i = start + lane; i < end; i += 32) most = logits[i] > most ? logits[i] : most;
        most = warp_max(most);
        for (int i = start + lane; i < end; i += 32) sum += expf(logits[i] - most);
        sum = warp_sum(sum);
        for (int i = target + lane; i < target_end; i += 32) picked += target_weight[i] * logits[start + target_index[i]];
        picked = warp_sum(picked);
        loss = most + logf(sum) - picked;
        sync_warp(); // everyone has read the logits
        for (int i = start + lane; i < end; i += 32) logits[i] = expf(logits[i] - most) / sum * per_policy;
        sync_warp(); // everyone's derivatives are there
        if (lane == 0)
            for (int i = target; i < target_end; i++) logits[start + target_index[i]] -= target_weight[i] * per_policy;
    }
    if (lane == 0) {
        float* value = values + board * SEATS_MAX;
        float most = value[0], sum = 0.0f;
        for (int i = 1; i < seats[board]; i++) most = value[i] > most ? value[i] : most;
        for (int i = 0; i < seats[board]; i++) sum += expf(value[i] - most);
        losses[board * 2] = loss;
        losses[board * 2 + 1] = most + logf(sum) - value[winners[board]];
        for (int i = 0; i < SEATS_MAX; i++)
            value[i] = i < seats[board] ? (expf(value[i] - most) / sum - (i == winners[board] ? 1.0f : 0.0f)) * per_value : 0.0f;
    }
}

// dlogits: what policy_losses left. sums: scratch, [boards * cells, 96] f32; dhead: the same rounded to bf16.
KERNEL(32)
policy_back(const float* head, const float* pairs, const u8* reads, const u32* actions, const u16* many, const u32* ends,
            const float* dlogits, float* sums, bf16* dhead, float* dkinds, float* partial, int boards, int cells,
            int kind_count, int share) {
    using namespace policy;
    float* dpairs = (float*)shared_memory();
    float* drays = dpairs + PAIRS * KEY;
    float* dkind = drays + RAYS; // of one position
    int lane = lane_id(), first = block_x() * share;
    for (int i = lane; i < PARTIAL; i += 32) dpairs[i] = 0.0f;
    for (int board = first; board < first + share && board < boards; board++) {
        const float* of_board = head + (size_t)board * cells * STRIDE;
        float* sum = sums + (size_t)board * cells * STRIDE;
        for (int i = lane; i < cells * STRIDE; i += 32) sum[i] = 0.0f;
        for (int i = lane; i < kind_count; i += 32) dkind[i] = 0.0f;
        sync_warp();
        int end = (int)ends[board];
        for (int i = board == 0 ? 0 : (int)ends[board - 1]; i < end; i++) {
            // No number is added to by two lanes: queries, keys and pairs by the lane of their index, the rest so too.
            Stored stored = stored_at(actions, i);
            const Action& action = stored.action;
            const u8* read = reads + action.kind * 6;
            float d = dlogits[i];
            if (lane == action.kind % 32) dkind[action.kind] += d;
            if (read[0] != NOTHING) {
                if (lane == 0) drays[action.ray] += d;
                int from = action.cells[0] * STRIDE + lane, to = action.cells[1] * STRIDE + KEY + lane;
                float q = of_board[from], k = of_board[to], p = pairs[read[0] * KEY + lane], scaled = d * PAIR_SCALE;
                sum[from] += scaled * k * p;
                sum[to] += scaled * q * p;
                dpairs[read[0] * KEY + lane] += scaled * q * k;
            }
            for (int j = 0; j < 3; j++)
                if (lane == read[1 + j]) sum[action.cells[j] * STRIDE + PLANES + lane] += d;
            for (int j = 0; j < 2; j++)
                if (lane == read[4 + j])
                    for (int m = 0; m < action.many; m++)
                        sum[many[stored.many_start + m] * STRIDE + PLANES + lane] += d * factor_of(j == 0, action.many);
        }
        sync_warp();
        bf16* out = dhead + (size_t)board * cells * STRIDE;
        for (int i = lane; i < cells * STRIDE; i += 32) out[i] = round_bf16(sum[i]);
        for (int i = lane; i < kind_count; i += 32) dkinds[board * kind_count + i] = dkind[i];
    }
    sync_warp();
    for (int i = lane; i < PARTIAL; i += 32) partial[(size_t)block_x() * PARTIAL + i] = dpairs[i];
}
