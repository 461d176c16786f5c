#include "baseline.h"
#include "libjpeg.h"

static void decode_row(void *context, headrace_scratch *scratch, int64_t row) {
    const headrace_encoded *all = context;
    all->messages[row * HEADRACE_MESSAGE] = 0;
    if (!headrace_decode_baseline(all, scratch, row)) headrace_decode_libjpeg(all, scratch, row);
}

void headrace_decode(const uint8_t *const *files, const int64_t *lengths, int64_t count, const int32_t *headers,
                     const int32_t *denominators, int64_t channels, const double *boxes, const int32_t *turns,
                     const int32_t *sizes, int32_t interpolation, int32_t antialias, const int32_t *places,
                     const int32_t *rows, const int32_t *columns, const void *table, const void *fill,
                     const float *terms, int64_t item_bytes, const int64_t *out_grid, int64_t out_stride, void *out,
                     int32_t threads, char *messages) {
    headrace_encoded all = {
        .files = files, .lengths = lengths, .headers = headers, .denominators = denominators, .boxes = boxes,
        .turns = turns, .sizes = sizes, .filter = {interpolation, antialias},
        .finish = {channels, places, table, fill, terms, item_bytes, out_grid, out_stride, out, rows, columns},
        .messages = messages};
    headrace_each(count, threads, decode_row, &all);
}
