// A launch, its arguments collected one by one; keeps the names of all kernels that were run.
#pragma once
#include <cstdio>
#include <cstring>
#include <set>
#include <string>
#include <vector>

extern "C" void emu_launch(const char* name, unsigned grid_x, unsigned grid_y, unsigned first_block, unsigned threads,
                           unsigned shared_bytes, void* const* arguments, const unsigned* sizes, unsigned count,
                           unsigned long long seed, char* error, size_t error_bytes);

using bf16 = unsigned short;
constexpr bf16 ONE = 0x3f80;
constexpr unsigned short NO_CELL = 511;
constexpr int WIDTHS[] = {32, 64, 96, 128};

struct Call {
    std::vector<unsigned long long> values;
    std::vector<unsigned> sizes;

    static std::set<std::string>& done() {
        static std::set<std::string> names;
        return names;
    }

    template <class T> Call& array(std::vector<T>& v) { return add(reinterpret_cast<unsigned long long>(v.data()), 8); }
    Call& absent() { return add(0, 8); }
    Call& number(int v) { return add(static_cast<unsigned>(v), 4); }
    Call& number(float v) {
        unsigned bits;
        memcpy(&bits, &v, 4);
        return add(bits, 4);
    }
    Call& add(unsigned long long value, unsigned size) {
        values.push_back(value);
        sizes.push_back(size);
        return *this;
    }

    // Whether the kernel fails.
    bool fails(const std::string& name, unsigned blocks_x, unsigned blocks_y, unsigned threads, unsigned shared,
               unsigned long long seed) {
        std::vector<void*> pointers;
        for (auto& value : values) pointers.push_back(&value);
        char error[512];
        emu_launch(name.c_str(), blocks_x, blocks_y, 0, threads, shared, pointers.data(), sizes.data(),
                   static_cast<unsigned>(sizes.size()), seed, error, sizeof error);
        done().insert(name);
        if (error[0] != 0 && name.compare(0, 8, "planted_") != 0) fprintf(stderr, "%s: %s\n", name.c_str(), error);
        return error[0] != 0;
    }
};

// Cells that read others, and often none.
inline std::vector<unsigned short> graph(int cells, int taps) {
    std::vector<unsigned short> sources(static_cast<size_t>(cells * taps));
    for (int i = 0; i < cells * taps; i++)
        sources[static_cast<size_t>(i)] = i % 3 ? static_cast<unsigned short>(i * 7 % cells) : NO_CELL;
    return sources;
}
