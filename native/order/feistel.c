#include "headrace.h"

enum { ROUNDS = 8, BLOCK = 256 };

struct cipher {
    int low_bits;
    uint32_t low_mask, high_mask;
    uint32_t keys[ROUNDS];
};

static int bit_length(uint64_t value) {
    int bits = 0;
    for (; value; value >>= 1) bits++;
    return bits;
}

static struct cipher make_cipher(uint64_t key, uint64_t length) {
    const int needed = bit_length(length - 1);
    const int bits = needed < 2 ? 2 : needed;
    struct cipher cipher;
    cipher.low_bits = bits / 2;
    cipher.low_mask = (uint32_t)((UINT64_C(1) << cipher.low_bits) - 1);
    cipher.high_mask = (uint32_t)((UINT64_C(1) << (bits - cipher.low_bits)) - 1);
    for (uint32_t i = 0; i < ROUNDS / 4; i++) {
        uint32_t words[4] = {i, 0, HEADRACE_FEISTEL_STREAM, 0};
        headrace_philox_words(key, words);
        for (int w = 0; w < 4; w++) cipher.keys[4 * i + w] = words[w];
    }
    return cipher;
}

static inline uint32_t mix(uint32_t value, uint32_t key) {
    const uint64_t product = (uint64_t)(value ^ key) * HEADRACE_MULTIPLIER_0;
    return (uint32_t)(product >> 32) ^ (uint32_t)product;
}

/* Encrypt in place. The copy of the cipher tells the compiler that writing values does not change it. */
HEADRACE_CLONES
static void encrypt(const struct cipher *shared, uint64_t *values, int count) {
    const struct cipher cipher = *shared;
    for (int i = 0; i < count; i++) {
        uint32_t low = (uint32_t)values[i] & cipher.low_mask;
        uint32_t high = (uint32_t)(values[i] >> cipher.low_bits);
        for (int round = 0; round < ROUNDS; round += 2) {
            high ^= mix(low, cipher.keys[round]) & cipher.high_mask;
            low ^= mix(high, cipher.keys[round + 1]) & cipher.low_mask;
        }
        values[i] = (uint64_t)high << cipher.low_bits | low;
    }
}

/* Move the values below length to their slots in out; keep the others, and their slots, in front. */
static int settle(uint64_t length, uint64_t *values, int *slots, int count, uint64_t *out) {
    int outside = 0;
    for (int i = 0; i < count; i++) {
        const uint64_t value = values[i];
        const int slot = slots[i];
        out[slot] = value; /* a value outside is overwritten by a later walk: cheaper than a branch */
        values[outside] = value;
        slots[outside] = slot;
        outside += value >= length;
    }
    return outside;
}

void headrace_feistel(uint64_t key, uint64_t length, uint64_t start, uint64_t stop, uint64_t *out) {
    const struct cipher cipher = make_cipher(key, length);
    uint64_t values[BLOCK];
    int slots[BLOCK];
    while (start < stop) {
        const int size = stop - start < BLOCK ? (int)(stop - start) : BLOCK;
        for (int i = 0; i < size; i++) {
            values[i] = start + (uint64_t)i;
            slots[i] = i;
        }
        for (int outside = size; outside > 0;) {
            encrypt(&cipher, values, outside);
            outside = settle(length, values, slots, outside, out);
        }
        start += (uint64_t)size;
        out += size;
    }
}
