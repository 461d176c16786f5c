#include "headrace.h"

#include <string.h>

#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) ((void)(address))
#endif

enum { LINE = 64, AHEAD = 8, AHEAD_SMALL = 32 };

/* Beyond this many bytes of a row the processor's own prefetcher has caught on. */
static const int64_t PREFETCH_BYTES = 1024;

static int64_t first_outside(int64_t rows, const int64_t *indices, int64_t count) {
    uint64_t largest = 0;
    for (int64_t i = 0; i < count; i++) { /* a negative index is a huge one here; no exit, so that it vectorises */
        const uint64_t index = (uint64_t)indices[i];
        largest = index > largest ? index : largest;
    }
    if (count == 0 || largest < (uint64_t)rows) return -1;
    int64_t i = 0;
    while ((uint64_t)indices[i] < (uint64_t)rows) i++;
    return i;
}

/* Rows of a few bytes: the copy is a move or two, where the compiler knows row_bytes. */
static inline void gather_small(const char *source, int64_t row_stride, int64_t row_bytes, const int64_t *indices,
                                int64_t count, char *out) {
    for (int64_t i = 0; i < count; i++) {
        if (i + AHEAD_SMALL < count) PREFETCH(source + indices[i + AHEAD_SMALL] * row_stride);
        memcpy(out + i * row_bytes, source + indices[i] * row_stride, (size_t)row_bytes);
    }
}

static void prefetch_row(const char *row, int64_t row_bytes) {
    const int64_t bytes = row_bytes < PREFETCH_BYTES ? row_bytes : PREFETCH_BYTES;
    for (int64_t offset = 0; offset < bytes; offset += LINE) PREFETCH(row + offset);
}

/* The number of rows from place i on that lie one behind the other in the source. */
static int64_t run_length(const int64_t *indices, int64_t i, int64_t count) {
    int64_t run = 1;
    while (i + run < count && indices[i + run] == indices[i] + run) run++;
    return run;
}

static void gather_rows(const char *source, int64_t row_stride, int64_t row_bytes, const int64_t *indices,
                        int64_t count, char *out) {
    const int adjacent = row_stride == row_bytes;
    for (int64_t i = 0; i < count;) {
        const int64_t run = adjacent ? run_length(indices, i, count) : 1;
        if (i + AHEAD < count) prefetch_row(source + indices[i + AHEAD] * row_stride, row_bytes);
        memcpy(out + i * row_bytes, source + indices[i] * row_stride, (size_t)(run * row_bytes));
        i += run;
    }
}

int64_t headrace_gather(const char *source, int64_t row_stride, int64_t row_bytes, int64_t rows,
                        const int64_t *indices, int64_t count, char *out) {
    const int64_t outside = first_outside(rows, indices, count);
    if (outside >= 0 || row_bytes == 0) return outside;
    switch (row_bytes) {
#define SMALL(bytes) \
    case bytes: \
        gather_small(source, row_stride, bytes, indices, count, out); \
        break;
        SMALL(1)
        SMALL(2)
        SMALL(4)
        SMALL(8)
        SMALL(12)
        SMALL(16)
        SMALL(24)
        SMALL(32)
#undef SMALL
    default:
        gather_rows(source, row_stride, row_bytes, indices, count, out);
    }
    return -1;
}
