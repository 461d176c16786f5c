#include "headrace.h"
#include "ranges.h"

#include <string.h>

int64_t headrace_gather_ranges(const char *const *sources, const int64_t *sizes, const int64_t *which,
                               const int64_t *offsets, const int64_t *lengths, int64_t count, char *out) {
    const ranges all = {sources, which, offsets, lengths, count};
    const int64_t bad = first_outside(&all, sizes);
    if (bad >= 0) return bad;
    for (int64_t i = 0; i < count; i++) {
        prefetch_after(&all, i);
        memcpy(out, range_at(&all, i), (size_t)lengths[i]);
        out += lengths[i];
    }
    return -1;
}
