#include "headrace.h"

#define PYBUF_ND 0x0008 /* of Python's stable ABI: with a shape, and C-contiguous */

/* Python's Py_buffer, as the stable ABI has it from Python 3.11 on. */
typedef struct {
    void *start, *object;
    ptrdiff_t bytes, item_bytes;
    int is_readonly, dimensions;
    char *format;
    ptrdiff_t *shape, *strides, *suboffsets;
    void *internal;
} python_buffer;

int64_t headrace_find_sequences(const headrace_buffers *python, void *list, int64_t count, int64_t item_bytes,
                                const char **starts, int64_t *lengths) {
    int64_t longest = 0;
    for (int64_t i = 0; i < count; i++) {
        python_buffer buffer;
        void *object = python->item(list, (ptrdiff_t)i);
        if (!object || python->open(object, &buffer, PYBUF_ND) < 0) {
            python->clear();
            return -1 - i;
        }
        const int fits = buffer.dimensions == 1 && buffer.item_bytes == item_bytes;
        starts[i] = buffer.start;
        lengths[i] = fits ? (int64_t)buffer.shape[0] : 0;
        python->close(&buffer);
        if (!fits) return -1 - i;
        if (lengths[i] > longest) longest = lengths[i];
    }
    return longest;
}
