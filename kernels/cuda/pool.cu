// Over the cells of each board: mean, maximum and where it is; sums.
//
// pool: x: [boards, cells, width] bf16 -> pooled: [boards, 2 * width] f32, means then maxima; most: [boards, width] u16, the
// first cell that has the maximum (may be null). board_sums: x as above -> sums: [boards, width] f32. column_sums:
// x: [rows, width] f32 -> sums: [grid] f32, of as many first columns as there are blocks. pool_back: dpooled, the derivative
// by pooled: [boards, 2 * width] f32 -> to_all: [boards, width] f32, what it adds to every cell of a board, and to_most:
// [boards, width] f32, what to the cell of the maximum besides.
//
// Work: blocks have 128 threads. pool and board_sums, a block a board and a thread a channel, of which there are at most 128;
// pool_back, a thread an element; column_sums, a block a column, whose threads take every 128th row and then add up, lanes
// first and warps after them, in a fixed order.
#include "prims.cuh"

KERNEL(128) pool(const bf16* x, float* pooled, u16* most, int cells, int width) {
    size_t board = (size_t)block_x();
    int channel = thread_id();
    if (channel >= width) return;
    x += board * cells * width + channel;
    float sum = unpack(x[0]), best = sum;
    int at = 0;
    for (int cell = 1; cell < cells; cell++) {
        float value = unpack(x[(size_t)cell * width]);
        sum += value;
        if (value > best) {
            best = value;
            at = cell;
        }
    }
    pooled[board * 2 * width + channel] = sum * (1.0f / (float)cells);
    pooled[board * 2 * width + width + channel] = best;
    if (most) most[board * width + channel] = (u16)at;
}

KERNEL(128) board_sums(const bf16* x, float* sums, int cells, int width) {
    size_t board = (size_t)block_x();
    int channel = thread_id();
    if (channel >= width) return;
    x += board * cells * width + channel;
    float sum = 0.0f;
    for (int cell = 0; cell < cells; cell++) sum += unpack(x[(size_t)cell * width]);
    sums[board * width + channel] = sum;
}

KERNEL(128) pool_back(const float* dpooled, float* to_all, float* to_most, int boards, int cells, int width) {
    int at = block_x() * 128 + thread_id();
    if (at >= boards * width) return;
    int board = at / width;
    const float* of_board = dpooled + (size_t)board * 2 * width + at % width;
    to_all[at] = of_board[0] * (1.0f / (float)cells);
    to_most[at] = of_board[width];
}

KERNEL(128) column_sums(const float* x, float* sums, int rows, int width) {
    float* scratch = (float*)shared_memory();
    float sum = 0.0f;
    for (int row = thread_id(); row < rows; row += 128) sum += x[(size_t)row * width + block_x()];
    sum = block_sum(sum, scratch);
    if (thread_id() == 0) sums[block_x()] = sum;
}
