// The derivative of a convolution by its weights, sums over what blocks left, and the step of the optimiser.
//
// weights_back_*: dw[t, i, o] = sum over rows r of x[source(r, t), i] * dy[r, o]; x: [rows, k] bf16, dy: [rows, N] bf16, sources
// as in conv.cu. The rows are split: partial: [splits, taps, k, N] f32. Work: a block has one split and all taps of some of
// the inputs, a warp one tap and 32 inputs by all N outputs. Rows come 32 at a time through three stages of cp.async; those of
// x, with `reach` more on both sides, lie in a ring of `ring` rows, a power of two, each copied once for all taps. Behind
// the ring is a row of zeros; a table says how far from each cell what a tap reads is.
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

constexpr int THREADS_MAX = 288; // nine taps
constexpr u16 NOWHERE = 0xffff;

template <int N>
DEVICE void weights_back(const bf16* x, const bf16* dy, const u16* sources, float* partial, int rows, int cells, int taps,
                         int k, int rows_of_split, int reach, int ring) {
    constexpr int Y_STRIDE = N + 8;
    int thread = thread_id(), threads = thread_count(), lane = lane_id();
    int inputs = threads / taps, first_input = block_x() * inputs, x_stride = inputs + 8;
    int tap = warp_id() % taps, of_warp = warp_id() / taps * 32; // its first input, of the block's
    bf16* x_ring = (bf16*)shared_memory();
    bf16* y_tiles = x_ring + (ring + 1) * x_stride;
    u16* offsets = (u16*)(y_tiles + STAGES * DEPTH * Y_STRIDE); // [taps][cells], from `reach` before the cell
    int first = block_y() * rows_of_split, end = first + rows_of_split < rows ? first + rows_of_split : rows;
    int steps = (end - first + DEPTH - 1) / DEPTH;

    auto load = [&](int step) {
        int low = first + step * DEPTH + (step == 0 ? -reach : reach), high = first + (step + 1) * DEPTH + reach;
        low = low < 0 ? 0 : low;
        high = high < rows ? high : rows;
        int parts = inputs / 8;
        for (int i = thread; i < (high - low) * parts; i += threads) {
            int row = i / parts, column = (i - row * parts) * 8;
            row += low;
            bool valid = first_input + column < k;
            const bf16* from = valid ? x + (size_t)row * k + first_input + column : x;
            copy_async(x_ring + (row & (ring - 1)) * x_stride + column, from, valid);
        }
        bf16* y_tile = y_tiles + step % STAGES * (DEPTH * Y_STRIDE);
        for (int i = thread; i < DEPTH * (N / 8); i += threads) {
            int at = i / (N / 8), column = i % (N / 8) * 8, row = first + step * DEPTH + at;
            bool valid = row < end;
            copy_async(y_tile + at * Y_STRIDE + column, valid ? dy + (size_t)row * N + column : dy, valid);
        }
    };
    for (int step = 0; step < STAGES - 1; step++) {
        if (step < steps) load(step);
        copy_async_commit();
    }
    for (int i = thread; i < x_stride; i += threads) x_ring[ring * x_stride + i] = 0;
    for (int i = thread; i < cells * taps; i += threads) {
        int cell = i / taps, source = sources[i];
        offsets[(i - cell * taps) * cells + cell] = source == NO_CELL ? NOWHERE : (u16)(source - cell + reach);
    }

    Tile<N> tile;
    tile.clear();
    // x transposed: its rows are the inner dimension, and a lane names one of sixteen.
    int of_lane = lane % 8 + lane / 16 * 8, cell = (first + of_lane) % cells;
    for (int step = 0; step < steps; step++) {
        copy_async_wait<STAGES - 2>();
        sync_block(); // the step's rows are there, and nobody reads those of the step before any more
        if (step + STAGES - 1 < steps) load(step + STAGES - 1);
        copy_async_commit();
        const bf16* from[DEPTH / 16];
        UNROLL for (int i = 0; i < DEPTH / 16; i++) {
            int row = first + step * DEPTH + i * 16 + of_lane, offset = row < end ? offsets[tap * cells + cell] : NOWHERE;
            int place = offset == NOWHERE ? ring : (row + offset - reach) & (ring - 1);
            from[i] = x_ring + place * x_stride + of_warp + lane / 8 % 2 * 8;
            for (cell += 16; cell >= cells;) cell -= cells;
        }
        const bf16* y_tile = y_tiles + step % STAGES * (DEPTH * Y_STRIDE);
        UNROLL for (int i = 0; i < DEPTH / 16; i++) {
            u32 a[2][4];
            load_matrices_transposed(a[0], from[i]);
            load_matrices_transposed(a[1], from[i] + 16);
            tile.multiply(a, y_tile + i * 16 * Y_STRIDE, Y_STRIDE);
        }
    }
    copy_async_wait<0>();

    float* out = partial + (size_t)(block_y() * taps + tap) * k * N;
    UNROLL for (int m = 0; m < 2; m++)
        UNROLL for (int half = 0; half < 2; half++) {
            int input = first_input + of_warp + m * 16 + half * 8 + lane / 4;
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
    KERNEL(train::THREADS_MAX)                                                                                           \
    name(const bf16* x, const bf16* dy, const u16* sources, float* partial, int rows, int cells, int taps, int k,        \
         int rows_of_split, int reach, int ring) {                                                                       \
        train::weights_back<N>(x, dy, sources, partial, rows, cells, taps, k, rows_of_split, reach, ring);               \
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
