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

static const char *window_at(const headrace_windows *all, int64_t i) {
    return all->sources[all->which[i]] + all->offsets[i];
}

static int64_t first_window_outside(const headrace_windows *all, int64_t bytes) {
    const int64_t items = all->length + all->shifts - 1;
    for (int64_t i = 0; i < all->count; i++) {
        const int64_t which = all->which[i], offset = all->offsets[i];
        if (which < 0 || which >= all->source_count || offset < 0) return i;
        const int64_t size = all->sizes[which];
        if (items > size / bytes || offset > size - items * bytes) return i;
    }
    return -1;
}

int64_t headrace_widen_windows(const headrace_windows *windows, int64_t *out) {
    const int64_t item = windows->item, bytes = item < 0 ? -item : item;
    const int64_t wrong = first_window_outside(windows, bytes);
    if (wrong >= 0) return wrong;
    const widen convert = find_widen(item);
    const int64_t length = windows->length, stride = windows->count * length;
    for (int64_t i = 0; i < windows->count; i++) {
        const int64_t next = i + AHEAD;
        if (next < windows->count) prefetch(window_at(windows, next), bytes * length);
        const char *from = window_at(windows, i);
        /* A window is read from memory for the first shift, and from the cache for the others. */
        for (int64_t shift = 0; shift < windows->shifts; shift++)
            convert(from + bytes * shift, length, out + shift * stride + i * length);
    }
    return -1;
}
