#include "encoded.h"

int headrace_begin_image(headrace_scaling *scaling, headrace_scratch *scratch, const headrace_encoded *all,
                         int64_t row) {
    return headrace_begin_scaling(scaling, scratch, all->finish, row, all->scaled);
}

headrace_part headrace_stored_part(const headrace_scaling *scaling, int32_t turn, int64_t height, int64_t width) {
    const int swapped = (turn & HEADRACE_TRANSPOSED) != 0;
    const int64_t rows = scaling->rows.source_end - scaling->rows.source;
    const int64_t columns = scaling->columns.source_end - scaling->columns.source;
    int64_t top = scaling->rows.source, left = scaling->columns.source;
    if (turn & HEADRACE_ROWS_MIRRORED) top = (swapped ? width : height) - top - rows;
    if (turn & HEADRACE_COLUMNS_MIRRORED) left = (swapped ? height : width) - left - columns;
    const headrace_part turned = {top, left, rows, columns}, stored = {left, top, columns, rows};
    return swapped ? stored : turned;
}

int headrace_scale_part(headrace_scaling *scaling, headrace_scratch *scratch, int32_t turn, const headrace_part *part,
                        const uint8_t *pixels, int64_t row_bytes) {
    const int swapped = (turn & HEADRACE_TRANSPOSED) != 0;
    const int64_t channels = scaling->finish->channels;
    const uint8_t *end = pixels + (part->height - 1) * row_bytes + part->width * channels + HEADRACE_SLACK;
    int64_t y_stride = swapped ? channels : row_bytes, x_stride = swapped ? row_bytes : channels;
    if (turn & HEADRACE_ROWS_MIRRORED)
        pixels += y_stride * ((swapped ? part->width : part->height) - 1), y_stride = -y_stride;
    if (turn & HEADRACE_COLUMNS_MIRRORED)
        pixels += x_stride * ((swapped ? part->height : part->width) - 1), x_stride = -x_stride;
    return headrace_scale_rows(scaling, scratch, pixels, y_stride, x_stride, 1, end);
}

int headrace_has_end(const uint8_t *bytes, size_t count) {
    for (; count >= 2; count--)
        if (bytes[count - 2] == 0xFF && bytes[count - 1] == 0xD9) return 1;
    return 0;
}
