#include "headrace.h"

/* The van der Corput sequence in base 2 on 62 bits: position t has the value of its bits in reverse. Positions base to
 * base + 2^bits, base being a multiple of 2^bits, have values offset + j * 2^(62 - bits) for j = 0 ... 2^bits - 1. */

enum { BITS = 62 };

/* How many of the values offset + j * step lie below bound. */
static inline int64_t below(uint64_t bound, uint64_t offset, int bits) {
    const uint64_t step = UINT64_C(1) << (BITS - bits);
    return bound > offset ? (int64_t)((bound - offset + step - 1) >> (BITS - bits)) : 0;
}

static int64_t count(uint64_t position, uint64_t bound) {
    int64_t found = 0;
    uint64_t offset = 0;
    for (int bits = BITS - 1; bits >= 0; bits--) {
        if (!(position >> bits & 1)) continue;
        found += below(bound, offset, bits);
        offset |= UINT64_C(1) << (BITS - 1 - bits);
    }
    return found;
}

void headrace_radical_count(const int64_t *positions, const uint64_t *bounds, int64_t size, int64_t *out) {
    for (int64_t i = 0; i < size; i++) out[i] = count((uint64_t)positions[i], bounds[i]);
}

static int64_t find(uint64_t low, uint64_t high, int64_t rank) {
    uint64_t offset = 0, position = 0;
    for (int bits = BITS - 1; bits >= 0; bits--) {
        const int64_t here = below(high, offset, bits) - below(low, offset, bits);
        if (rank < here) continue;
        rank -= here;
        position |= UINT64_C(1) << bits;
        offset |= UINT64_C(1) << (BITS - 1 - bits);
    }
    return (int64_t)position;
}

void headrace_radical_find(const uint64_t *lows, const uint64_t *highs, const int64_t *ranks, int64_t size,
                           int64_t *out) {
    for (int64_t i = 0; i < size; i++) out[i] = find(lows[i], highs[i], ranks[i]);
}
