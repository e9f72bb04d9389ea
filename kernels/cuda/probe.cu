// Each primitive of prims.cuh, each function of a mathematical library that kernels call and each source of random numbers,
// once and by itself: what emulation makes of it is kept as golden vectors, which a card is compared with.
//
// All take in: u32 words, out: u32 words, count: how many pieces of input there are; what a piece is, and with it how long in
// and out are, stands at each.
//
// Work: one block of as many threads as KERNEL says, 32, 64 or 128, but for probe_ids, whose grid is (count, any). What is of
// warps and blocks is done piece by piece by all of them; what is of one thread, a thread a piece: t, t + 128, ... Numbers are
// as small as they can be, for nothing is timed.
#include "prims.cuh"
#include "rules/random.cuh"
#include "wave/choices.cuh"

// out: [blocks, threads]: where a thread is. No input.
KERNEL(64) probe_ids(const u32*, u32* out, int count) {
    int block = block_y() * count + block_x(), of_block = block_y() << 12 | block_x() << 8 | thread_count();
    out[block * thread_count() + thread_id()] = (u32)(warp_id() << 24 | lane_id() << 16 | of_block);
}

// A piece: 32 rows of 4 words, then which row each lane names. out: [pieces, 32, 8], four words plain and four transposed.
KERNEL(32) probe_load_matrices(const u32* in, u32* out, int count) {
    u32* rows = (u32*)shared_memory();
    int lane = lane_id();
    for (int piece = 0; piece < count; piece++) {
        const u32* from = in + piece * 160;
        sync_warp();
        for (int i = 0; i < 4; i++) rows[lane * 4 + i] = from[lane * 4 + i];
        sync_warp();
        u32 plain[4], transposed[4];
        const u32* row = rows + from[128 + lane] % 32 * 4;
        load_matrices(plain, row);
        load_matrices_transposed(transposed, row);
        u32* to = out + (piece * 32 + lane) * 8;
        for (int i = 0; i < 4; i++) {
            to[i] = plain[i];
            to[4 + i] = transposed[i];
        }
    }
}

// A piece: for each lane four words of a, two of b, four of d. out: [pieces, 32, 4] f32.
KERNEL(32) probe_multiply_add(const u32* in, u32* out, int count) {
    int lane = lane_id();
    for (int piece = 0; piece < count; piece++) {
        const u32* from = in + (piece * 32 + lane) * 10;
        u32 a[4], b[2];
        float d[4];
        for (int i = 0; i < 4; i++) a[i] = from[i];
        for (int i = 0; i < 2; i++) b[i] = from[4 + i];
        for (int i = 0; i < 4; i++) d[i] = float_of(from[6 + i]);
        multiply_add(d, a, b);
        for (int i = 0; i < 4; i++) out[(piece * 32 + lane) * 4 + i] = bits_of(d[i]);
    }
}

// A piece: 64 times 4 words to be copied in a first group, as many in a second, 64 words that say with two bits which are
// valid. out: [pieces, 2, 64, 4]: the first group when it has come, then the second; other threads' copies than one's own.
KERNEL(64) probe_copy_async(const u32* in, u32* out, int count) {
    Bytes16* shared = (Bytes16*)shared_memory();
    int thread = thread_id(), other = 63 - thread;
    for (int piece = 0; piece < count; piece++) {
        const u32* from = in + piece * 576;
        const Bytes16* rows = (const Bytes16*)from;
        u32 valid = from[512 + thread];
        Bytes16 before = {{0xdeadbeefu, 0xdeadbeefu, 0xdeadbeefu, 0xdeadbeefu}};
        sync_block();
        shared[thread] = shared[64 + thread] = before;
        sync_block();
        copy_async(shared + thread, rows + thread, valid & 1);
        copy_async_commit();
        copy_async(shared + 64 + thread, rows + 64 + thread, valid & 2);
        copy_async_commit();
        copy_async_wait<1>();
        sync_block();
        Bytes16* to = (Bytes16*)out + piece * 128;
        to[thread] = shared[other];
        copy_async_wait<0>();
        sync_block();
        to[64 + thread] = shared[64 + other];
    }
}

// A piece: for each lane two words and a lane. out: [pieces, 32, 6 * 8 + 1], for every mask the value as f32, f64, int,
// u32 and u64, then what that lane has.
KERNEL(32) probe_shuffles(const u32* in, u32* out, int count) {
    const int MASKS[6] = {1, 2, 4, 8, 16, 31};
    int lane = lane_id();
    for (int piece = 0; piece < count; piece++) {
        const u32* from = in + (piece * 32 + lane) * 3;
        u32* to = out + (piece * 32 + lane) * 49;
        u64 both = (u64)from[1] << 32 | from[0];
        for (int i = 0; i < 6; i++) {
            int mask = MASKS[i];
            to[i * 8] = bits_of(shuffle_xor(float_of(from[0]), mask));
            // An f64 that holds the word exactly, so that nothing depends on how a NaN travels.
            double wide = shuffle_xor((double)from[1], mask);
            to[i * 8 + 1] = (u32)wide;
            to[i * 8 + 2] = bits_of((float)shuffle_xor(wide * 0.5, mask));
            to[i * 8 + 3] = (u32)shuffle_xor((int)from[0], mask);
            to[i * 8 + 4] = shuffle_xor(from[1], mask);
            u64 word = shuffle_xor(both, mask);
            to[i * 8 + 5] = (u32)word;
            to[i * 8 + 6] = (u32)(word >> 32);
            to[i * 8 + 7] = (u32)mask;
        }
        to[48] = shuffle(from[0], (int)(from[2] % 32));
    }
}

// A piece: a word for each lane. out: [pieces, 32, 8]: a ballot over each of the word's lowest eight bits.
KERNEL(32) probe_ballot(const u32* in, u32* out, int count) {
    int lane = lane_id();
    for (int piece = 0; piece < count; piece++)
        for (int bit = 0; bit < 8; bit++)
            out[(piece * 32 + lane) * 8 + bit] = ballot((in[piece * 32 + lane] >> bit & 1) != 0);
}

// A piece: two words. out: [pieces, 4]: bits set in one and in both, the lowest of the first, the highest of both; all
// ones where there is no bit.
KERNEL(128) probe_bits(const u32* in, u32* out, int count) {
    for (int i = thread_id(); i < count; i += thread_count()) {
        u32 low = in[2 * i];
        u64 both = (u64)in[2 * i + 1] << 32 | low;
        out[4 * i] = (u32)count_bits(low);
        out[4 * i + 1] = (u32)count_bits(both);
        out[4 * i + 2] = low ? (u32)lowest_bit(low) : 0xffffffffu;
        out[4 * i + 3] = both ? (u32)highest_bit(both) : 0xffffffffu;
    }
}

// A piece: an f32. out: [pieces, 6]: it and the next one packed, it alone rounded to bf16, the word's halves and its
// lower half as f32, and the ReLU of it.
KERNEL(128) probe_bf16(const u32* in, u32* out, int count) {
    for (int i = thread_id(); i < count; i += thread_count()) {
        u32 word = in[i];
        float value = float_of(word), next = float_of(in[i + 1 < count ? i + 1 : 0]);
        out[6 * i] = pack(value, next);
        out[6 * i + 1] = round_bf16(value);
        out[6 * i + 2] = bits_of(low_half(word));
        out[6 * i + 3] = bits_of(high_half(word));
        out[6 * i + 4] = bits_of(unpack((bf16)(word & 0xffff)));
        out[6 * i + 5] = bits_of(relu(value));
    }
}

// A piece: 128 f32. out: [pieces, 128, 6], the sum over the warp in f32, in f64 (rounded) and of the words, the maximum,
// the sums over the block (thread 0's, the others' are zero) in f32 and in f64 (rounded).
KERNEL(128) probe_sums(const u32* in, u32* out, int count) {
    double* scratch = (double*)shared_memory();
    int thread = thread_id();
    for (int piece = 0; piece < count; piece++) {
        u32 word = in[piece * 128 + thread];
        float value = float_of(word);
        u32* to = out + (piece * 128 + thread) * 6;
        to[0] = bits_of(warp_sum(value));
        to[1] = bits_of((float)warp_sum((double)value));
        to[2] = warp_sum(word);
        to[3] = bits_of(warp_max(value));
        to[4] = bits_of(block_sum(value, (float*)scratch));
        to[5] = bits_of((float)block_sum((double)value, scratch));
    }
}

// A piece: two f32. out: [pieces, 6]: what IEEE 754 defines exactly: quotient, root, quotient and root in f64 (rounded),
// and conversions of the first word as int and as unsigned.
KERNEL(128) probe_arithmetic(const u32* in, u32* out, int count) {
    for (int i = thread_id(); i < count; i += thread_count()) {
        float a = float_of(in[2 * i]), b = float_of(in[2 * i + 1]);
        out[6 * i] = bits_of(a / b);
        out[6 * i + 1] = bits_of(sqrtf(a));
        out[6 * i + 2] = bits_of((float)((double)a / (double)b));
        out[6 * i + 3] = bits_of((float)sqrt((double)a));
        out[6 * i + 4] = bits_of((float)(int)in[2 * i]);
        out[6 * i + 5] = bits_of((float)in[2 * i]);
    }
}

// A piece: an f32. out: [pieces, 2]: exponential and logarithm, which a card does not round as a CPU does.
KERNEL(128) probe_exp_log(const u32* in, u32* out, int count) {
    for (int i = thread_id(); i < count; i += thread_count()) {
        float value = float_of(in[i]);
        out[2 * i] = bits_of(expf(value));
        out[2 * i + 1] = bits_of(logf(value));
    }
}

// A piece: two words. out: [pieces, 3]: the one as f32 to the power of the other; the logarithm in f64 (rounded) of a number
// between 0 and 1 that both make; the sample of the Gumbel distribution that they make.
KERNEL(128) probe_pow_log(const u32* in, u32* out, int count) {
    for (int i = thread_id(); i < count; i += thread_count()) {
        u64 number = (u64)in[2 * i + 1] << 32 | in[2 * i];
        out[3 * i] = bits_of(powf(float_of(in[2 * i]), float_of(in[2 * i + 1])));
        out[3 * i + 1] = bits_of((float)log(wave::between_0_and_1(number)));
        out[3 * i + 2] = bits_of(wave::gumbel(number));
    }
}

// A piece: four words of a counter, two of a key, a code. out: [pieces, 5]: four random words and the code's priority.
KERNEL(128) probe_random(const u32* in, u32* out, int count) {
    for (int i = thread_id(); i < count; i += thread_count()) {
        const u32* from = in + 7 * i;
        rules::Key key = rules::philox({{from[0], from[1], from[2], from[3]}}, from[4], from[5]);
        for (int word = 0; word < 4; word++) out[5 * i + word] = key.words[word];
        out[5 * i + 4] = rules::priority(from[6], key);
    }
}
