// Neighbour convolution over the rows of any board, activations in global memory; with what comes after it.
//
//     y[r, o] = f(sum over taps t, inputs i of x[source(r, t), i] * w[t, i, o])          conv_*
//     y[r, i] = f(sum over taps t, outputs o of x[source(r, t), o] * w[mirror(t), i, o])  conv_back_*, the derivative
//
// x: [rows, k] bf16, w: [taps, k, N] (conv_back: [taps, N, k]) bf16, y: [rows, N] bf16 and f32, either may be absent.
// Rows are cells of boards, one board behind the other; sources: [cells, taps], NO_CELL off the board: zeros. One tap is
// a plain matrix product. f adds whatever is given of: bias[o], by_board[board, o], residual[r, o], and at_most[board, o]
// in the cell most[board, o]; applies the ReLU if asked; and puts zero where `mask` is not above zero. bias, by_board and
// at_most are f32, residual and mask: [rows, N] bf16, most: [boards, N] u16. Sources lie at most `reach` rows from the row
// that reads them.
//
// Work: a block has as many rows as threads, a warp 32 of them by all N columns. The block's rows and `reach` more on both
// sides, its slab, are copied to shared memory once and all taps read them there: which row of the slab a lane names to
// ldmatrix is in a table, where rows off the board are a row of zeros behind the slab. Weights come 32 of the inner
// dimension (taps times k) at a time through three stages of cp.async.
#include "tile.cuh"

namespace conv {

constexpr int THREADS_MAX = 256, DEPTH = 32, STAGES = 3;

struct After {
    bf16* y;
    float* y32;
    const float* bias;
    const float* by_board;
    const bf16* residual;
    const bf16* mask;
    const u16* most;
    const float* at_most;
    int relu;
};

template <int N> DEVICE void finish(const After& after, float a, float b, int row, int column, int cells) {
    int board = row / cells;
    size_t at = (size_t)row * N + column, of_board = (size_t)board * N + column;
    if (after.bias) {
        a += after.bias[column];
        b += after.bias[column + 1];
    }
    if (after.by_board) {
        a += after.by_board[of_board];
        b += after.by_board[of_board + 1];
    }
    if (after.residual) {
        u32 both = *(const u32*)(after.residual + at);
        a += low_half(both);
        b += high_half(both);
    }
    if (after.most) {
        int cell = row - board * cells;
        if (after.most[of_board] == cell) a += after.at_most[of_board];
        if (after.most[of_board + 1] == cell) b += after.at_most[of_board + 1];
    }
    if (after.relu) {
        a = relu(a);
        b = relu(b);
    }
    if (after.mask) {
        u32 both = *(const u32*)(after.mask + at);
        a = low_half(both) > 0.0f ? a : 0.0f;
        b = high_half(both) > 0.0f ? b : 0.0f;
    }
    if (after.y) *(u32*)(after.y + at) = pack(a, b);
    if (after.y32) {
        after.y32[at] = a;
        after.y32[at + 1] = b;
    }
}

template <int N, bool BACK>
DEVICE void convolve(const bf16* x, const bf16* w, const u16* sources, const After& after, int rows, int cells, int taps,
                     int k, int reach) {
    constexpr int W_STRIDE = BACK ? DEPTH + 8 : N + 8, W_ROWS = BACK ? N : DEPTH;
    int thread = thread_id(), threads = thread_count(), lane = lane_id();
    int first = block_x() * threads, last = (first + threads < rows ? first + threads : rows) - 1;
    // Rows of the slab: none beyond the boards of the first and the last row.
    int low = first / cells * cells, high = last / cells * cells + cells;
    low = first - reach > low ? first - reach : low;
    high = last + 1 + reach < high ? last + 1 + reach : high;
    int stride = k + 8, zeros = high - low, inner = taps * k, steps = (inner + DEPTH - 1) / DEPTH;
    bf16* slab = (bf16*)shared_memory();
    bf16* w_tiles = slab + (threads + 2 * reach + 1) * stride;
    u16* places = (u16*)(w_tiles + STAGES * W_ROWS * W_STRIDE); // [taps][threads], rows of the slab

    int parts = k / 8;
    for (int i = thread; i < (zeros + 1) * parts; i += threads) {
        int at = i / parts, column = (i - at * parts) * 8;
        bool valid = at < zeros;
        copy_async(slab + at * stride + column, valid ? x + (size_t)(low + at) * k + column : x, valid);
    }
    auto load = [&](int step) {
        bf16* w_tile = w_tiles + step % STAGES * (W_ROWS * W_STRIDE);
        if (BACK) {
            int column = thread % 4 * 8, depth = step * DEPTH + column, directions = taps - 1;
            bool valid = depth < inner;
            int tap = valid ? depth / k : 0, mirrored = tap == 0 ? 0 : 1 + (tap - 1 + directions / 2) % directions;
            const bf16* from = valid ? w + (size_t)mirrored * N * k + (depth - tap * k) : w;
            for (int row = thread / 4; row < N; row += threads / 4)
                copy_async(w_tile + row * W_STRIDE + column, valid ? from + row * k : w, valid);
        } else {
            for (int i = thread; i < DEPTH * (N / 8); i += threads) {
                int row = i / (N / 8), column = i % (N / 8) * 8, depth = step * DEPTH + row;
                bool valid = depth < inner;
                copy_async(w_tile + row * W_STRIDE + column, valid ? w + (size_t)depth * N + column : w, valid);
            }
        }
    };
    for (int step = 0; step < STAGES - 1; step++) {
        if (step < steps) load(step);
        copy_async_commit(); // the first group has the slab too
    }
    int board_row = (first + thread) / cells * cells;
    for (int tap = 0; tap < taps; tap++) {
        int source = first + thread < rows ? sources[(first + thread - board_row) * taps + tap] : NO_CELL;
        places[tap * threads + thread] = (u16)(source == NO_CELL ? zeros : board_row + source - low);
    }

    Tile<N> tile;
    tile.clear();
    int tap = 0, part = 0; // of the inner dimension
    const bf16* from[2];
    for (int step = 0; step < steps; step++) {
        copy_async_wait<STAGES - 2>();
        sync_block(); // slab, places and the step's tile are there, and nobody reads the tile of the step before any more
        if (step + STAGES - 1 < steps) load(step + STAGES - 1);
        copy_async_commit();
        const bf16* w_tile = w_tiles + step % STAGES * (W_ROWS * W_STRIDE);
        UNROLL for (int depth = 0; depth < DEPTH; depth += 16) {
            if (tap == taps) break; // half of the last tile may be empty
            if (part == 0)
                UNROLL for (int m = 0; m < 2; m++) {
                    int place = places[tap * threads + warp_id() * 32 + m * 16 + lane % 16];
                    from[m] = slab + place * stride + lane / 16 * 8;
                }
            u32 a[2][4];
            load_matrices(a[0], from[0] + part);
            load_matrices(a[1], from[1] + part);
            if (BACK) {
                tile.multiply_by_rows(a, w_tile + depth, W_STRIDE);
            } else {
                tile.multiply(a, w_tile + depth * W_STRIDE, W_STRIDE);
            }
            part += 16;
            if (part == k) {
                part = 0;
                tap++;
            }
        }
    }
    copy_async_wait<0>();
    sync_block(); // nobody reads slab or tiles any more, their memory holds results now

    // Half a warp's rows at a time go through shared memory, so that a warp then writes whole rows.
    constexpr int OUT_STRIDE = N + 4;
    float* out = (float*)shared_memory() + warp_id() * (16 * OUT_STRIDE);
    UNROLL for (int m = 0; m < 2; m++) {
        UNROLL for (int n = 0; n < N / 8; n++)
            UNROLL for (int i = 0; i < 4; i++)
                out[(lane / 4 + i / 2 * 8) * OUT_STRIDE + n * 8 + lane % 4 * 2 + i % 2] = tile.sums[m][n][i];
        sync_warp();
        ROLLED for (int i = lane; i < 16 * (N / 2); i += 32) {
            int at = i / (N / 2), column = i % (N / 2) * 2, row = first + warp_id() * 32 + m * 16 + at;
            const float* pair = out + at * OUT_STRIDE + column;
            if (row < rows) finish<N>(after, pair[0], pair[1], row, column, cells);
        }
        sync_warp();
    }
}

} // namespace conv

#define CONV(name, N, BACK)                                                                                              \
    KERNEL(conv::THREADS_MAX)                                                                                            \
    name(const bf16* x, const bf16* w, const u16* sources, bf16* y, float* y32, const float* bias, const float* by_board, \
         const bf16* residual, const bf16* mask, const u16* most, const float* at_most, int rows, int cells, int taps,   \
         int k, int reach, int relu) {                                                                                   \
        conv::After after = {y, y32, bias, by_board, residual, mask, most, at_most, relu};                               \
        conv::convolve<N, BACK>(x, w, sources, after, rows, cells, taps, k, reach);                                      \
    }

CONV(conv_32, 32, false)
CONV(conv_64, 64, false)
CONV(conv_96, 96, false)
CONV(conv_128, 128, false)
CONV(conv_back_32, 32, true)
CONV(conv_back_64, 64, true)
CONV(conv_back_96, 96, true)
CONV(conv_back_128, 128, true)
