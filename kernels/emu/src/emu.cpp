// The scheduler of emu.hpp: fibers, barriers, meeting points of warps, blocks over OS threads.
#include "emu.hpp"

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <sys/mman.h>
#include <thread>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace emu {

thread_local Block* block = nullptr;

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t STACK_BYTES = 512 << 10;
#else
constexpr size_t STACK_BYTES = 64 << 10;
#endif
constexpr size_t PAGE = 4096;
constexpr unsigned char UNWRITTEN = 0xff; // as bf16 and as f32 a NaN
constexpr size_t RED_ZONE = 4096;
constexpr unsigned char RED = 0xa5;

// Saves the callee-saved registers and the stack pointer, and goes on with another stack.
extern "C" void emu_switch(void** from, void* to);
#if defined(__x86_64__)
asm(R"(
.text
.globl emu_switch
.type emu_switch, @function
emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emu_switch, . - emu_switch
.section .note.GNU-stack,"",@progbits
.text
)");
constexpr size_t SAVED = 6; // registers below the return address
#elif defined(__aarch64__)
asm(R"(
.text
.globl emu_switch
.type emu_switch, %function
emu_switch:
    sub sp, sp, #176
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #176
    ret
.size emu_switch, . - emu_switch
.section .note.GNU-stack,"",%progbits
.text
)");
#else
#error "emu_switch is written for x86-64 and aarch64"
#endif

// Stacks outlive launches: mapping them again for every block would take longer than most kernels.
std::mutex stacks_lock;
std::vector<char*> stacks;

char* take_stack() {
    {
        std::lock_guard<std::mutex> guard(stacks_lock);
        if (!stacks.empty()) {
            char* stack = stacks.back();
            stacks.pop_back();
            return stack;
        }
    }
    void* memory = mmap(nullptr, STACK_BYTES + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, PAGE, PROT_NONE) != 0) {
        perror("emu: a stack");
        abort();
    }
    return static_cast<char*>(memory) + PAGE; // below it a page that nobody may touch
}

void return_stacks(const std::vector<Fiber>& fibers) {
    std::lock_guard<std::mutex> guard(stacks_lock);
    for (const Fiber& fiber : fibers) {
#if defined(__SANITIZE_ADDRESS__)
        __asan_unpoison_memory_region(fiber.stack, STACK_BYTES); // a failed block leaves frames behind
#endif
        stacks.push_back(fiber.stack);
    }
}

uint64_t draw() {
    uint64_t& x = block->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x * 0x2545f4914f6cdd1dull >> 16;
}

void to_scheduler(Fiber& fiber) {
    Block& b = *block;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(fiber.done ? nullptr : &fiber.fake_stack, b.scheduler_stack, b.scheduler_stack_bytes);
#endif
    emu_switch(&fiber.stack_pointer, b.scheduler);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fiber.fake_stack, nullptr, nullptr);
#endif
}

void to_fiber(unsigned thread) {
    Block& b = *block;
    b.current = thread;
    Fiber& fiber = b.fibers[thread];
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&b.scheduler_fake_stack, fiber.stack, STACK_BYTES);
#endif
    emu_switch(&b.scheduler, fiber.stack_pointer);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(b.scheduler_fake_stack, nullptr, nullptr);
#endif
}

void wake(unsigned thread) { block->warps[thread / LANES].ready.push_back(thread); }

void open_barrier() {
    Block& b = *block;
    if (b.at_barrier > 0 && b.at_barrier == b.live) {
        b.at_barrier = 0;
        for (unsigned thread : b.waiting) wake(thread);
        b.waiting.clear();
    }
}

// Where a fiber begins.
void enter() {
    Block& b = *block;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &b.scheduler_stack, &b.scheduler_stack_bytes);
#endif
    b.body(b.argument);
    Fiber& fiber = b.fibers[b.current];
    if (!fiber.copies.empty()) fail("thread %u returned before its copies were awaited", b.current);
    fiber.done = true;
    b.live--;
    open_barrier(); // threads that have returned are not waited for
    to_scheduler(fiber);
    abort(); // nobody resumes it
}

#if defined(EMU_WAYS)
// A hash of the return addresses from the caller down to where the fiber began: which calls led there.
__attribute__((noinline)) uint64_t way() {
    uint64_t hash = 0;
    // A frame begins with the address of the caller's and the return address; the first has none before it.
    for (void** frame = static_cast<void**>(__builtin_frame_address(0)); frame; frame = static_cast<void**>(frame[0]))
        hash = (hash ^ reinterpret_cast<uint64_t>(frame[1])) * 0x9e3779b97f4a7c15ull;
    return hash;
}
#else
uint64_t way() { return 0; }
#endif

// The next thread to run: of the warp with the highest priority, any. Priorities change now and then, so a warp may
// run far ahead of the others or lag behind them.
int next() {
    Block& b = *block;
    if (!b.shuffled) {
        for (Warp& warp : b.warps) {
            if (warp.ready.empty()) continue;
            unsigned thread = warp.ready.front();
            warp.ready.erase(warp.ready.begin());
            return static_cast<int>(thread);
        }
        return -1;
    }
    if (draw() % 64 == 0) b.warps[draw() % b.warps.size()].priority = static_cast<unsigned>(draw());
    Warp* best = nullptr;
    for (Warp& warp : b.warps)
        if (!warp.ready.empty() && (!best || warp.priority > best->priority)) best = &warp;
    if (!best) return -1;
    size_t i = draw() % best->ready.size();
    unsigned thread = best->ready[i];
    best->ready[i] = best->ready.back();
    best->ready.pop_back();
    return static_cast<int>(thread);
}

void describe_deadlock() {
    Block& b = *block;
    for (unsigned w = 0; w < b.warps.size(); w++)
        if (b.warps[w].arrived > 0) {
            snprintf(b.error, sizeof b.error, "deadlock: warp %u: only lanes %08x came to the operation at line %d", w,
                     b.warps[w].lanes, b.warps[w].line);
            return;
        }
    snprintf(b.error, sizeof b.error, "deadlock: %u of %u threads at the barrier of line %d", b.at_barrier, b.live,
             b.barrier_line);
}

void run_block(const Launch& launch, unsigned index, char* error, size_t error_bytes) {
    Block b;
    block = &b;
    b.threads = b.live = launch.threads;
    b.block_x = index % launch.grid_x;
    b.block_y = index / launch.grid_x;
    b.shuffled = launch.seed != 0;
    b.random = (launch.seed * 0x9e3779b97f4a7c15ull + index * 0xd1b54a32d192ed03ull) | 1;
    b.body = launch.body;
    b.argument = launch.argument;
    b.shared_bytes = launch.shared_bytes;
    std::vector<unsigned char> memory(launch.shared_bytes + RED_ZONE + 128, UNWRITTEN);
    b.shared = reinterpret_cast<unsigned char*>((reinterpret_cast<uintptr_t>(memory.data()) + 127) & ~uintptr_t(127));
    memset(b.shared + launch.shared_bytes, RED, RED_ZONE);
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(b.shared + launch.shared_bytes, RED_ZONE);
#endif
    b.warps.resize((launch.threads + LANES - 1) / LANES);
    b.fibers.resize(launch.threads);
    for (Warp& warp : b.warps) warp.priority = static_cast<unsigned>(draw());
    for (unsigned i = 0; i < launch.threads; i++) {
        Fiber& fiber = b.fibers[i];
        fiber.stack = take_stack();
        void** top = reinterpret_cast<void**>(fiber.stack + STACK_BYTES - 64);
#if defined(__x86_64__)
        *--top = nullptr; // keeps the stack aligned as after a call
        *--top = reinterpret_cast<void*>(enter);
        for (size_t k = 0; k < SAVED; k++) *--top = nullptr;
#else
        top -= 22;
        memset(top, 0, 176);
        top[11] = reinterpret_cast<void*>(enter);
#endif
        fiber.stack_pointer = top;
        wake(i);
    }
    while (b.live > 0 && b.error[0] == 0) {
        int thread = next();
        if (thread < 0) {
            describe_deadlock();
            break;
        }
        to_fiber(static_cast<unsigned>(thread));
    }
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(b.shared + launch.shared_bytes, RED_ZONE);
#endif
    for (size_t i = 0; b.error[0] == 0 && i < RED_ZONE; i++)
        if (b.shared[launch.shared_bytes + i] != RED)
            snprintf(b.error, sizeof b.error, "wrote %zu bytes behind the end of shared memory", i);
    if (b.error[0] != 0)
        snprintf(error, error_bytes, "block (%u, %u), seed %llu: %s", b.block_x, b.block_y,
                 static_cast<unsigned long long>(launch.seed), b.error);
    return_stacks(b.fibers);
    block = nullptr;
}

} // namespace

void fail(const char* format, ...) {
    Block& b = *block;
    va_list values;
    va_start(values, format);
    vsnprintf(b.error, sizeof b.error, format, values);
    va_end(values);
    to_scheduler(b.fibers[b.current]);
    abort(); // the scheduler leaves a failed block
}

void barrier(int line) {
    Block& b = *block;
    uint64_t here = way();
    if (b.at_barrier > 0 && b.barrier_line != line)
        fail("divergent barrier: thread %u at line %d, others at line %d", b.current, line, b.barrier_line);
    if (b.at_barrier > 0 && b.barrier_way != here)
        fail("divergent barrier: thread %u came to line %d by other calls than others", b.current, line);
    b.barrier_line = line;
    b.barrier_way = here;
    b.at_barrier++;
    unsigned thread = b.current;
    b.waiting.push_back(thread);
    open_barrier();
    to_scheduler(b.fibers[thread]);
}

void meet(Operation operation, void* operand, int line) {
    Block& b = *block;
    unsigned thread = b.current, lane = thread % LANES;
    Warp& warp = b.warps[thread / LANES];
    uint64_t here = way();
    if (warp.arrived == 0) {
        warp.operation = operation;
        warp.line = line;
        warp.way = here;
        warp.lanes = 0;
    } else if (warp.operation != operation || warp.line != line) {
        fail("divergent warp operation: thread %u at line %d, its warp at line %d", thread, line, warp.line);
    } else if (warp.way != here) {
        fail("divergent warp operation: thread %u came to line %d by other calls than its warp", thread, line);
    }
    warp.operands[lane] = operand;
    warp.lanes |= 1u << lane;
    if (++warp.arrived == LANES) {
        operation(warp.operands);
        warp.arrived = 0;
        unsigned first = thread / LANES * LANES;
        for (unsigned i = 0; i < LANES; i++) wake(first + i);
    }
    to_scheduler(b.fibers[thread]);
}

namespace {
void land(const Copy& copy) {
    if (copy.from) {
        memcpy(copy.to, copy.from, copy.bytes);
    } else {
        memset(copy.to, 0, copy.bytes);
    }
}
} // namespace

void copy_start(void* to, const void* from, unsigned bytes, unsigned filled) {
    check_shared(to, bytes, bytes);
    if (filled && reinterpret_cast<uintptr_t>(from) % bytes != 0) fail("copy from a misaligned address");
    Fiber& fiber = block->fibers[block->current];
    Copy copy = {to, filled ? from : nullptr, bytes, fiber.group};
    // It may land at once, over what others still read, or not before it is awaited, under what others already read.
    if (block->shuffled && draw() % 2 == 0) {
        land(copy);
        copy.bytes = 0;
    }
    fiber.copies.push_back(copy);
}

void copy_commit() { block->fibers[block->current].group++; }

void copy_wait(unsigned pending) {
    Fiber& fiber = block->fibers[block->current];
    size_t kept = 0;
    for (const Copy& copy : fiber.copies) {
        if (copy.group + pending < fiber.group) {
            land(copy);
        } else {
            fiber.copies[kept++] = copy;
        }
    }
    fiber.copies.resize(kept);
}

void check_shared(const void* address, size_t bytes, size_t alignment) {
    uintptr_t at = reinterpret_cast<uintptr_t>(address), start = reinterpret_cast<uintptr_t>(block->shared);
    if (at < start || at + bytes > start + block->shared_bytes)
        fail("thread %u: %zu bytes at %lld are not in shared memory", block->current, bytes,
             static_cast<long long>(at - start));
    if (at % alignment != 0) fail("thread %u: misaligned shared address", block->current);
}

void run(const Launch& launch, char* error, size_t error_bytes) {
    unsigned blocks = launch.grid_x * launch.grid_y;
    std::atomic<unsigned> next_block{launch.first_block};
    std::mutex first;
    auto work = [&] {
        for (unsigned i = next_block++; i < blocks; i = next_block++) {
            // Blocks come in no particular order either.
            unsigned index = launch.seed % 2 == 0 ? i : blocks - 1 - i + launch.first_block;
            char message[320] = {};
            run_block(launch, index, message, sizeof message);
            if (message[0] != 0) {
                std::lock_guard<std::mutex> guard(first);
                if (error[0] == 0) snprintf(error, error_bytes, "%s", message);
            }
        }
    };
    unsigned workers = std::thread::hardware_concurrency();
    if (launch.first_block + workers > blocks) workers = blocks - launch.first_block;
    if (workers <= 1) {
        work();
        return;
    }
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < workers; i++) threads.emplace_back(work);
    for (std::thread& thread : threads) thread.join();
}

} // namespace emu
