#include "headrace.h"

#include <string.h>

#define DLPACK_MAJOR 1
#define DLPACK_CPU 1
#define DLPACK_MOST_DIMENSIONS 8

/* The part of DLPack's dlpack.h, version 1, that is used here: a tensor, and the table of functions by which a framework
 * lends its own. */
typedef struct {
    void *data;
    int32_t device_type, device_id;
    int32_t dimensions;
    uint8_t code, bits;
    uint16_t lanes;
    const int64_t *shape, *strides;
    uint64_t offset;
} dlpack_tensor;

typedef struct dlpack_api {
    uint32_t major, minor;
    const struct dlpack_api *older;
    void *allocate, *lend, *take;
    int (*view)(void *object, dlpack_tensor *tensor);
} dlpack_api;

static const dlpack_api *known_version(const dlpack_api *api) {
    while (api && api->major != DLPACK_MAJOR) api = api->older;
    return api && api->view ? api : NULL;
}

static int is_sequence(const dlpack_tensor *tensor, const dlpack_tensor *first, int64_t item_bytes) {
    if (tensor->device_type != DLPACK_CPU || tensor->dimensions != 1) return 0;
    if (tensor->code != first->code || tensor->bits != first->bits || tensor->lanes != 1) return 0;
    if ((int64_t)tensor->bits != 8 * item_bytes) return 0;
    return !tensor->strides || tensor->strides[0] == 1 || tensor->shape[0] <= 1;
}

int64_t headrace_find_tensors(const headrace_buffers *python, const void *exchange, void *list, int64_t count,
                              int64_t item_bytes, const char **starts, int64_t *lengths) {
    const dlpack_api *api = known_version(exchange);
    dlpack_tensor first = {0};
    int64_t longest = 0;
    for (int64_t i = 0; i < count; i++) {
        dlpack_tensor tensor = {0};
        void *object = python->item(list, (ptrdiff_t)i);
        if (!api || !object || api->view(object, &tensor) < 0) {
            python->clear();
            return -1 - i;
        }
        if (!i) first = tensor;
        if (!is_sequence(&tensor, &first, item_bytes)) return -1 - i;
        starts[i] = (const char *)tensor.data + tensor.offset;
        lengths[i] = tensor.shape[0];
        if (lengths[i] > longest) longest = lengths[i];
    }
    return longest;
}

/* Whether a tensor has the dtype and shape of another one, and no gaps. */
static int is_alike(const dlpack_tensor *tensor, const dlpack_tensor *first) {
    if (tensor->device_type != DLPACK_CPU || tensor->dimensions != first->dimensions) return 0;
    if (tensor->code != first->code || tensor->bits != first->bits || tensor->lanes != 1) return 0;
    int64_t items = 1;
    for (int32_t axis = tensor->dimensions - 1; axis >= 0; axis--) {
        const int64_t size = tensor->shape[axis];
        if (size != first->shape[axis]) return 0;
        if (tensor->strides && size > 1 && tensor->strides[axis] != items) return 0;
        items *= size;
    }
    return 1;
}

static int64_t bytes_of(const dlpack_tensor *tensor) {
    int64_t bits = tensor->bits;
    for (int32_t axis = 0; axis < tensor->dimensions; axis++) bits *= tensor->shape[axis];
    return bits / 8;
}

int64_t headrace_stack_tensors(const headrace_buffers *python, const void *exchange, void *list, int64_t count,
                               int64_t bytes, char *out) {
    const dlpack_api *api = known_version(exchange);
    int64_t shape[DLPACK_MOST_DIMENSIONS];
    dlpack_tensor first = {0};
    for (int64_t i = 0; i < count; i++) {
        dlpack_tensor tensor = {0};
        void *object = python->item(list, (ptrdiff_t)i);
        if (!api || !object || api->view(object, &tensor) < 0) {
            python->clear();
            return i;
        }
        if (!i) {
            if (tensor.dimensions > DLPACK_MOST_DIMENSIONS || bytes_of(&tensor) != bytes) return i;
            first = tensor;
            memcpy(shape, tensor.shape, sizeof(int64_t) * (size_t)tensor.dimensions);
            first.shape = shape; /* the tensor's own may be elsewhere once another one is looked at */
        }
        if (!is_alike(&tensor, &first)) return i;
        memcpy(out + i * bytes, (const char *)tensor.data + tensor.offset, (size_t)bytes);
    }
    return -1;
}
