#include "images.h"

#include <stdio.h>
#include <string.h>

/* ---- headers, which need no decoder */

typedef struct {
    const uint8_t *data;
    int64_t length;
    int big; /* whether numbers begin with their high byte */
} bytes;

static int64_t number(const bytes *from, int64_t at, int size) {
    int64_t value = 0;
    if (at < 0 || at > from->length - size) return -1;
    for (int i = 0; i < size; i++) value = value << 8 | from->data[from->big ? at + i : at + size - 1 - i];
    return value;
}

/* The orientation in EXIF data, 1 to 8; 1, which is upright, where it says nothing that can be understood. */
static int32_t orientation(const uint8_t *data, int64_t length) {
    bytes exif = {data, length, 0};
    if (length < 8 || (memcmp(data, "II*\0", 4) && memcmp(data, "MM\0*", 4))) return 1;
    exif.big = data[0] == 'M';
    const int64_t start = number(&exif, 4, 4), count = number(&exif, start, 2);
    for (int64_t entry = start + 2; entry < start + 2 + 12 * count; entry += 12) {
        if (number(&exif, entry, 2) != 0x0112) {
            if (entry > length - 10) break;
            continue;
        }
        const int is_long = number(&exif, entry + 2, 2) == 4;
        if (entry > length - 10) break;
        const int64_t value = number(&exif, entry + 8, is_long ? 4 : 2);
        return value >= 1 && value <= 8 ? (int32_t)value : 1;
    }
    return 1;
}

/* Whether a marker begins a frame: height, width and components follow. */
static int begins_frame(int marker) {
    return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

static void read_header(const uint8_t *data, int64_t length, int32_t *out) {
    const bytes file = {data, length, 1};
    int64_t at = 2;
    int exif = 0;
    memset(out, 0, 4 * sizeof *out);
    out[3] = 1;
    while (number(&file, 0, 2) == 0xFFD8 && number(&file, at, 1) == 0xFF) {
        const int64_t marker = number(&file, at + 1, 1);
        if (marker == 0xFF) { /* a byte of filling */
            at++;
            continue;
        }
        if (marker < 0 || marker == 0xDA || marker == 0xD9) break;
        const int64_t size = number(&file, at + 2, 2), end = at + 2 + (size < 2 ? 2 : size);
        const int64_t stop = end < length ? end : length;
        if (begins_frame((int)marker) && !out[2] && number(&file, at + 9, 1) > 0 && at + 10 <= stop) {
            out[0] = (int32_t)number(&file, at + 5, 2);
            out[1] = (int32_t)number(&file, at + 7, 2);
            out[2] = (int32_t)number(&file, at + 9, 1);
        }
        if (marker == 0xE1 && !exif && stop - at >= 10 && !memcmp(data + at + 4, "Exif\0", 6)) {
            exif = 1;
            out[3] = orientation(data + at + 10, stop - at - 10);
        }
        at = end;
    }
    if (!out[0] || !out[1]) memset(out, 0, 4 * sizeof *out);
}

void headrace_jpeg_headers(const uint8_t *const *files, const int64_t *lengths, int64_t count, int32_t *out) {
    for (int64_t i = 0; i < count; i++) read_header(files[i], lengths[i], out + i * 4);
}

/* ---- decoding */

#ifndef HEADRACE_JPEG

int headrace_decodes(void) { return 0; }

void headrace_decode(const uint8_t *const *files, const int64_t *lengths, int64_t count, const int32_t *headers,
                     const int32_t *denominators, int64_t channels, const double *boxes, const int32_t *turns,
                     const int32_t *sizes, int32_t interpolation, int32_t antialias, const int32_t *places,
                     const void *table, const void *fill, const float *terms, int64_t item_bytes,
                     const int64_t *out_grid, int64_t out_stride, void *out, int32_t threads, char *messages) {
    (void)files, (void)lengths, (void)headers, (void)denominators, (void)channels, (void)boxes, (void)turns;
    (void)sizes, (void)interpolation, (void)antialias, (void)places, (void)table, (void)fill, (void)terms;
    (void)item_bytes, (void)out_grid, (void)out_stride, (void)out, (void)threads;
    for (int64_t i = 0; i < count; i++)
        snprintf(messages + i * HEADRACE_MESSAGE, HEADRACE_MESSAGE, "no decoder was there when headrace was built");
}

#else

#include <jpeglib.h>
#include <setjmp.h>

enum {
    MARGIN = 8,       /* pixels around the window that are decoded, too: colours spread over their neighbours */
    MOST_SCANS = 100, /* of a progressive image; who writes more wants to keep the decoder busy */
    PIXELS = HEADRACE_SLOTS - 1
};

/* How an image failed: where to go on, and why. */
typedef struct {
    struct jpeg_error_mgr base; /* first, so that libjpeg's pointer is one to all of it */
    jmp_buf escape;
    char *message;
} failure;

static void fail(j_common_ptr codec) {
    failure *to = (failure *)codec->err;
    to->base.format_message(codec, to->message);
    longjmp(to->escape, 1);
}

/* A warning says that data are damaged; whoever reads on gets pixels that were never in the image. */
static void warn(j_common_ptr codec, int level) {
    if (level < 0) fail(codec);
}

static void say_nothing(j_common_ptr codec) { (void)codec; }

static void refuse(failure *to, const char *reason) {
    snprintf(to->message, HEADRACE_MESSAGE, "%s", reason);
    longjmp(to->escape, 1);
}

static void check_scans(j_common_ptr codec) {
    if (((j_decompress_ptr)codec)->input_scan_number > MOST_SCANS) refuse((failure *)codec->err, "it has too many scans");
}

/* Pixels end with a marker; without it the file is cut off, perhaps behind what is decoded. */
static int has_end(const struct jpeg_source_mgr *pixels) {
    const uint8_t *data = pixels->next_input_byte;
    for (size_t at = pixels->bytes_in_buffer; at >= 2; at--)
        if (data[at - 2] == 0xFF && data[at - 1] == 0xD9) return 1;
    return 0;
}

typedef struct {
    const uint8_t *const *files;
    const int64_t *lengths;
    const int32_t *headers, *denominators;
    const double *boxes;
    const int32_t *turns, *sizes;
    headrace_filter filter;
    headrace_finish finish;
    char *messages;
} encoded;

/* A part of the decoded image, as stored. */
typedef struct {
    int64_t top, left, height, width;
} part;

/* The part that becomes the rows and columns which the scaling needs once the image is turned. */
static part stored_part(const headrace_scaling *scaling, int32_t turn, int64_t height, int64_t width) {
    const int swapped = (turn & HEADRACE_TRANSPOSED) != 0;
    const int64_t rows = scaling->rows.source_end - scaling->rows.source;
    const int64_t columns = scaling->columns.source_end - scaling->columns.source;
    int64_t top = scaling->rows.source, left = scaling->columns.source;
    if (turn & HEADRACE_ROWS_MIRRORED) top = (swapped ? width : height) - top - rows;
    if (turn & HEADRACE_COLUMNS_MIRRORED) left = (swapped ? height : width) - left - columns;
    const part turned = {top, left, rows, columns}, stored = {left, top, columns, rows};
    return swapped ? stored : turned;
}

static void begin(j_decompress_ptr codec, const encoded *all, int64_t row) {
    failure *to = (failure *)codec->err;
    const int32_t *header = all->headers + row * 4;
    jpeg_mem_src(codec, all->files[row], (unsigned long)all->lengths[row]);
    jpeg_read_header(codec, TRUE);
    if ((int64_t)codec->image_height != header[0] || (int64_t)codec->image_width != header[1])
        refuse(to, "it has two sizes");
    if (codec->num_components != 3 && codec->num_components != 1) refuse(to, "its colours are not known here");
    if (codec->num_components > all->finish.channels) refuse(to, "it has colours, but grey is asked for");
    if (!has_end(codec->src)) refuse(to, "it has no end");
    codec->out_color_space = all->finish.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    codec->scale_num = 1;
    codec->scale_denom = (unsigned)all->denominators[row];
    jpeg_start_decompress(codec);
}

/* Decode no column but those of the part and some beside it. Returns how many bytes of a row lie before the part. */
static int64_t crop(j_decompress_ptr codec, const part *of) {
    JDIMENSION left = of->left > MARGIN ? (JDIMENSION)(of->left - MARGIN) : 0;
    const int64_t right = of->left + of->width + MARGIN;
    JDIMENSION width = (right < codec->output_width ? (JDIMENSION)right : codec->output_width) - left;
    if (width < codec->output_width) jpeg_crop_scanline(codec, &left, &width);
    return (of->left - (int64_t)left) * codec->output_components;
}

static void skip(j_decompress_ptr codec, int64_t rows) {
    if (rows > 0) jpeg_skip_scanlines(codec, (JDIMENSION)rows);
}

static void read_row(j_decompress_ptr codec, uint8_t *row) {
    JSAMPROW rows[1] = {row};
    if (jpeg_read_scanlines(codec, rows, 1) != 1) refuse((failure *)codec->err, "it has too few rows");
}

static void *memory(j_decompress_ptr codec, headrace_scratch *scratch, size_t size) {
    void *block = headrace_memory(scratch, PIXELS, size);
    if (!block) refuse((failure *)codec->err, "memory is missing");
    return block;
}

/* Decode the part into memory, where it can be turned. */
static void read_part(j_decompress_ptr codec, headrace_scratch *scratch, headrace_scaling *scaling, int32_t turn) {
    const part of = stored_part(scaling, turn, codec->output_height, codec->output_width);
    const int64_t before = crop(codec, &of), channels = codec->output_components;
    const int64_t row_bytes = (int64_t)codec->output_width * channels;
    uint8_t *pixels = memory(codec, scratch, (size_t)(of.height * row_bytes));
    skip(codec, of.top);
    for (int64_t row = 0; row < of.height; row++) read_row(codec, pixels + row * row_bytes);
    const uint8_t *end = pixels + of.height * row_bytes + HEADRACE_SLACK;
    const int swapped = (turn & HEADRACE_TRANSPOSED) != 0;
    int64_t y_stride = swapped ? channels : row_bytes, x_stride = swapped ? row_bytes : channels;
    pixels += before;
    if (turn & HEADRACE_ROWS_MIRRORED) pixels += y_stride * ((swapped ? of.width : of.height) - 1), y_stride = -y_stride;
    if (turn & HEADRACE_COLUMNS_MIRRORED)
        pixels += x_stride * ((swapped ? of.height : of.width) - 1), x_stride = -x_stride;
    if (!headrace_scale_rows(scaling, scratch, pixels, y_stride, x_stride, 1, end))
        refuse((failure *)codec->err, "memory is missing");
}

/* Decode the part row by row, and scale each while the processor still has it at hand. */
static void read_rows(j_decompress_ptr codec, headrace_scratch *scratch, headrace_scaling *scaling) {
    const part of = stored_part(scaling, 0, codec->output_height, codec->output_width);
    const int64_t before = crop(codec, &of);
    uint8_t *pixels = memory(codec, scratch, (size_t)codec->output_width * (size_t)codec->output_components);
    skip(codec, of.top);
    for (int64_t row = 0; row < of.height; row++) {
        read_row(codec, pixels);
        headrace_scale_row(scaling, pixels + before);
    }
}

static void decode(j_decompress_ptr codec, const encoded *all, headrace_scratch *scratch, int64_t row) {
    headrace_scaling scaling;
    begin(codec, all, row);
    const int begun = headrace_begin_scaling(&scaling, scratch, &all->finish, row, all->boxes + row * 4,
                                             all->sizes + row * 2, &all->filter);
    if (begun < 0) refuse((failure *)codec->err, "memory is missing");
    if (begun > 0 && all->turns[row])
        read_part(codec, scratch, &scaling, all->turns[row]);
    else if (begun > 0)
        read_rows(codec, scratch, &scaling);
    headrace_end_scaling(&scaling);
}

static void decode_row(void *context, headrace_scratch *scratch, int64_t row) {
    const encoded *all = context;
    struct jpeg_decompress_struct codec;
    struct jpeg_progress_mgr progress = {.progress_monitor = check_scans};
    failure to = {.message = all->messages + row * HEADRACE_MESSAGE};
    memset(&codec, 0, sizeof codec);
    codec.err = jpeg_std_error(&to.base);
    to.base.error_exit = fail;
    to.base.emit_message = warn;
    to.base.output_message = say_nothing;
    to.message[0] = 0;
    if (!setjmp(to.escape)) {
        jpeg_create_decompress(&codec);
        codec.progress = &progress;
        decode(&codec, all, scratch, row);
    }
    jpeg_destroy_decompress(&codec);
}

int headrace_decodes(void) { return 1; }

void headrace_decode(const uint8_t *const *files, const int64_t *lengths, int64_t count, const int32_t *headers,
                     const int32_t *denominators, int64_t channels, const double *boxes, const int32_t *turns,
                     const int32_t *sizes, int32_t interpolation, int32_t antialias, const int32_t *places,
                     const void *table, const void *fill, const float *terms, int64_t item_bytes,
                     const int64_t *out_grid, int64_t out_stride, void *out, int32_t threads, char *messages) {
    encoded all = {.files = files, .lengths = lengths, .headers = headers, .denominators = denominators,
                   .boxes = boxes, .turns = turns, .sizes = sizes, .filter = {interpolation, antialias},
                   .finish = {channels, places, table, fill, terms, item_bytes, out_grid, out_stride, out},
                   .messages = messages};
    headrace_each(count, threads, decode_row, &all);
}

#endif
