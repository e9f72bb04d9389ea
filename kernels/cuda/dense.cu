// Small layers on one vector a board, in f32: the head of the values, biases from pooled or global numbers.
//
// dense:         y[r, o] = f(sum over i of x[r, i] * w[i, o] + bias[o]), f the ReLU if asked, bias may be absent
// dense_back:    dx[r, i] = sum over o of dy[r, o] * w[i, o] (+ dx[r, i] if asked), zero where mask[r, i] is not above zero;
//                mask may be absent
// dense_weights: partial[s, i, o] = sum over the rows r of split s of x[r, i] * dy[r, o], x may be absent: ones
//
// Everything is f32 and row-major: x, dx, mask: [rows, inputs]; w: [inputs, outputs]; bias: [outputs]; y, dy:
// [rows, outputs]; partial: [splits, inputs, outputs], to be summed over the splits.
//
// Work: a block of 4 warps has 32 by 32 elements of the result, a warp 8 lines of them and a lane a column. Both factors come
// 32 of the inner dimension at a time through shared memory, read from memory as they lie there. The sums are in order, so
// results do not depend on the schedule.
#include "prims.cuh"

namespace dense_layer {

constexpr int SIDE = 32, OF_WARP = 8, WARPS = SIDE / OF_WARP, STRIDE = SIDE + 1;

// sums[j] += sum over k of a(warp * 8 + j, k) * b(k, lane), k from `first` on in order. `a` and `b` are zero where there is
// nothing. A_BY_K, B_BY_K: in memory, neighbours are neighbours in k.
template <bool A_BY_K, bool B_BY_K, class A, class B> DEVICE void add_products(float sums[OF_WARP], int first, int end, A a, B b) {
    float* a_tile = (float*)shared_memory();
    float* b_tile = a_tile + SIDE * STRIDE;
    int lane = lane_id(), warp = warp_id();
    ROLLED for (; first < end; first += SIDE) {
        UNROLL for (int j = 0; j < OF_WARP; j++) {
            int line = warp + j * WARPS, i = A_BY_K ? line : lane, k = A_BY_K ? lane : line;
            a_tile[i * STRIDE + k] = first + k < end ? a(i, first + k) : 0.0f;
            i = B_BY_K ? line : lane;
            k = B_BY_K ? lane : line;
            b_tile[k * STRIDE + i] = first + k < end ? b(first + k, i) : 0.0f;
        }
        sync_block(); // the tiles are there
        int depth = end - first < SIDE ? end - first : SIDE;
        for (int k = 0; k < depth; k++) {
            float right = b_tile[k * STRIDE + lane];
            UNROLL for (int j = 0; j < OF_WARP; j++) sums[j] += a_tile[(warp * OF_WARP + j) * STRIDE + k] * right;
        }
        sync_block(); // nobody reads the tiles any more
    }
}

} // namespace dense_layer

KERNEL(128) dense(const float* x, const float* w, const float* bias, float* y, int rows, int inputs, int outputs, int with_relu) {
    using namespace dense_layer;
    int first_row = block_x() * SIDE, first_output = block_y() * SIDE, output = first_output + lane_id();
    float sums[OF_WARP];
    UNROLL for (int j = 0; j < OF_WARP; j++) sums[j] = bias && output < outputs ? bias[output] : 0.0f;
    add_products<true, false>(
        sums, 0, inputs,
        [&](int i, int k) { return first_row + i < rows ? x[(size_t)(first_row + i) * inputs + k] : 0.0f; },
        [&](int k, int i) { return first_output + i < outputs ? w[(size_t)k * outputs + first_output + i] : 0.0f; });
    UNROLL for (int j = 0; j < OF_WARP; j++) {
        int row = first_row + warp_id() * OF_WARP + j;
        if (row < rows && output < outputs) y[(size_t)row * outputs + output] = with_relu ? relu(sums[j]) : sums[j];
    }
}

KERNEL(128) dense_back(const float* dy, const float* w, const float* mask, float* dx, int rows, int inputs, int outputs, int add) {
    using namespace dense_layer;
    int first_row = block_x() * SIDE, first_input = block_y() * SIDE, input = first_input + lane_id();
    float sums[OF_WARP];
    UNROLL for (int j = 0; j < OF_WARP; j++) {
        int row = first_row + warp_id() * OF_WARP + j;
        sums[j] = add && row < rows && input < inputs ? dx[(size_t)row * inputs + input] : 0.0f;
    }
    add_products<true, true>(
        sums, 0, outputs,
        [&](int i, int k) { return first_row + i < rows ? dy[(size_t)(first_row + i) * outputs + k] : 0.0f; },
        [&](int k, int i) { return first_input + i < inputs ? w[(size_t)(first_input + i) * outputs + k] : 0.0f; });
    UNROLL for (int j = 0; j < OF_WARP; j++) {
        int row = first_row + warp_id() * OF_WARP + j;
        size_t at = (size_t)row * inputs + input;
        if (row < rows && input < inputs) dx[at] = mask && !(mask[at] > 0.0f) ? 0.0f : sums[j];
    }
}

// Blocks: pieces of the outputs after each other for each piece of the inputs, by splits.
KERNEL(128) dense_weights(const float* x, const float* dy, float* partial, int rows, int inputs, int outputs, int rows_of_split) {
    using namespace dense_layer;
    int pieces = (outputs + SIDE - 1) / SIDE, first_input = block_x() / pieces * SIDE;
    int first_output = block_x() % pieces * SIDE, output = first_output + lane_id();
    int first = block_y() * rows_of_split, end = first + rows_of_split < rows ? first + rows_of_split : rows;
    float sums[OF_WARP];
    UNROLL for (int j = 0; j < OF_WARP; j++) sums[j] = 0.0f;
    add_products<false, false>(
        sums, first, end,
        [&](int i, int k) {
            if (!x) return 1.0f;
            return first_input + i < inputs ? x[(size_t)k * inputs + first_input + i] : 0.0f;
        },
        [&](int k, int i) { return first_output + i < outputs ? dy[(size_t)k * outputs + first_output + i] : 0.0f; });
    float* out = partial + (size_t)block_y() * inputs * outputs;
    UNROLL for (int j = 0; j < OF_WARP; j++) {
        int input = first_input + warp_id() * OF_WARP + j;
        if (input < inputs && output < outputs) out[(size_t)input * outputs + output] = sums[j];
    }
}
