/* Ranges of bytes of several sources, for the kernels that go through them. */
#ifndef HEADRACE_RANGES_H
#define HEADRACE_RANGES_H

#include "prefetch.h"

#include <stdint.h>

enum { LINE = 64, AHEAD = 6 };

/* Beyond this many bytes of a range the processor's own prefetcher has caught on. */
enum { PREFETCH_BYTES = 1024 };

/* Range i is lengths[i] bytes at offsets[i] of source which[i]. */
typedef struct {
    const char *const *sources;
    const int64_t *which, *offsets, *lengths;
    int64_t count;
} ranges;

static inline const char *range_at(const ranges *all, int64_t i) { return all->sources[all->which[i]] + all->offsets[i]; }

/* Bring the begin of so many bytes near. */
INLINED void prefetch(const char *start, int64_t bytes) {
    const int64_t near = bytes < PREFETCH_BYTES ? bytes : PREFETCH_BYTES;
    for (int64_t offset = 0; offset < near; offset += LINE) PREFETCH(start + offset);
}

/* Bring a range near that comes a little after range i. */
INLINED void prefetch_after(const ranges *all, int64_t i) {
    const int64_t next = i + AHEAD;
    if (next < all->count) prefetch(range_at(all, next), all->lengths[next]);
}

/* The place of the first range outside of its source, or -1. */
static inline int64_t first_outside(const ranges *all, const int64_t *sizes) {
    for (int64_t i = 0; i < all->count; i++) {
        const int64_t offset = all->offsets[i], length = all->lengths[i], size = sizes[all->which[i]];
        if (offset < 0 || length < 0 || length > size || offset > size - length) return i;
    }
    return -1;
}

#endif
