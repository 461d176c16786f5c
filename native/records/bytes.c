/* Ranges and records as bytes objects of Python. The objects are made empty, under the GIL; then they are filled without it, so
 * that nobody waits for pages from a disk meanwhile, and each byte is fetched once for its sum and its copy. */
#include "headrace.h"

#include "crc32c.h"
#include "ranges.h"

#include <string.h>

/* Makes the object at a place of the list, and notes what is to be copied there. */
static int make_empty(const headrace_python *python, void *list, int64_t place, headrace_copy *copy) {
    void *bytes = python->make(NULL, (ptrdiff_t)copy->length);
    if (!bytes) return 0;
    copy->to = python->content(bytes);
    return python->set_item(list, (ptrdiff_t)place, bytes) == 0;
}

int64_t headrace_begin_ranges(const char *const *sources, const int64_t *sizes, const int64_t *which,
                              const int64_t *offsets, const int64_t *lengths, int64_t count, headrace_copy *copies,
                              const headrace_python *python, void *list) {
    const ranges all = {sources, which, offsets, lengths, count};
    const int64_t bad = first_outside(&all, sizes);
    if (bad >= 0) return bad;
    for (int64_t i = 0; i < count; i++) {
        copies[i] = (headrace_copy){range_at(&all, i), NULL, lengths[i], 0};
        if (!make_empty(python, list, i, copies + i)) break; /* Python has the error */
    }
    return -1;
}

/* The place of the first row that there is not, or -1. */
static int64_t first_unknown(const headrace_files *files, const int64_t *which, const int64_t *rows, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (which[i] < 0 || which[i] >= files->count || rows[i] < 0 || rows[i] >= files->all[which[i]].count) return i;
    return -1;
}

static int is_outside(const headrace_file *file, const headrace_record *record) {
    return record->offset < 0 || record->length < 0 || record->length > file->size ||
           record->offset > file->size - record->length;
}

int64_t headrace_begin_records(const headrace_files *files, const int64_t *which, const int64_t *rows, int64_t count,
                               headrace_copy *copies, const headrace_python *python, void *list) {
    const int64_t unknown = first_unknown(files, which, rows, count);
    if (unknown >= 0) return unknown;
    for (int64_t i = 0; i < count; i++) {
        const int64_t next = i + 2 * AHEAD < count ? i + 2 * AHEAD : i;
        PREFETCH(files->all[which[next]].records + rows[next]);
        const headrace_file *file = files->all + which[i];
        const headrace_record *record = file->records + rows[i];
        if (is_outside(file, record)) return i;
        copies[i] = (headrace_copy){file->data + record->offset, NULL, record->length, record->crc};
        if (!make_empty(python, list, i, copies + i)) break; /* Python has the error */
    }
    return -1;
}

INLINED void prefetch_copy(const headrace_copy *copies, int64_t count, int64_t i) {
    if (i >= count) return;
    const int64_t bytes = copies[i].length < PREFETCH_BYTES ? copies[i].length : PREFETCH_BYTES;
    for (int64_t offset = 0; offset < bytes; offset += LINE) PREFETCH(copies[i].from + offset);
}

int64_t headrace_fill_bytes(headrace_copy *copies, int64_t count, int verify) {
    crc32c_way way;
    if (verify) headrace_crc32c_choose(&way);
    for (int64_t i = 0; i < AHEAD; i++) prefetch_copy(copies, count, i);
    for (int64_t i = 0; i < count; i++) {
        prefetch_copy(copies, count, i + AHEAD);
        memcpy(copies[i].to, copies[i].from, (size_t)copies[i].length);
        if (!verify) continue;
        const uint32_t found = crc32c_of(&way, (const uint8_t *)copies[i].to, copies[i].length);
        if (found == copies[i].crc) continue;
        copies[i].crc = found;
        return i;
    }
    return -1;
}
