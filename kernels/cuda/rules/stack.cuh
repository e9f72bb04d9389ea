// A stack of rings in one word: a u64 with two bits a ring, bottom ring lowest, and the height from bit 58 on; 0 for none. So
// there are at most 29 rings, and whoever adds one has made sure that there is room.
//
// Work: arithmetic of one thread.
#pragma once

#include "prims.cuh"

namespace rules {

constexpr int HEIGHT_SHIFT = 58;
constexpr u64 RINGS = (1ull << HEIGHT_SHIFT) - 1;
constexpr u64 PAIRS = 0x5555555555555555ull & RINGS;

DEVICE int height_of(u64 stack) { return (int)(stack >> HEIGHT_SHIFT); }
DEVICE u64 below_ring(int height) { return (1ull << 2 * height) - 1; }

// The seat of the top ring; -1 for no stack.
DEVICE int top_of(u64 stack) {
    int height = height_of(stack);
    return height == 0 ? -1 : (int)(stack >> 2 * (height - 1) & 3);
}

// The run of rings of one colour from the top; 0 for no stack.
DEVICE int cap_of(u64 stack) {
    int height = height_of(stack);
    if (height < 2) return height;
    u64 differing = (stack ^ PAIRS * (u64)top_of(stack)) & below_ring(height);
    return differing == 0 ? height : height - 1 - highest_bit(differing) / 2;
}

// A 1 in the low bit of each pair that is a ring of the seat.
DEVICE u64 rings_of(u64 stack, int seat) {
    u64 differing = stack ^ PAIRS * (u64)seat;
    return ~(differing | differing >> 1) & PAIRS & below_ring(height_of(stack));
}
DEVICE int ring_count(u64 stack, int seat) { return count_bits(rings_of(stack, seat)); }
// Whether a ring of the seat lies below the top.
DEVICE bool buries(u64 stack, int seat) {
    int height = height_of(stack);
    return height > 1 && (rings_of(stack, seat) & below_ring(height - 1)) != 0;
}

// With one more ring on top.
DEVICE u64 pushed(u64 stack, int seat) {
    return (stack | (u64)seat << 2 * height_of(stack)) + (1ull << HEIGHT_SHIFT);
}
// With one more ring below all others.
DEVICE u64 with_bottom(u64 stack, int seat) {
    return (stack & RINGS) << 2 | (u64)seat | (u64)(height_of(stack) + 1) << HEIGHT_SHIFT;
}
// Without its `count` top rings.
DEVICE u64 popped(u64 stack, int count) {
    int height = height_of(stack) - count;
    return (stack & below_ring(height)) | (u64)height << HEIGHT_SHIFT;
}
// Without the lowest ring of the seat, if it has one.
DEVICE u64 without_lowest(u64 stack, int seat) {
    u64 rings = rings_of(stack, seat);
    if (rings == 0) return stack;
    u64 below = (rings & (0 - rings)) - 1, bits = stack & RINGS;
    return (bits & below) | (bits >> 2 & ~below) | (u64)(height_of(stack) - 1) << HEIGHT_SHIFT;
}

} // namespace rules
