// Every kernel under AddressSanitizer and UndefinedBehaviorSanitizer, with arrays that are exactly as long as they need, and
// with operations that are told apart by the calls that led there.
// Takes the seed of the first of four schedules and exits 0 if all is well; with the argument "store" or "read", runs a kernel
// with a planted mistake, which the sanitizer must report.
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "sanitized/convolutions.hpp"
#include "sanitized/games.hpp"
#include "sanitized/small.hpp"
#include "sanitized/waves.hpp"

// The name of the i-th kernel, or null.
extern "C" const char* emu_kernel(unsigned i);

int main(int count, char** arguments) {
    std::vector<float> out(64);
    if (count != 2) return 4;
    bool stores = strcmp(arguments[1], "store") == 0;
    if (stores || strcmp(arguments[1], "read") == 0) {
        Call call;
        call.array(out);
        if (stores) {
            call.number(64).fails("planted_store_behind_the_end", 1, 1, 64, 0, 1);
        } else {
            call.fails("planted_read_behind_shared_memory", 1, 1, 64, 64 * sizeof(float), 1);
        }
        return 0;
    }
    unsigned long long first = strtoull(arguments[1], nullptr, 10);
    for (unsigned long long seed = first; seed < first + 4; seed++) {
        int width = WIDTHS[seed - first];
        if (convolutions(32, seed) || convolutions(width, seed) || towers(width, seed)) return 1;
        if (vectors(seed) || policies(seed) || updates(seed) || all_games(seed) || all_waves(seed)) return 1;
        // A block that fails leaves its fibers where they are; the next one takes up their stacks.
        for (const char* name : {"planted_divergent_shuffle", "planted_divergent_any", "planted_divergent_sum"})
            if (!Call().array(out).fails(name, 1, 1, 64, 2 * sizeof(float), seed)) return 2;
    }
    // Planted mistakes and probes of single primitives are no part of the product.
    for (unsigned i = 0; const char* name = emu_kernel(i); i++) {
        bool shipped = strncmp(name, "planted_", 8) != 0 && strncmp(name, "probe_", 6) != 0;
        if (shipped && Call::done().count(name) == 0) {
            fprintf(stderr, "%s was not run\n", name);
            return 3;
        }
    }
    return 0;
}
