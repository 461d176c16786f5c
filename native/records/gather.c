#include "headrace.h"

#include "prefetch.h"

#include <string.h>

enum { LINE = 64, AHEAD = 32 };

/* Beyond this many lines of a row the processor's own prefetcher has caught on. */
enum { PREFETCH_LINES = 16 };

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

INLINED void prefetch_row(headrace_rows from, int64_t lines, int64_t index) {
    const char *row = from.source + index * from.stride;
    for (int64_t line = 0; line < lines; line++) PREFETCH(row + line * LINE);
}

/* How many rows are on their way at a time: as many lines as a core can wait for, whatever the size of a row. */
INLINED int64_t rows_ahead(int64_t lines, int64_t count) {
    const int64_t ahead = AHEAD / lines > 2 ? AHEAD / lines : 2;
    return ahead < count ? ahead : count;
}

/* Rows of a few bytes: the copy is a move or two, where the compiler knows their size. */
INLINED void gather_small(headrace_rows from, int64_t bytes, const int64_t *indices, int64_t count, char *out) {
    const int64_t lines = (bytes + LINE - 1) / LINE, ahead = rows_ahead(lines, count);
    for (int64_t i = 0; i < ahead; i++) prefetch_row(from, lines, indices[i]);
    int64_t i = 0;
    for (; i < count - ahead; i++) {
        prefetch_row(from, lines, indices[i + ahead]);
        memcpy(out + i * bytes, from.source + indices[i] * from.stride, (size_t)bytes);
    }
    for (; i < count; i++) memcpy(out + i * bytes, from.source + indices[i] * from.stride, (size_t)bytes);
}

/* The number of rows from place i on that lie one behind the other in the source. */
static int64_t run_length(const int64_t *indices, int64_t i, int64_t count) {
    int64_t run = 1;
    while (i + run < count && indices[i + run] == indices[i] + run) run++;
    return run;
}

static void gather_any(headrace_rows from, const int64_t *indices, int64_t count, char *out) {
    const int adjacent = from.stride == from.bytes;
    const int64_t all_lines = (from.bytes + LINE - 1) / LINE;
    const int64_t lines = all_lines < PREFETCH_LINES ? all_lines : PREFETCH_LINES, ahead = rows_ahead(lines, count);
    for (int64_t i = 0; i < ahead; i++) prefetch_row(from, lines, indices[i]);
    for (int64_t i = 0; i < count;) {
        const int64_t run = adjacent ? run_length(indices, i, count) : 1;
        if (i + ahead < count) prefetch_row(from, lines, indices[i + ahead]);
        memcpy(out + i * from.bytes, from.source + indices[i] * from.stride, (size_t)(run * from.bytes));
        i += run;
    }
}

static void gather(headrace_rows from, const int64_t *indices, int64_t count, char *out) {
    switch (from.bytes) {
    case 0:
        break;
#define SMALL(bytes) \
    case bytes: \
        gather_small(from, bytes, indices, count, out); \
        break;
        SMALL(1)
        SMALL(2)
        SMALL(4)
        SMALL(8)
        SMALL(12)
        SMALL(16)
        SMALL(24)
        SMALL(32)
        SMALL(48)
        SMALL(64)
        SMALL(96)
        SMALL(128)
        SMALL(256)
#undef SMALL
    default:
        gather_any(from, indices, count, out);
    }
}

int64_t headrace_gather(const headrace_rows *columns, int64_t width, int64_t rows, const int64_t *indices, int64_t count,
                        char *const *out) {
    const int64_t outside = first_outside(rows, indices, count);
    if (outside >= 0) return outside;
    for (int64_t i = 0; i < width; i++) gather(columns[i], indices, count, out[i]);
    return -1;
}

int64_t headrace_gather_shards(const headrace_rows *shards, const int64_t *lengths, int64_t width, const int64_t *which,
                               const int64_t *rows, int64_t count, char *out) {
    for (int64_t i = 0; i < count; i++)
        if (which[i] < 0 || which[i] >= width || rows[i] < 0 || rows[i] >= lengths[which[i]]) return i;
    const int64_t bytes = width ? shards[0].bytes : 0, all_lines = (bytes + LINE - 1) / LINE;
    if (!bytes) return -1;
    const int64_t lines = all_lines < PREFETCH_LINES ? all_lines : PREFETCH_LINES, ahead = rows_ahead(lines, count);
    for (int64_t i = 0; i < ahead; i++) prefetch_row(shards[which[i]], lines, rows[i]);
    for (int64_t i = 0; i < count; i++) {
        if (i + ahead < count) prefetch_row(shards[which[i + ahead]], lines, rows[i + ahead]);
        const headrace_rows from = shards[which[i]];
        memcpy(out + i * bytes, from.source + rows[i] * from.stride, (size_t)bytes);
    }
    return -1;
}

/* The row at an index of shards end to end. */
static const char *row_of(const headrace_rows *shards, const int64_t *bounds, int64_t width, int64_t index) {
    int64_t shard = 0;
    for (int64_t left = width; left > 1;) { /* without a branch on what is found, which nothing could predict */
        const int64_t half = left / 2;
        shard += bounds[shard + half] <= index ? half : 0;
        left -= half;
    }
    return shards[shard].source + (index - bounds[shard]) * shards[shard].stride;
}

INLINED void prefetch_lines(const char *row, int64_t lines) {
    for (int64_t line = 0; line < lines; line++) PREFETCH(row + line * LINE);
}

int64_t headrace_gather_joined(const headrace_rows *shards, const int64_t *bounds, int64_t width, const int64_t *indices,
                               int64_t count, char *out) {
    const int64_t outside = first_outside(width ? bounds[width] : 0, indices, count);
    if (outside >= 0) return outside;
    const int64_t bytes = width ? shards[0].bytes : 0, all_lines = (bytes + LINE - 1) / LINE;
    if (!bytes || !count) return -1;
    const int64_t lines = all_lines < PREFETCH_LINES ? all_lines : PREFETCH_LINES, ahead = rows_ahead(lines, count);
    const char *coming[AHEAD]; /* the next rows, of which the first stands at `first` */
    for (int64_t i = 0; i < ahead; i++) prefetch_lines(coming[i] = row_of(shards, bounds, width, indices[i]), lines);
    for (int64_t i = 0, first = 0; i < count; i++, first = first + 1 < ahead ? first + 1 : 0) {
        const char *row = coming[first];
        if (i + ahead < count)
            prefetch_lines(coming[first] = row_of(shards, bounds, width, indices[i + ahead]), lines);
        memcpy(out + i * bytes, row, (size_t)bytes);
    }
    return -1;
}
