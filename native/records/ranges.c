#include "headrace.h"
#include "ranges.h"

#include <string.h>

enum { PAGE = 4096 }; /* some systems have larger ones, none smaller ones */

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

int64_t headrace_touch_ranges(const char *const *sources, const int64_t *sizes, const int64_t *which,
                              const int64_t *offsets, const int64_t *lengths, int64_t count) {
    const ranges all = {sources, which, offsets, lengths, count};
    const int64_t bad = first_outside(&all, sizes);
    if (bad >= 0) return bad;
    for (int64_t i = 0; i < count; i++) {
        prefetch_after(&all, i);
        const volatile char *start = range_at(&all, i);
        for (int64_t offset = 0; offset < lengths[i]; offset += PAGE) (void)start[offset];
        if (lengths[i]) (void)start[lengths[i] - 1];
    }
    return -1;
}

int64_t headrace_slice_ranges(const char *const *sources, const int64_t *sizes, const int64_t *which,
                              const int64_t *offsets, const int64_t *lengths, int64_t count,
                              headrace_make_bytes make, headrace_set_item set_item, void *list) {
    const ranges all = {sources, which, offsets, lengths, count};
    const int64_t bad = first_outside(&all, sizes);
    if (bad >= 0) return bad;
    for (int64_t i = 0; i < count; i++) {
        prefetch_after(&all, i);
        void *bytes = make(range_at(&all, i), (ptrdiff_t)lengths[i]);
        if (!bytes || set_item(list, (ptrdiff_t)i, bytes) != 0) break; /* Python has the error */
    }
    return -1;
}
