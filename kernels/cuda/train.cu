// The derivative of a convolution by its weights, sums over what blocks left, and the step of the optimiser.
//
// weights_back_*: dw[t, i, o] = sum over rows r of x[source(r, t), i] * dy[r, o]; x: [rows, k] bf16, dy: [rows, N] bf16, sources
// as in conv.cu. The rows are split: partial: [splits, taps, k, N] f32. Work: a block has one tap and one split, a warp 32 of
// the inputs by all N outputs; rows come 32 at a time through three stages of cp.async.
//
// sum_partials: adds up the splits in order and leaves out columns that only pad. gradient_norm: the square of the norm,
// squares: [blocks] f64, a block a piece; gradient_scale: what clipping multiplies by, and whether the gradient is finite,
// scale: [2] f32. adamw: one step of AdamW (Loshchilov & Hutter 2019, algorithm 2), the average of the weights, and the
// weights in bf16; nothing changes where the gradient is not finite. pack_head: the policy head's weights and bias with
// columns up to 96. Weights, their average, both moments and the gradient are [count] f32, decays: [count] u8, weights16:
// [count] bf16. Work: a thread an element; for the norm a block 8192 numbers, whose sum is made in a fixed order, and one
// block for the sum of those.
#include "tile.cuh"

namespace train {

constexpr int DEPTH = 32, STAGES = 3;
constexpr float BETA1 = 0.9f, BETA2 = 0.95f, EPSILON = 1e-8f;

template <int N>
DEVICE void weights_back(const bf16* x, const bf16* dy, const u16* sources, float* partial, int rows, int cells, int taps,
                         int k, int rows_of_split) {
    constexpr int Y_STRIDE = N + 8;
    int width = thread_count(), x_stride = width + 8; // a thread for each input, and some that pad
    bf16* x_tiles = (bf16*)shared_memory();
    bf16* y_tiles = x_tiles + STAGES * DEPTH * x_stride;
    int tap = block_x(), first = block_y() * rows_of_split;
    int end = first + rows_of_split < rows ? first + rows_of_split : rows;
    int steps = (end - first + DEPTH - 1) / DEPTH, lane = lane_id();

    auto load = [&](int step) {
        bf16* x_tile = x_tiles + step % STAGES * (DEPTH * x_stride);
        bf16* y_tile = y_tiles + step % STAGES * (DEPTH * Y_STRIDE);
        for (int i = thread_id(); i < DEPTH * (width / 8); i += width) {
            int at = i / (width / 8), column = i % (width / 8) * 8, row = first + step * DEPTH + at;
            int board = row / cells, source = row < end ? sources[(row - board * cells) * taps + tap] : NO_CELL;
            bool valid = source != NO_CELL && column < k;
            const bf16* from = valid ? x + (size_t)(board * cells + source) * k + column : x;
            copy_async(x_tile + at * x_stride + column, from, valid);
        }
        for (int i = thread_id(); i < DEPTH * (N / 8); i += width) {
            int at = i / (N / 8), column = i % (N / 8) * 8, row = first + step * DEPTH + at;
            bool valid = row < end;
            copy_async(y_tile + at * Y_STRIDE + column, valid ? dy + (size_t)row * N + column : dy, valid);
        }
    };

    Tile<N> tile;
    tile.clear();
    for (int step = 0; step < STAGES - 1; step++) {
        if (step < steps) load(step);
        copy_async_commit();
    }
    for (int step = 0; step < steps; step++) {
        copy_async_wait<STAGES - 2>();
        sync_block(); // the step's rows are there, and nobody reads those of the step before any more
        if (step + STAGES - 1 < steps) load(step + STAGES - 1);
        copy_async_commit();
        const bf16* x_tile = x_tiles + step % STAGES * (DEPTH * x_stride);
        const bf16* y_tile = y_tiles + step % STAGES * (DEPTH * Y_STRIDE);
        UNROLL for (int depth = 0; depth < DEPTH; depth += 16) {
            // x transposed: its rows are the inner dimension.
            const bf16* row = x_tile + (depth + lane % 8 + lane / 16 * 8) * x_stride + warp_id() * 32 + lane / 8 % 2 * 8;
            u32 a[2][4];
            load_matrices_transposed(a[0], row);
            load_matrices_transposed(a[1], row + 16);
            tile.multiply(a, y_tile + depth * Y_STRIDE, Y_STRIDE);
        }
    }
    copy_async_wait<0>();

    float* out = partial + (size_t)(block_y() * taps + tap) * k * N;
    UNROLL for (int m = 0; m < 2; m++)
        UNROLL for (int half = 0; half < 2; half++) {
            int input = warp_id() * 32 + m * 16 + half * 8 + lane / 4;
            if (input < k)
                UNROLL for (int n = 0; n < N / 8; n++) {
                    float* at = out + (size_t)input * N + n * 8 + lane % 4 * 2;
                    at[0] = tile.sums[m][n][2 * half];
                    at[1] = tile.sums[m][n][2 * half + 1];
                }
        }
}

} // namespace train

#define WEIGHTS_BACK(name, N)                                                                                            \
    KERNEL(128)                                                                                                          \
    name(const bf16* x, const bf16* dy, const u16* sources, float* partial, int rows, int cells, int taps, int k,        \
         int rows_of_split) {                                                                                            \
        train::weights_back<N>(x, dy, sources, partial, rows, cells, taps, k, rows_of_split);                            \
    }

WEIGHTS_BACK(weights_back_32, 32)
WEIGHTS_BACK(weights_back_64, 64)
WEIGHTS_BACK(weights_back_96, 96)
WEIGHTS_BACK(weights_back_128, 128)

// partial: [splits, count], whose rows have n columns, of which the first `columns` are kept.
KERNEL(128) sum_partials(const float* partial, float* out, int splits, int count, int n, int columns) {
    int i = block_x() * 128 + thread_id();
    if (i >= count || i % n >= columns) return;
    float sum = 0.0f;
    for (int split = 0; split < splits; split++) sum += partial[(size_t)split * count + i];
    out[(size_t)(i / n) * columns + i % n] = sum;
}

// squares: one f64 for each block of 8192 numbers.
KERNEL(128) gradient_norm(const float* gradient, double* squares, int count) {
    double* scratch = (double*)shared_memory();
    double sum = 0.0;
    int end = (block_x() + 1) * 8192 < count ? (block_x() + 1) * 8192 : count;
    for (int i = block_x() * 8192 + thread_id(); i < end; i += 128) sum += (double)gradient[i] * (double)gradient[i];
    sum = block_sum(sum, scratch);
    if (thread_id() == 0) squares[block_x()] = sum;
}

// scale: what to multiply by, and 1 if the gradient is finite or 0.
KERNEL(128) gradient_scale(const double* squares, float* scale, int blocks, float clip) {
    double* scratch = (double*)shared_memory();
    double sum = 0.0;
    for (int i = thread_id(); i < blocks; i += 128) sum += squares[i];
    sum = block_sum(sum, scratch);
    if (thread_id() == 0) {
        double norm = sqrt(sum), factor = norm > (double)clip ? (double)clip / norm : 1.0;
        scale[0] = (float)factor;
        scale[1] = norm - norm == 0.0 ? 1.0f : 0.0f;
    }
}

KERNEL(128)
adamw(float* weights, float* average, float* first, float* second, const float* gradient, const u8* decays, const float* scale,
      bf16* weights16, int count, float rate, float weight_decay, float first_correction, float second_correction, float keep) {
    using namespace train;
    int i = block_x() * 128 + thread_id();
    if (i >= count || scale[1] == 0.0f) return;
    float g = gradient[i] * scale[0], weight = weights[i];
    float m = first[i] = BETA1 * first[i] + (1.0f - BETA1) * g;
    float v = second[i] = BETA2 * second[i] + (1.0f - BETA2) * g * g;
    float step = (m / first_correction) / (sqrtf(v / second_correction) + EPSILON);
    weight -= rate * step + (decays[i] ? rate * weight_decay : 0.0f) * weight;
    weights[i] = weight;
    average[i] = keep * average[i] + (1.0f - keep) * weight;
    weights16[i] = round_bf16(weight);
}

// w: [width, columns] and bias: [columns] f32 -> head16: [width, 96] bf16, head_bias: [96] f32.
KERNEL(128) pack_head(const float* w, const float* bias, bf16* head16, float* head_bias, int width, int columns) {
    int i = block_x() * 128 + thread_id(), row = i / 96, column = i % 96;
    if (row < width) head16[i] = column < columns ? round_bf16(w[row * columns + column]) : (bf16)0;
    if (i < 96) head_bias[i] = i < columns ? bias[i] : 0.0f;
}
