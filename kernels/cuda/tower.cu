// The trunk in one kernel, for boards of at most 64 cells: stem, residual blocks, pooling; nothing leaves shared memory.
//
// planes: [boards * cells, 48] bf16; globals: [boards, 32] f32. Weights are one flat buffer, in bf16 (weights16, for the
// convolutions) and f32 (weights32, for the rest), of the same length. layers: [layer_count, 3] u32, where a layer's weights,
// its bias and its third tensor begin in that buffer: convolutions [taps, inputs, C], biases [C], and the stem's globals
// [32, C], or for the first convolution of a block that pools the pooling weights [2 * C, C]; NONE otherwise. layer_count is
// odd: the stem and two for each block. neighbours: [cells, taps] u16, which cell of the board a tap reads, NO_CELL for none;
// at most 9 taps. x: [boards * cells, C] bf16, the trunk at the end; pooled: [boards, 2 * C] f32, its means and maxima.
//
// Work: a block has BOARDS boards of 64 rows each, 4 for 32 and 64 channels, 2 for 96 and 128, the last block fewer; a warp
// has 32 of those rows by all C channels, so two warps share a board, and a block has 2 * BOARDS warps. Lanes hold what
// tile.cuh says. The neighbourhood is which row a lane names to ldmatrix; off the board that is a row of zeros. Weights stream
// through three stages of cp.async, 32 of the inner dimension at a time, across layers without a stop. Pooling and the biases
// of boards are a thread an element.
#include "tile.cuh"

namespace tower {

constexpr int CHANNELS = 48, GLOBALS = 32, ROWS = 64, DEPTH = 32, STAGES = 3, TAPS_MAX = 9;
constexpr u32 NONE = 0xffffffffu;

template <int C, int BOARDS> struct Tower {
    static constexpr int THREADS = BOARDS * 64, STRIDE = (C > CHANNELS ? C : CHANNELS) + 8, W_STRIDE = C + 8;
    static constexpr int ZERO = BOARDS * ROWS; // the row of zeros
    static constexpr int TRUNK = (ZERO + 1) * STRIDE;

    // Shared memory.
    bf16* x;
    bf16* h;
    bf16* w;         // [STAGES][DEPTH][W_STRIDE]
    float* of_board; // [BOARDS][C], a bias for each board
    float* pooled;   // [BOARDS][2 * C]
    u8* sources;     // [taps][64]

    const bf16* weights16;
    const u32* layers;
    int layer_count, taps;
    // The next piece of weights to fetch.
    int next_layer, next_step, next_stage;

    DEVICE void carve() {
        x = (bf16*)shared_memory();
        h = x + TRUNK;
        w = h + TRUNK;
        of_board = (float*)(w + STAGES * DEPTH * W_STRIDE);
        pooled = of_board + BOARDS * C;
        sources = (u8*)(pooled + BOARDS * 2 * C);
    }

    DEVICE int depth_of(int layer) { return taps * (layer == 0 ? CHANNELS : C); }

    // Fetches the next piece of weights, if any is left; closes a group of copies in any case.
    DEVICE void fetch() {
        if (next_layer < layer_count) {
            const bf16* from = weights16 + layers[next_layer * 3] + (size_t)next_step * DEPTH * C;
            bf16* to = w + next_stage * DEPTH * W_STRIDE;
            int left = depth_of(next_layer) - next_step * DEPTH;
            for (int i = thread_id(); i < DEPTH * (C / 8); i += THREADS) {
                int row = i / (C / 8), column = i % (C / 8) * 8;
                bool valid = row < left;
                copy_async(to + row * W_STRIDE + column, valid ? from + row * C + column : weights16, valid);
            }
            next_stage = next_stage == STAGES - 1 ? 0 : next_stage + 1;
            next_step++;
            if (left <= DEPTH) {
                next_layer++;
                next_step = 0;
            }
        }
        copy_async_commit();
    }

    // Means and maxima of x.
    DEVICE void pool(int cells) {
        for (int i = thread_id(); i < BOARDS * C; i += THREADS) {
            int board = i / C, channel = i % C;
            const bf16* column = x + board * ROWS * STRIDE + channel;
            float sum = unpack(column[0]), best = sum;
            for (int cell = 1; cell < cells; cell++) {
                float value = unpack(column[cell * STRIDE]);
                sum += value;
                best = value > best ? value : best;
            }
            pooled[board * 2 * C + channel] = sum * (1.0f / (float)cells);
            pooled[board * 2 * C + C + channel] = best;
        }
    }

    // of_board = vectors * weights, `vectors`: [BOARDS][inputs].
    DEVICE void bias_of_boards(const float* vectors, const float* weights, int inputs, int boards) {
        for (int i = thread_id(); i < BOARDS * C; i += THREADS) {
            int board = i / C, channel = i % C;
            float sum = 0.0f;
            if (board < boards)
                for (int k = 0; k < inputs; k++) sum += vectors[board * inputs + k] * weights[k * C + channel];
            of_board[i] = sum;
        }
    }

    // One convolution from `from` (of K channels) to `to`; `skip` adds what is there.
    template <int K> DEVICE void layer(const bf16* from, bf16* to, const float* bias, bool with_boards, bool skip, int& stage) {
        int lane = lane_id(), first = warp_id() * 32, board = warp_id() / 2;
        Tile<C> tile;
        UNROLL for (int n = 0; n < C / 8; n++)
            UNROLL for (int i = 0; i < 2; i++) {
                int column = n * 8 + lane % 4 * 2 + i;
                float b = bias[column] + (with_boards ? of_board[board * C + column] : 0.0f);
                UNROLL for (int m = 0; m < 2; m++) tile.sums[m][n][i] = tile.sums[m][n][2 + i] = b;
            }
        int steps = (taps * K + DEPTH - 1) / DEPTH;
        for (int step = 0; step < steps; step++) {
            copy_async_wait<STAGES - 2>();
            sync_block(); // the piece is there, and nobody reads the piece before any more
            fetch();
            const bf16* piece = w + stage * DEPTH * W_STRIDE;
            stage = stage == STAGES - 1 ? 0 : stage + 1;
            UNROLL for (int depth = 0; depth < DEPTH; depth += 16) {
                int inner = step * DEPTH + depth, tap = inner / K, k = inner - tap * K;
                if (tap >= taps) break; // the stem's last piece is half empty
                u32 a[2][4];
                UNROLL for (int m = 0; m < 2; m++) {
                    int source = sources[tap * ROWS + (first + m * 16 + lane % 16) % ROWS];
                    int row = source == 255 ? ZERO : board * ROWS + source;
                    load_matrices(a[m], from + row * STRIDE + k + lane / 16 * 8);
                }
                tile.multiply(a, piece + depth * W_STRIDE, W_STRIDE);
            }
        }
        UNROLL for (int m = 0; m < 2; m++)
            UNROLL for (int n = 0; n < C / 8; n++)
                UNROLL for (int half = 0; half < 2; half++) {
                    u32* at = (u32*)(to + (first + m * 16 + half * 8 + lane / 4) * STRIDE + n * 8 + lane % 4 * 2);
                    float a = tile.sums[m][n][2 * half], b = tile.sums[m][n][2 * half + 1];
                    if (skip) {
                        a += low_half(*at);
                        b += high_half(*at);
                    }
                    *at = pack(relu(a), relu(b));
                }
    }

    DEVICE void run(const bf16* planes, const float* globals, const float* weights32, const u16* neighbours, bf16* out,
                    float* out_pooled, int boards, int cells) {
        carve();
        int thread = thread_id(), first = block_x() * BOARDS, here = boards - first < BOARDS ? boards - first : BOARDS;
        for (int i = thread; i < BOARDS * ROWS * (CHANNELS / 8); i += THREADS) {
            int row = i / (CHANNELS / 8), column = i % (CHANNELS / 8) * 8, board = row / ROWS, cell = row % ROWS;
            bool valid = board < here && cell < cells;
            const bf16* from = planes + ((size_t)(first + board) * cells + cell) * CHANNELS + column;
            copy_async(h + row * STRIDE + column, valid ? from : planes, valid);
        }
        copy_async_commit();
        for (int i = thread; i < STRIDE; i += THREADS) x[ZERO * STRIDE + i] = h[ZERO * STRIDE + i] = 0;
        for (int i = thread; i < taps * ROWS; i += THREADS) {
            int tap = i / ROWS, cell = i % ROWS;
            int source = cell < cells ? neighbours[cell * taps + tap] : NO_CELL;
            sources[i] = source == NO_CELL ? 255 : (u8)source;
        }
        next_layer = next_step = next_stage = 0;
        for (int i = 0; i < STAGES - 1; i++) fetch();
        bias_of_boards(globals + (size_t)first * GLOBALS, weights32 + layers[2], GLOBALS, here);
        sync_block();

        int stage = 0;
        layer<CHANNELS>(h, x, weights32 + layers[1], true, false, stage);
        for (int i = 1; i < layer_count; i++) {
            bool second = i % 2 == 0, pools = layers[i * 3 + 2] != NONE;
            if (pools) {
                sync_block(); // all of x is there
                pool(cells);
                sync_block();
                bias_of_boards(pooled, weights32 + layers[i * 3 + 2], 2 * C, BOARDS);
                sync_block();
            }
            layer<C>(second ? h : x, second ? x : h, weights32 + layers[i * 3 + 1], pools, second, stage);
        }
        copy_async_wait<0>();
        sync_block();

        for (int i = thread; i < here * cells * (C / 8); i += THREADS) {
            int row = i / (C / 8), column = i % (C / 8) * 8, board = row / cells, cell = row % cells;
            *(Bytes16*)(out + ((size_t)first * cells + row) * C + column) =
                *(const Bytes16*)(x + (board * ROWS + cell) * STRIDE + column);
        }
        pool(cells);
        sync_block();
        for (int i = thread; i < here * 2 * C; i += THREADS) out_pooled[(size_t)first * 2 * C + i] = pooled[i];
    }
};

} // namespace tower

#define TOWER(name, C, BOARDS)                                                                                           \
    KERNEL((tower::Tower<C, BOARDS>::THREADS))                                                                           \
    name(const bf16* planes, const float* globals, const bf16* weights16, const float* weights32, const u32* layers,     \
         const u16* neighbours, bf16* x, float* pooled, int boards, int cells, int taps, int layer_count) {              \
        tower::Tower<C, BOARDS> t;                                                                                       \
        t.weights16 = weights16;                                                                                         \
        t.layers = layers;                                                                                               \
        t.layer_count = layer_count;                                                                                     \
        t.taps = taps;                                                                                                   \
        t.run(planes, globals, weights32, neighbours, x, pooled, boards, cells);                                         \
    }

TOWER(tower_32, 32, 4)
TOWER(tower_64, 64, 4)
TOWER(tower_96, 96, 2)
TOWER(tower_128, 128, 2)
