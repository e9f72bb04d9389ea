// The primitives that kernels are written in: each as the GPU does it and, for emulation, as a host twin.
//
// Kernels use nothing else of CUDA, so no header is needed to compile them and the same file runs on a CPU. Layouts of
// fragments are those of the PTX ISA ("Matrix multiply-accumulate", m16n8k16 of .bf16): a is [16, 16] bf16 and b [16, 8] bf16,
// four and two words a lane, d [16, 8] f32, four numbers a lane. Rows that load_matrices takes are 8 bf16, 16 bytes, aligned.
//
// Work: blocks have threads in one dimension, 32 in a row are a warp, and grids have two dimensions. sync_block and
// block_sum want the whole block; every other operation that moves something between lanes wants all 32 lanes of a warp, and
// `line` is the caller's, by which emulation finds lanes that have diverged. The rest is of one thread.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
// The upper half of an f32.
typedef u16 bf16;

#ifdef __CUDACC__

#define DEVICE __device__ __forceinline__
// A function that is called, where it is long or has many callers.
#define CALLED __device__ __noinline__
#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads, 1)
#define UNROLL _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
#define ALIGNED(n) __align__(n)

DEVICE int thread_id() { return threadIdx.x; }
DEVICE int thread_count() { return blockDim.x; }
DEVICE int block_x() { return blockIdx.x; }
DEVICE int block_y() { return blockIdx.y; }

// The block's dynamic shared memory.
DEVICE unsigned char* shared_memory() {
    extern __shared__ __align__(128) unsigned char bytes[];
    return bytes;
}

DEVICE void sync_block() { __syncthreads(); }
DEVICE void sync_warp() { __syncwarp(); }
DEVICE float shuffle_xor(float value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
DEVICE double shuffle_xor(double value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
DEVICE int shuffle_xor(int value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
DEVICE u32 shuffle_xor(u32 value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
DEVICE u64 shuffle_xor(u64 value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
// The value of a lane, which may be another one for each.
DEVICE u32 shuffle(u32 value, int from) { return __shfl_sync(0xffffffffu, value, from); }
DEVICE u32 ballot(bool value) { return __ballot_sync(0xffffffffu, value); }

DEVICE u32 bits_of(float value) { return __float_as_uint(value); }
DEVICE float float_of(u32 bits) { return __uint_as_float(bits); }
DEVICE int count_bits(u64 bits) { return __popcll(bits); }
DEVICE int count_bits(u32 bits) { return __popc(bits); }
// Of bits that are not all zero.
DEVICE int lowest_bit(u32 bits) { return __ffs(bits) - 1; }
DEVICE int highest_bit(u64 bits) { return 63 - __clzll(bits); }
// Two values as bf16, rounded to nearest even: `low` in the lower half.
DEVICE u32 pack(float low, float high) {
    u32 both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

// Four 8x8 matrices of 16-bit elements out of shared memory; lane i names row i % 8 of matrix i / 8.
DEVICE void load_matrices(u32 out[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"((u32)__cvta_generic_to_shared(row))
                 : "memory");
}
// The same, each matrix transposed.
DEVICE void load_matrices_transposed(u32 out[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"((u32)__cvta_generic_to_shared(row))
                 : "memory");
}
// d += a * b: [16, 16] times [16, 8], bf16 in, f32 out.
DEVICE void multiply_add(float d[4], const u32 a[4], const u32* b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Copies 16 bytes from global to shared memory in the background, or zeros where `valid` is false.
DEVICE void copy_async(void* to, const void* from, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"((u32)__cvta_generic_to_shared(to)), "l"(from), "r"(valid ? 16 : 0)
                 : "memory");
}
// Closes the group of the copies since the last one.
DEVICE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most `PENDING` of the thread's groups are under way.
template <int PENDING> DEVICE void copy_async_wait() { asm volatile("cp.async.wait_group %0;" :: "n"(PENDING) : "memory"); }

#else

#include "emu.hpp"

#include <cmath>
#include <cstring>

#define DEVICE inline
#define CALLED inline
#define KERNEL(threads) static void
#define UNROLL
#define ROLLED
#define ALIGNED(n) __attribute__((aligned(n)))

DEVICE int thread_id() { return static_cast<int>(emu::block->current); }
DEVICE int thread_count() { return static_cast<int>(emu::block->threads); }
DEVICE int block_x() { return static_cast<int>(emu::block->block_x); }
DEVICE int block_y() { return static_cast<int>(emu::block->block_y); }
DEVICE unsigned char* shared_memory() { return emu::block->shared; }

DEVICE void sync_block(int line = __builtin_LINE()) { emu::barrier(line); }
DEVICE void sync_warp(int line = __builtin_LINE()) {
    emu::meet([](void* const*) {}, nullptr, line);
}

template <class T> DEVICE T shuffle_xor_any(T value, int mask, int line) {
    struct Operand { T value; int mask; T result; } mine = {value, mask, value};
    emu::meet([](void* const* operands) {
        for (unsigned lane = 0; lane < emu::LANES; lane++) {
            Operand* to = static_cast<Operand*>(operands[lane]);
            to->result = static_cast<Operand*>(operands[(lane ^ static_cast<unsigned>(to->mask)) % emu::LANES])->value;
        }
    }, &mine, line);
    return mine.result;
}
DEVICE float shuffle_xor(float value, int mask, int line = __builtin_LINE()) { return shuffle_xor_any(value, mask, line); }
DEVICE double shuffle_xor(double value, int mask, int line = __builtin_LINE()) { return shuffle_xor_any(value, mask, line); }
DEVICE int shuffle_xor(int value, int mask, int line = __builtin_LINE()) { return shuffle_xor_any(value, mask, line); }
DEVICE u32 shuffle_xor(u32 value, int mask, int line = __builtin_LINE()) { return shuffle_xor_any(value, mask, line); }
DEVICE u64 shuffle_xor(u64 value, int mask, int line = __builtin_LINE()) { return shuffle_xor_any(value, mask, line); }
DEVICE u32 shuffle(u32 value, int from, int line = __builtin_LINE()) {
    struct Operand { u32 value; int from; u32 result; } mine = {value, from, 0};
    emu::meet([](void* const* operands) {
        for (unsigned lane = 0; lane < emu::LANES; lane++) {
            Operand* to = static_cast<Operand*>(operands[lane]);
            to->result = static_cast<Operand*>(operands[static_cast<unsigned>(to->from) % emu::LANES])->value;
        }
    }, &mine, line);
    return mine.result;
}
DEVICE u32 ballot(bool value, int line = __builtin_LINE()) {
    struct Operand { bool value; u32 result; } mine = {value, 0};
    emu::meet([](void* const* operands) {
        u32 result = 0;
        for (unsigned lane = 0; lane < emu::LANES; lane++)
            result |= static_cast<u32>(static_cast<Operand*>(operands[lane])->value) << lane;
        for (unsigned lane = 0; lane < emu::LANES; lane++) static_cast<Operand*>(operands[lane])->result = result;
    }, &mine, line);
    return mine.result;
}

DEVICE u32 bits_of(float value) {
    u32 bits;
    memcpy(&bits, &value, 4);
    return bits;
}
DEVICE float float_of(u32 bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
DEVICE int count_bits(u64 bits) { return __builtin_popcountll(bits); }
DEVICE int count_bits(u32 bits) { return __builtin_popcount(bits); }
DEVICE int lowest_bit(u32 bits) { return __builtin_ctz(bits); }
DEVICE int highest_bit(u64 bits) { return 63 - __builtin_clzll(bits); }
DEVICE u32 round_to_bf16(float value) {
    u32 bits = bits_of(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff; // the NaN that the GPU makes
    return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}
DEVICE u32 pack(float low, float high) { return round_to_bf16(low) | round_to_bf16(high) << 16; }

struct MatrixOperand { u32* out; const unsigned char* row; };

DEVICE void load_matrices(u32 out[4], const void* row, int line = __builtin_LINE()) {
    emu::check_shared(row, 16, 16);
    MatrixOperand mine = {out, static_cast<const unsigned char*>(row)};
    emu::meet([](void* const* operands) {
        for (unsigned lane = 0; lane < 32; lane++)
            for (unsigned i = 0; i < 4; i++) {
                const MatrixOperand* from = static_cast<MatrixOperand*>(operands[i * 8 + lane / 4]);
                memcpy(&static_cast<MatrixOperand*>(operands[lane])->out[i], from->row + lane % 4 * 4, 4);
            }
    }, &mine, line);
}
DEVICE void load_matrices_transposed(u32 out[4], const void* row, int line = __builtin_LINE()) {
    emu::check_shared(row, 16, 16);
    MatrixOperand mine = {out, static_cast<const unsigned char*>(row)};
    emu::meet([](void* const* operands) {
        for (unsigned lane = 0; lane < 32; lane++)
            for (unsigned i = 0; i < 4; i++) {
                u16 pair[2];
                for (unsigned k = 0; k < 2; k++)
                    memcpy(&pair[k], static_cast<MatrixOperand*>(operands[i * 8 + lane % 4 * 2 + k])->row + lane / 4 * 2, 2);
                static_cast<MatrixOperand*>(operands[lane])->out[i] = pair[0] | static_cast<u32>(pair[1]) << 16;
            }
    }, &mine, line);
}
DEVICE void multiply_add(float d[4], const u32 a[4], const u32* b, int line = __builtin_LINE()) {
    struct Operand { float* d; const u32* a; const u32* b; } mine = {d, a, b};
    emu::meet([](void* const* operands) {
        float a[16][16], b[16][8];
        for (unsigned lane = 0; lane < 32; lane++) {
            const Operand* from = static_cast<Operand*>(operands[lane]);
            unsigned group = lane / 4, pair = lane % 4 * 2;
            for (unsigned i = 0; i < 4; i++)
                for (unsigned k = 0; k < 2; k++)
                    a[group + i % 2 * 8][pair + k + i / 2 * 8] = float_of(from->a[i] >> (16 * k) << 16);
            for (unsigned i = 0; i < 2; i++)
                for (unsigned k = 0; k < 2; k++) b[pair + k + i * 8][group] = float_of(from->b[i] >> (16 * k) << 16);
        }
        float sum[16][8] = {};
        for (unsigned row = 0; row < 16; row++)
            for (unsigned k = 0; k < 16; k++)
                for (unsigned column = 0; column < 8; column++) sum[row][column] += a[row][k] * b[k][column];
        for (unsigned lane = 0; lane < 32; lane++)
            for (unsigned i = 0; i < 4; i++)
                static_cast<Operand*>(operands[lane])->d[i] += sum[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
    }, &mine, line);
}

DEVICE void copy_async(void* to, const void* from, bool valid) { emu::copy_start(to, from, 16, valid); }
DEVICE void copy_async_commit() { emu::copy_commit(); }
template <int PENDING> DEVICE void copy_async_wait() { emu::copy_wait(PENDING); }

#endif

DEVICE int lane_id() { return thread_id() % 32; }
DEVICE int warp_id() { return thread_id() / 32; }

DEVICE float low_half(u32 both) { return float_of(both << 16); }
DEVICE float high_half(u32 both) { return float_of(both & 0xffff0000u); }
DEVICE float unpack(bf16 half) { return float_of((u32)half << 16); }
DEVICE bf16 round_bf16(float value) { return (bf16)(pack(value, 0.0f) & 0xffff); }
DEVICE float relu(float value) { return value > 0.0f ? value : 0.0f; }

// Sixteen bytes that move in one instruction.
struct ALIGNED(16) Bytes16 {
    u32 words[4];
};

// The same result in every lane, whatever the order of arrival.
template <class T> DEVICE T warp_sum(T value) {
    for (int mask = 16; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
    return value;
}
template <class T> DEVICE T warp_max(T value) {
    for (int mask = 16; mask > 0; mask /= 2) {
        T other = shuffle_xor(value, mask);
        value = other > value ? other : value;
    }
    return value;
}
// The sum over the block, in thread 0; `scratch` holds a T for each warp.
template <class T> DEVICE T block_sum(T value, T* scratch) {
    value = warp_sum(value);
    if (lane_id() == 0) scratch[warp_id()] = value;
    sync_block();
    T sum = 0;
    if (thread_id() == 0)
        for (int warp = 0; warp < thread_count() / 32; warp++) sum += scratch[warp];
    sync_block();
    return sum;
}
