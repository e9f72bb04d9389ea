// Small kernels with the mistakes that emulation is there to find. Copies of real ones: see build/mutants.rs.
#include "prims.cuh"
#include "rules/state.cuh"

namespace planted {

// Half of a warp shuffles alone.
KERNEL(64) divergent_shuffle(float* out) {
    float value = (float)thread_id();
    if (lane_id() < 16) value = shuffle_xor(value, 1);
    out[thread_id()] = value;
}

// Half of a warp asks one thing, the other half another, and both ask with the same function.
KERNEL(64) divergent_any(float* out) {
    bool found;
    if (lane_id() < 16)
        found = rules::any(lane_id() == 3);
    else
        found = rules::any(lane_id() == 40);
    out[thread_id()] = found;
}

// The same of a block, half of whose warps add up something else.
KERNEL(64) divergent_sum(float* out) {
    float* scratch = (float*)shared_memory();
    float sum = warp_id() == 0 ? block_sum(1.0f, scratch) : block_sum(2.0f, scratch);
    out[thread_id()] = sum;
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

// Reads shared memory, and four bytes behind it: of consequence for nobody, but the sanitizer.
KERNEL(64) read_behind_shared_memory(float* out) {
    float* scratch = (float*)shared_memory();
    scratch[thread_id()] = 1.0f;
    sync_block();
    out[thread_id()] = scratch[thread_id() + 1];
}

} // namespace planted
