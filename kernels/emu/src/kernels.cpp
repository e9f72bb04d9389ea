// The kernels compiled for the host, by name, and the planted mistakes that emulation must find.
#include "all.cu"
#include "planted.cpp"
#ifdef EMU_MUTANTS
#include "mutants.cpp"
#else
#define MUTANTS
#endif

#include <cstdio>
#include <cstring>
#include <tuple>
#include <utility>

namespace {

struct Call {
    const void* kernel;
    void* const* arguments;
};

struct Entry {
    const char* name;
    const void* kernel;
    void (*body)(const void* call);
    unsigned count;
    const unsigned* sizes;
};

template <class Kernel> struct Of;
template <class... A> struct Of<void (*)(A...)> {
    static constexpr unsigned COUNT = sizeof...(A);
    static constexpr unsigned SIZES[] = {sizeof(A)...};

    template <size_t... I> static void call(void (*kernel)(A...), void* const* arguments, std::index_sequence<I...>) {
        kernel(*static_cast<const A*>(arguments[I])...);
    }
    static void body(const void* argument) {
        const Call* c = static_cast<const Call*>(argument);
        call(reinterpret_cast<void (*)(A...)>(const_cast<void*>(c->kernel)), c->arguments, std::index_sequence_for<A...>());
    }
};

template <class Kernel> Entry entry(const char* name, Kernel kernel) {
    return {name, reinterpret_cast<const void*>(kernel), Of<Kernel>::body, Of<Kernel>::COUNT, Of<Kernel>::SIZES};
}

#define ENTRY(name) entry(#name, &name)
#define WIDTHS(name) ENTRY(name##_32), ENTRY(name##_64), ENTRY(name##_96), ENTRY(name##_128)
#define BOARDS(name) ENTRY(name##_hex8), ENTRY(name##_square8), ENTRY(name##_square19), ENTRY(name##_hexagonal)

const Entry ENTRIES[] = {
    ENTRY(expand_positions),
    WIDTHS(conv),
    WIDTHS(conv_back),
    WIDTHS(tower),
    ENTRY(pool),
    ENTRY(pool_back),
    ENTRY(board_sums),
    ENTRY(column_sums),
    ENTRY(dense),
    ENTRY(dense_back),
    ENTRY(dense_weights),
    ENTRY(policy_logits),
    ENTRY(policy_losses),
    ENTRY(policy_back),
    WIDTHS(weights_back),
    ENTRY(sum_partials),
    ENTRY(gradient_norm),
    ENTRY(gradient_scale),
    ENTRY(adamw),
    ENTRY(pack_head),
    BOARDS(legal),
    BOARDS(apply),
    BOARDS(playout),
    ENTRY(probe_ids),
    ENTRY(probe_load_matrices),
    ENTRY(probe_multiply_add),
    ENTRY(probe_copy_async),
    ENTRY(probe_shuffles),
    ENTRY(probe_ballot),
    ENTRY(probe_bits),
    ENTRY(probe_bf16),
    ENTRY(probe_sums),
    ENTRY(probe_arithmetic),
    ENTRY(probe_exp_log),
    ENTRY(probe_pow_log),
    ENTRY(probe_random),
    BOARDS(wave),
    ENTRY(wave_collect),
    entry("planted_divergent_shuffle", &planted::divergent_shuffle),
    entry("planted_divergent_any", &planted::divergent_any),
    entry("planted_divergent_sum", &planted::divergent_sum),
    entry("planted_divergent_barrier", &planted::divergent_barrier),
    entry("planted_store_behind_the_end", &planted::store_behind_the_end),
    entry("planted_reverse", &planted::reverse),
    entry("planted_read_behind_shared_memory", &planted::read_behind_shared_memory),
    MUTANTS
};

} // namespace

// The name of the i-th kernel, or null.
extern "C" const char* emu_kernel(unsigned i) {
    return i < sizeof ENTRIES / sizeof ENTRIES[0] ? ENTRIES[i].name : nullptr;
}

// Runs a kernel like cuLaunchKernel: `arguments` point to values, whose sizes are checked. Writes what went wrong to
// `error`, or an empty string.
extern "C" void emu_launch(const char* name, unsigned grid_x, unsigned grid_y, unsigned first_block, unsigned threads,
                           unsigned shared_bytes, void* const* arguments, const unsigned* sizes, unsigned count,
                           unsigned long long seed, char* error, size_t error_bytes) {
    error[0] = 0;
    for (const Entry& entry : ENTRIES) {
        if (strcmp(entry.name, name) != 0) continue;
        bool fits = count == entry.count;
        for (unsigned i = 0; fits && i < count; i++) fits = sizes[i] == entry.sizes[i];
        if (!fits) {
            snprintf(error, error_bytes, "the arguments do not fit the kernel");
            return;
        }
        if (first_block >= grid_x * grid_y) {
            snprintf(error, error_bytes, "there are no blocks");
            return;
        }
        Call call = {entry.kernel, arguments};
        emu::Launch launch = {grid_x, grid_y, first_block, threads, shared_bytes, seed, entry.body, &call};
        emu::run(launch, error, error_bytes);
        return;
    }
    snprintf(error, error_bytes, "there is no such kernel");
}
