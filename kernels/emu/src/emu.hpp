// The block model of CUDA on a CPU: one fiber per CUDA thread, one OS thread per block.
//
// Invariant: a fiber runs until it waits for others, so between two waits it is alone; which fiber goes on is drawn
// from the launch's seed, so a seed is a schedule and a failure can be repeated. Warp operations meet: the last of the
// 32 lanes to arrive carries the operation out for all of them. Whoever waits for lanes that never come, or comes to
// another operation than the rest of the warp, ends the block with an error. Operations are told apart by what they do and
// by their line, so lanes that call one helper at two places meet in it unnoticed; but with EMU_WAYS, which wants
// every function to have a frame of its own, they are told apart by all calls that led there.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace emu {

constexpr unsigned LANES = 32;

// A copy that has been asked for and not awaited.
struct Copy {
    void* to;
    const void* from; // null: zeros
    unsigned bytes;
    unsigned group;
};

struct Fiber {
    void* stack_pointer = nullptr;
    char* stack = nullptr;
    void* fake_stack = nullptr; // AddressSanitizer's
    bool done = false;
    unsigned group = 0; // number of committed groups of copies
    std::vector<Copy> copies;
};

using Operation = void (*)(void* const operands[LANES]);

struct Warp {
    std::vector<unsigned> ready; // threads that can go on
    unsigned priority = 0;
    // The operation at which lanes are waiting.
    Operation operation = nullptr;
    int line = 0;
    uint64_t way = 0;
    unsigned arrived = 0, lanes = 0;
    void* operands[LANES] = {};
};

struct Block {
    unsigned threads = 0, block_x = 0, block_y = 0;
    unsigned char* shared = nullptr;
    size_t shared_bytes = 0;
    unsigned current = 0, live = 0;
    unsigned at_barrier = 0;
    int barrier_line = 0;
    uint64_t barrier_way = 0;
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    std::vector<unsigned> waiting; // threads at the block's barrier
    uint64_t random = 1;
    bool shuffled = false;
    void* scheduler = nullptr; // its stack pointer
    void* scheduler_fake_stack = nullptr;
    const void* scheduler_stack = nullptr;
    size_t scheduler_stack_bytes = 0;
    void (*body)(const void*) = nullptr;
    const void* argument = nullptr;
    char error[256] = {};
};

// The block that the calling OS thread runs.
extern thread_local Block* block;

// Ends the block with an error; does not return to the fiber.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Waits for all threads of the block that have not returned.
void barrier(int line);
// Waits for all lanes of the warp; the last one runs `operation` on everyone's operand.
void meet(Operation operation, void* operand, int line);

// Copies that land in shared memory at the latest when they are awaited; whether sooner is drawn.
void copy_start(void* to, const void* from, unsigned bytes, unsigned filled);
void copy_commit();
void copy_wait(unsigned pending);

// Ends the block unless `bytes` at `address` lie in shared memory, aligned to `alignment`.
void check_shared(const void* address, size_t bytes, size_t alignment);

// Runs the blocks of a kernel from `first_block` on; an empty string or what went wrong.
struct Launch {
    unsigned grid_x, grid_y, first_block, threads, shared_bytes;
    uint64_t seed;
    void (*body)(const void*);
    const void* argument;
};
void run(const Launch& launch, char* error, size_t error_bytes);

} // namespace emu
