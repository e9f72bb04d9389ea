// Kernels with the mistakes that emulation is there to find.
#include "prims.cuh"
#include "tile.cuh"

namespace planted {

// Half of a warp shuffles alone.
KERNEL(64) divergent_shuffle(float* out) {
    float value = (float)thread_id();
    if (lane_id() < 16) value = shuffle_xor(value, 1);
    out[thread_id()] = value;
}

// One thread waits for the others at another barrier.
KERNEL(64) divergent_barrier(float* out) {
    if (thread_id() == 5) {
        sync_block();
    } else {
        sync_block();
    }
    out[thread_id()] = 1.0f;
}

// Reverses 64 numbers through shared memory; `barriers` is 1, or the mistake.
KERNEL(64) reverse(float* out, int barriers) {
    float* scratch = (float*)shared_memory();
    scratch[thread_id()] = (float)thread_id();
    if (barriers) sync_block();
    out[thread_id()] = scratch[63 - thread_id()];
}

// Writes `count` numbers, and one more.
KERNEL(64) store_behind_the_end(float* out, int count) {
    for (int i = thread_id(); i <= count; i += 64) out[i] = 1.0f;
}

// The real convolution with one primitive broken: names in the namespace are found first.
namespace without_barrier {
DEVICE void sync_block() {}
#include "conv.cu"
} // namespace without_barrier

namespace without_wait {
template <int PENDING> DEVICE void copy_async_wait() { if (PENDING == 0) emu::copy_wait(0); }
#include "conv.cu"
} // namespace without_wait

} // namespace planted
