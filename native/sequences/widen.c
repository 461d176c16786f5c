#include "headrace.h"
#include "ranges.h"

#include <string.h>

/* Integers that need not be aligned, as int64. */
#define WIDEN(name, type)                                                                                              \
    HEADRACE_CLONES static void name(const char *HEADRACE_RESTRICT from, int64_t count,                                \
                                     int64_t *HEADRACE_RESTRICT out) {                                                 \
        for (int64_t i = 0; i < count; i++) {                                                                          \
            type value;                                                                                                \
            memcpy(&value, from + (int64_t)sizeof value * i, sizeof value);                                            \
            out[i] = (int64_t)value;                                                                                   \
        }                                                                                                              \
    }

WIDEN(from_uint8, uint8_t)
WIDEN(from_int8, int8_t)
WIDEN(from_uint16, uint16_t)
WIDEN(from_int16, int16_t)
WIDEN(from_uint32, uint32_t)
WIDEN(from_int32, int32_t)
WIDEN(from_int64, int64_t)

typedef void (*widen)(const char *HEADRACE_RESTRICT, int64_t, int64_t *HEADRACE_RESTRICT);

static widen find_widen(int64_t item) {
    switch (item) {
    case 1: return from_uint8;
    case -1: return from_int8;
    case 2: return from_uint16;
    case -2: return from_int16;
    case 4: return from_uint32;
    case -4: return from_int32;
    default: return from_int64;
    }
}

int64_t headrace_widen_ranges(const char *const *sources, const int64_t *sizes, const int64_t *which,
                              const int64_t *offsets, const int64_t *lengths, int64_t count, int64_t item,
                              int64_t *out) {
    const ranges all = {sources, which, offsets, lengths, count};
    const int64_t bytes = item < 0 ? -item : item;
    for (int64_t i = 0; i < count; i++) {
        const int64_t offset = offsets[i], length = lengths[i], size = sizes[which[i]];
        if (offset < 0 || length < 0 || length > size / bytes || offset > size - length * bytes) return i;
    }
    const widen convert = find_widen(item);
    for (int64_t i = 0; i < count; i++) {
        prefetch_after(&all, i);
        convert(range_at(&all, i), lengths[i], out);
        out += lengths[i];
    }
    return -1;
}
