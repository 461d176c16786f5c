#include "headrace.h"

#include <string.h>

#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) ((void)(address))
#endif

enum { LINE = 64, AHEAD = 6 };

/* Beyond this many bytes of a range the processor's own prefetcher has caught on. */
static const int64_t PREFETCH_BYTES = 1024;

static int lies_outside(int64_t offset, int64_t length, int64_t size) {
    return offset < 0 || length < 0 || length > size || offset > size - length;
}

static void prefetch_range(const char *start, int64_t length) {
    const int64_t bytes = length < PREFETCH_BYTES ? length : PREFETCH_BYTES;
    for (int64_t offset = 0; offset < bytes; offset += LINE) PREFETCH(start + offset);
}

int64_t headrace_gather_ranges(const char *const *sources, const int64_t *sizes, const int64_t *which,
                               const int64_t *offsets, const int64_t *lengths, int64_t count, char *out) {
    for (int64_t i = 0; i < count; i++)
        if (lies_outside(offsets[i], lengths[i], sizes[which[i]])) return i;
    for (int64_t i = 0; i < count; i++) {
        const int64_t next = i + AHEAD;
        if (next < count) prefetch_range(sources[which[next]] + offsets[next], lengths[next]);
        memcpy(out, sources[which[i]] + offsets[i], (size_t)lengths[i]);
        out += lengths[i];
    }
    return -1;
}
