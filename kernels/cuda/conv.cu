// Neighbour convolution over the rows of any board, activations in global memory; with what comes after it.
//
//     y[r, o] = f(sum over taps t, inputs i of x[source(r, t), i] * w[t, i, o])          conv_*
//     y[r, i] = f(sum over taps t, outputs o of x[source(r, t), o] * w[mirror(t), i, o])  conv_back_*, the derivative
//
// x: [rows, k] bf16, w: [taps, k, N] (conv_back: [taps, N, k]) bf16, y: [rows, N] bf16 and f32, either may be absent.
// Rows are cells of boards, one board behind the other; sources: [cells, taps], NO_CELL off the board: zeros. One tap is
// a plain matrix product. f adds whatever is given of: bias[o], by_board[board, o], residual[r, o], and at_most[board, o]
// in the cell most[board, o]; applies the ReLU if asked; and puts zero where `mask` is not above zero.
//
// Work: a block of 4 warps has 128 rows, a warp 32 of them by all N columns. Rows and weights come 32 of the inner
// dimension at a time through three stages of cp.async.
#include "tile.cuh"

namespace conv {

constexpr int THREADS = 128, ROWS = 128, DEPTH = 32, STAGES = 3, STRIDE = DEPTH + 8;

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
                     int k) {
    constexpr int W_STRIDE = BACK ? STRIDE : N + 8, W_ROWS = BACK ? N : DEPTH;
    bf16* x_tiles = (bf16*)shared_memory();
    bf16* w_tiles = x_tiles + STAGES * ROWS * STRIDE;
    int thread = thread_id(), lane = lane_id(), first = block_x() * ROWS;
    int chunks = (k + DEPTH - 1) / DEPTH, steps = taps * chunks, directions = taps - 1;

    int part = thread % 4 * 8; // a thread copies this quarter of four rows

    auto load = [&](int step) {
        int tap = step / chunks, k0 = (step - tap * chunks) * DEPTH;
        bf16* x_tile = x_tiles + step % STAGES * (ROWS * STRIDE);
        bf16* w_tile = w_tiles + step % STAGES * (W_ROWS * W_STRIDE);
        UNROLL for (int j = 0; j < 4; j++) {
            int at = thread / 4 + j * 32, row = first + at, board_row = row / cells * cells;
            int source = row < rows ? sources[(row - board_row) * taps + tap] : NO_CELL;
            bool valid = source != NO_CELL && k0 + part < k;
            const bf16* from = valid ? x + (size_t)(board_row + source) * k + k0 + part : x;
            copy_async(x_tile + at * STRIDE + part, from, valid);
        }
        if (BACK) {
            int mirrored = tap == 0 ? 0 : 1 + (tap - 1 + directions / 2) % directions;
            for (int i = thread; i < N * 4; i += THREADS) {
                int row = i / 4, column = i % 4 * 8;
                bool valid = k0 + column < k;
                const bf16* from = valid ? w + (size_t)(mirrored * N + row) * k + k0 + column : w;
                copy_async(w_tile + row * W_STRIDE + column, from, valid);
            }
        } else {
            for (int i = thread; i < DEPTH * (N / 8); i += THREADS) {
                int row = i / (N / 8), column = i % (N / 8) * 8;
                bool valid = k0 + row < k;
                const bf16* from = valid ? w + (size_t)(tap * k + k0 + row) * N + column : w;
                copy_async(w_tile + row * W_STRIDE + column, from, valid);
            }
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
        sync_block(); // the step's tiles are there, and nobody reads the tiles of the step before any more
        if (step + STAGES - 1 < steps) load(step + STAGES - 1);
        copy_async_commit();
        const bf16* row = x_tiles + step % STAGES * (ROWS * STRIDE) + (warp_id() * 32 + lane % 16) * STRIDE + lane / 16 * 8;
        const bf16* w_tile = w_tiles + step % STAGES * (W_ROWS * W_STRIDE);
        UNROLL for (int depth = 0; depth < DEPTH; depth += 16) {
            u32 a[2][4];
            load_matrices(a[0], row + depth);
            load_matrices(a[1], row + 16 * STRIDE + depth);
            if (BACK) {
                tile.multiply_by_rows(a, w_tile + depth, W_STRIDE);
            } else {
                tile.multiply(a, w_tile + depth * W_STRIDE, W_STRIDE);
            }
        }
    }
    copy_async_wait<0>();
    sync_block(); // nobody reads tiles any more, their memory holds results now

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
    KERNEL(conv::THREADS)                                                                                                \
    name(const bf16* x, const bf16* w, const u16* sources, bf16* y, float* y32, const float* bias, const float* by_board, \
         const bf16* residual, const bf16* mask, const u16* most, const float* at_most, int rows, int cells, int taps,   \
         int k, int relu) {                                                                                              \
        conv::After after = {y, y32, bias, by_board, residual, mask, most, at_most, relu};                               \
        conv::convolve<N, BACK>(x, w, sources, after, rows, cells, taps, k);                                             \
    }

CONV(conv_32, 32, false)
CONV(conv_64, 64, false)
CONV(conv_96, 96, false)
CONV(conv_128, 128, false)
CONV(conv_back_32, 32, true)
CONV(conv_back_64, 64, true)
CONV(conv_back_96, 96, true)
CONV(conv_back_128, 128, true)
