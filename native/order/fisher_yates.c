#include "headrace.h"

/* draw * size >> 64 without a 128-bit type; size is at most 2^32, so nothing overflows. */
static uint64_t scale(uint64_t low, uint64_t high, uint64_t size) {
    return (high * size + (low * size >> 32)) >> 32;
}

static void swap(int64_t *out, int64_t i, uint64_t j) {
    const int64_t value = out[i];
    out[i] = out[j];
    out[j] = value;
}

void headrace_fisher_yates(uint64_t key, int64_t length, int64_t *out) {
    for (int64_t i = 0; i < length; i++) out[i] = i;
    uint32_t words[4];
    for (int64_t i = length - 1; i > 0; i--) {
        const uint64_t pair = (uint64_t)i >> 1;
        if (i == length - 1 || (i & 1)) { /* one block of words serves two neighbouring positions */
            words[0] = (uint32_t)pair;
            words[1] = (uint32_t)(pair >> 32);
            words[2] = HEADRACE_FISHER_YATES_STREAM;
            words[3] = 0;
            headrace_philox_words(key, words);
        }
        const int half = 2 * (int)(i & 1);
        swap(out, i, scale(words[half], words[half + 1], (uint64_t)i + 1));
    }
}
