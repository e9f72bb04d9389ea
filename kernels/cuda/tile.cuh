// A warp's share of a matrix product: 32 rows by N columns, accumulated in f32 from bf16 tiles in shared memory.
//
// sums: [32, N] f32 in registers, spread over the lanes. a: [32, 16] bf16 as two fragments, b: 16 of the inner dimension by N
// columns, bf16 in shared memory, in rows or in columns of `stride`; multiples of 8, so that every row is 16 bytes aligned.
//
// Work: a warp has the tile, all its lanes call together; a lane has the elements that multiply_add leaves to it (prims.cuh).
#pragma once
#include "prims.cuh"

// Where there is no neighbour: NONE_CELL of the crate `rules`.
#define NO_CELL 511

template <int N> struct Tile {
    // Lane l has of each 16x8 piece rows l / 4 and l / 4 + 8, columns l % 4 * 2 and the next.
    float sums[2][N / 8][4];

    DEVICE void clear() {
        UNROLL for (int m = 0; m < 2; m++)
            UNROLL for (int n = 0; n < N / 8; n++)
                UNROLL for (int i = 0; i < 4; i++) sums[m][n][i] = 0.0f;
    }

    DEVICE void add(int n, const u32 a[2][4], const u32 b[4]) {
        UNROLL for (int m = 0; m < 2; m++) {
            multiply_add(sums[m][2 * n], a[m], b);
            multiply_add(sums[m][2 * n + 1], a[m], b + 2);
        }
    }

    // sums += a * b over 16 of the inner dimension, `b`: [16][stride], a row for each of the inner dimension.
    DEVICE void multiply(const u32 a[2][4], const bf16* b, int stride) {
        int lane = lane_id();
        const bf16* row = b + (lane % 16) * stride + lane / 16 * 8;
        UNROLL for (int n = 0; n < N / 16; n++) {
            u32 columns[4];
            load_matrices_transposed(columns, row + n * 16);
            add(n, a, columns);
        }
    }

    // The same, `b`: [N][stride], a row for each column of the result.
    DEVICE void multiply_by_rows(const u32 a[2][4], const bf16* b, int stride) {
        int lane = lane_id();
        const bf16* row = b + (lane % 8 + lane / 16 * 8) * stride + lane / 8 % 2 * 8;
        UNROLL for (int n = 0; n < N / 16; n++) {
            u32 columns[4];
            load_matrices(columns, row + n * 16 * stride);
            add(n, a, columns);
        }
    }
};
