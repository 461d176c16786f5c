#include "baseline.h"

#include <string.h>

/* A colour while its rows come: one row of MCUs at a time, of the columns that are needed. */
typedef struct {
    const headrace_component *of;
    const headrace_codes *dc, *ac;
    const int16_t *quantisation;
    int last_dc;
    int size;         /* samples of a block each way */
    uint8_t *rows;    /* the first sample; before it there are one row and MARGIN bytes a row */
    int64_t stride;
    uint8_t *doubled; /* a row of as many samples as the image has */
} colour;

/* How colours are brought to the size of the image. */
enum { AS_IT_IS, COLUMNS_DOUBLED, BOTH_DOUBLED };

enum {
    MARGIN = 32,  /* bytes on either side of a row: samples beside the image, and what is read at once */
    ALIGNED = 64, /* rows begin at multiples of it */
    WAITING = 2   /* blocks are transformed together */
};

/* An image while it is decoded. Sizes are those of the decoded image, which may be a part of the stored one's. */
typedef struct {
    headrace_frame frame;
    headrace_scan scan;
    headrace_part part;
    int64_t height, width;
    int64_t mcu_height, mcu_width, mcu_rows, mcu_columns;
    int64_t first_row, end_row, first_column, end_column; /* the MCUs that are needed */
    int64_t since_restart, restarts;
    int doubling;
    int smooth; /* whether doubled samples are mixed, and do not repeat */
    int lag;    /* how many rows wait for the next row of MCUs: mixed samples need those above and below */
    int64_t colour_height, colour_width; /* of the colours that are doubled */
    colour colours[HEADRACE_COLOURS];
    int16_t *sums;
    int16_t coefficients[WAITING][HEADRACE_BLOCK]; /* zeros, but for blocks that wait */
    headrace_block waiting[WAITING];
    int waits, waiting_size;
} decoder;

static int64_t smaller(int64_t one, int64_t other) { return one < other ? one : other; }
static int64_t larger(int64_t one, int64_t other) { return one > other ? one : other; }
static int64_t divided_up(int64_t value, int64_t by) { return (value + by - 1) / by; }

/* ---- sizes */

/* Samples of a block each way. At a part of the size libjpeg keeps colours of fewer samples as large as it can. */
static int block_size(const headrace_component *of, const headrace_component *luma, int size) {
    const int halved = luma->across == 2 * of->across && luma->down == 2 * of->down;
    return halved && size < 8 ? 2 * size : size;
}

static void measure(decoder *image, int32_t denominator) {
    const headrace_frame *frame = &image->frame;
    const headrace_component *luma = frame->components, *last = luma + frame->count - 1;
    const int size = 8 / denominator, colour_size = block_size(last, luma, size);
    image->height = divided_up(frame->height, denominator);
    image->width = divided_up(frame->width, denominator);
    image->mcu_height = luma->down * size;
    image->mcu_width = luma->across * size;
    image->mcu_rows = divided_up(image->height, image->mcu_height);
    image->mcu_columns = divided_up(image->width, image->mcu_width);
    image->doubling = colour_size * last->across == image->mcu_width ? AS_IT_IS
                      : colour_size * last->down == image->mcu_height ? COLUMNS_DOUBLED
                                                                      : BOTH_DOUBLED;
    image->colour_height = divided_up(frame->height * last->down * colour_size, luma->down * 8);
    image->colour_width = divided_up(frame->width * last->across * colour_size, luma->across * 8);
    image->smooth = size > 1 && image->colour_width > 2;
    image->lag = image->doubling == BOTH_DOUBLED && image->smooth;
    for (int32_t i = 0; i < frame->count; i++) image->colours[i].size = block_size(luma + i, luma, size);
}

/* Which MCUs the part needs: its own, and those of the samples that are mixed into it. */
static void find_mcus(decoder *image) {
    const headrace_part *part = &image->part;
    const int64_t beside = image->doubling == AS_IT_IS ? 0 : 2, above = image->lag;
    image->first_row = larger(part->top - above, 0) / image->mcu_height;
    image->end_row = divided_up(smaller(part->top + part->height + above, image->height), image->mcu_height);
    image->first_column = larger(part->left - beside, 0) / image->mcu_width;
    image->end_column = divided_up(smaller(part->left + part->width + beside, image->width), image->mcu_width);
}

static int take_memory(decoder *image, headrace_scratch *scratch) {
    const int64_t columns = image->end_column - image->first_column, width = columns * image->mcu_width;
    const size_t stride = (size_t)divided_up(width + 2 * MARGIN, ALIGNED) * ALIGNED;
    const size_t rows = (size_t)image->mcu_height + 1, plane = rows * stride;
    const size_t sums = 2 * stride, all = HEADRACE_COLOURS * (plane + stride) + sums;
    uint8_t *memory = headrace_memory(scratch, HEADRACE_PLANES, all);
    if (!memory) return 0;
    image->sums = (int16_t *)memory;
    memory += sums;
    for (int32_t i = 0; i < image->frame.count; i++, memory += plane + stride) {
        image->colours[i].stride = (int64_t)stride;
        image->colours[i].doubled = memory;
        image->colours[i].rows = memory + 2 * stride + MARGIN;
    }
    return 1;
}

static void find_tables(decoder *image, const headrace_tables *tables) {
    for (int32_t i = 0; i < image->frame.count; i++) {
        const headrace_component *of = image->frame.components + i;
        image->colours[i].of = of;
        image->colours[i].dc = &tables->codes[0][of->dc];
        image->colours[i].ac = &tables->codes[1][of->ac];
        image->colours[i].quantisation = image->frame.quantisation[of->quantisation];
    }
}

/* ---- MCUs */

/* Beyond this, ways to transform it differ in what they make of the coefficient. No image has it. */
enum { MOST_DC = 1 << 12 };

/* The next block of a colour. Returns as headrace_read_block. */
static int read_block(decoder *image, colour *from, int16_t *coefficients) {
    const int last = headrace_read_block(&image->scan.bits, from->dc, from->ac, coefficients, &from->last_dc);
    const int dc = from->last_dc * from->quantisation[0];
    return dc <= -MOST_DC || dc >= MOST_DC ? -1 : last;
}

static int transform_waiting(decoder *image) {
    if (!image->waits) return 1;
    if (image->waits == 1) image->waiting[1] = image->waiting[0];
    image->waits = 0;
    return headrace_transform(image->waiting, image->waiting_size);
}

/* The next block becomes samples at `out`, or will do so with the one after it. */
static int decode_block(decoder *image, colour *to, uint8_t *out) {
    int16_t *coefficients = image->coefficients[image->waits];
    const int last = read_block(image, to, to->size == 1 ? NULL : coefficients);
    if (last < 0) return 0;
    if (last == 0 || to->size == 1) {
        headrace_fill_block(out, to->stride, to->size, to->last_dc * to->quantisation[0]);
        return 1;
    }
    coefficients[0] = (int16_t)to->last_dc;
    image->waiting[image->waits++] = (headrace_block){coefficients, to->quantisation, out, to->stride};
    image->waiting_size = to->size;
    return image->waits < WAITING || transform_waiting(image);
}

static int read_mcu(decoder *image, int64_t column) {
    for (int32_t i = 0; i < image->frame.count; i++) {
        colour *to = image->colours + i;
        const int32_t across = to->of->across, down = to->of->down;
        uint8_t *out = to->rows + column * across * to->size;
        if (to->size != image->waiting_size && !transform_waiting(image)) return 0;
        for (int32_t block = 0; block < across * down; block++)
            if (!decode_block(image, to, out + (block / across * to->stride + block % across) * to->size)) return 0;
    }
    return 1;
}

static int skip_mcu(decoder *image) {
    for (int32_t i = 0; i < image->frame.count; i++) {
        colour *to = image->colours + i;
        for (int32_t block = 0; block < to->of->across * to->of->down; block++)
            if (read_block(image, to, NULL) < 0) return 0;
    }
    return 1;
}

static int restart(decoder *image) {
    if (!headrace_restart_scan(&image->scan, (int)(image->restarts++ & 7))) return 0;
    for (int32_t i = 0; i < image->frame.count; i++) image->colours[i].last_dc = 0;
    image->since_restart = 0;
    return 1;
}

/* Have the bytes of an MCU at hand. */
static int begin_mcu(decoder *image) {
    if (image->frame.restart && image->since_restart == image->frame.restart && !restart(image)) return 0;
    image->since_restart++;
    return image->scan.bits.at < image->scan.limit || headrace_fill_scan(&image->scan);
}

static int read_mcu_row(decoder *image, int64_t row, int64_t column) {
    for (; column < image->mcu_columns; column++) {
        const int needed = row >= image->first_row && column >= image->first_column && column < image->end_column;
        if (!begin_mcu(image)) return 0;
        if (!(needed ? read_mcu(image, column - image->first_column) : skip_mcu(image))) return 0;
    }
    return transform_waiting(image) && headrace_fill_scan(&image->scan);
}

/* ---- rows */

/* Samples at the edge of the image stand for those beside it. */
static void extend_rows(decoder *image) {
    const int64_t end = image->colour_width - image->first_column * image->mcu_width / 2;
    for (int32_t i = 1; i < image->frame.count; i++) {
        const colour *of = image->colours + i;
        for (int64_t row = 0; row < of->of->down * of->size; row++) {
            uint8_t *samples = of->rows + row * of->stride;
            if (!image->first_column) samples[-1] = samples[0];
            if (image->end_column == image->mcu_columns) samples[end] = samples[end - 1];
        }
    }
}

/* The row of a colour whose samples stand for row y of the image, from the first column of the part on; `top` is the
 * first row of the MCUs. */
static const uint8_t *colour_row(const decoder *image, const colour *of, int64_t top, int64_t y) {
    const int64_t left = image->part.left - image->first_column * image->mcu_width, begin = left / 2;
    const int64_t count = (left + image->part.width + 1) / 2 - begin;
    if (image->doubling == AS_IT_IS) return of->rows + (y - top) * of->stride + left;
    if (image->doubling == COLUMNS_DOUBLED || !image->smooth) {
        const int64_t row = image->doubling == COLUMNS_DOUBLED ? y - top : (y - top) / 2;
        const uint8_t *from = of->rows + row * of->stride + begin;
        (image->smooth ? headrace_double_columns : headrace_repeat_columns)(from, count, of->doubled);
    } else {
        const int64_t near = y / 2, next = y % 2 ? near + 1 : near - 1;
        const int64_t far = next < 0 || next == image->colour_height ? near : next;
        const uint8_t *from = of->rows + begin - top / 2 * of->stride;
        headrace_double_both(from + near * of->stride, from + far * of->stride, count, image->sums, of->doubled);
    }
    return of->doubled + left % 2;
}

/* A row of the part as pixels. */
static void make_pixels(const decoder *image, int64_t top, int64_t y, int64_t channels, uint8_t *out) {
    const int64_t left = image->part.left - image->first_column * image->mcu_width, count = image->part.width;
    const uint8_t *luma = image->colours[0].rows + (y - top) * image->colours[0].stride + left;
    if (channels == 1)
        memcpy(out, luma, (size_t)count);
    else if (image->frame.count == 1)
        headrace_grey_to_pixels(luma, count, out);
    else
        headrace_colours_to_pixels(luma, colour_row(image, image->colours + 1, top, y),
                                   colour_row(image, image->colours + 2, top, y), count, out);
}

/* Keep the last rows for those that wait. */
static void keep_rows(decoder *image) {
    for (int32_t i = 0; i < image->frame.count; i++) {
        const colour *of = image->colours + i;
        const int64_t rows = of->of->down * of->size;
        memcpy(of->rows - of->stride - MARGIN, of->rows + (rows - 1) * of->stride - MARGIN, (size_t)of->stride);
    }
}

/* Where rows go: to the scaling one by one, or where the image must be turned into memory. */
typedef struct {
    headrace_scaling *scaling;
    uint8_t *pixels;
    int64_t row_bytes; /* 0 for one by one */
} target;

/* Hand on the rows of the part that are complete with a row of MCUs. */
static void give_rows(decoder *image, int64_t row, target *to) {
    const int64_t top = row * image->mcu_height, channels = to->scaling->finish->channels;
    const int64_t end = row == image->mcu_rows - 1 ? image->height : top + image->mcu_height - image->lag;
    const headrace_part *part = &image->part;
    if (image->doubling != AS_IT_IS) extend_rows(image);
    for (int64_t y = larger(part->top, top - image->lag); y < smaller(part->top + part->height, end); y++) {
        uint8_t *pixels = to->pixels + (y - part->top) * to->row_bytes;
        make_pixels(image, top, y, channels, pixels);
        if (!to->row_bytes) headrace_scale_row(to->scaling, pixels);
    }
    if (image->lag) keep_rows(image);
}

/* Where a restart comes before the first MCU that is needed, all before it can be left out. Returns the MCU to go on
 * with, or -1. */
static int64_t skip_restarts(decoder *image) {
    const int64_t needed = image->first_row * image->mcu_columns + image->first_column;
    const int64_t count = image->frame.restart ? needed / image->frame.restart : 0;
    while (image->restarts < count)
        if (!headrace_skip_to_restart(&image->scan, (int)(image->restarts++ & 7))) return -1;
    return count * image->frame.restart;
}

/* Whether the marker follows that is due. Damage may look like a restart, and if all before it was left out, that is only
 * seen by the one after it. */
static int is_in_place(decoder *image) {
    const int64_t end = (image->restarts + 1) * image->frame.restart;
    const int is_last = end >= image->mcu_rows * image->mcu_columns;
    return headrace_comes_next(&image->scan, is_last ? HEADRACE_END : HEADRACE_RESTART + (int)(image->restarts & 7));
}

static int decode_rows(decoder *image, target *to) {
    const int64_t begin = skip_restarts(image);
    if (begin < 0) return 0;
    for (int64_t row = begin / image->mcu_columns; row < image->end_row; row++) {
        if (!read_mcu_row(image, row, row * image->mcu_columns < begin ? begin % image->mcu_columns : 0)) return 0;
        if (row >= image->first_row) give_rows(image, row, to);
    }
    return !begin || is_in_place(image);
}

/* ---- images */

static int decode_part(decoder *image, headrace_scratch *scratch, headrace_scaling *scaling, int32_t turn,
                       const uint8_t *end) {
    image->part = headrace_stored_part(scaling, turn, image->height, image->width);
    find_mcus(image);
    const int64_t row_bytes = image->part.width * scaling->finish->channels;
    const int64_t rows = turn ? image->part.height : 1, more = 3 * HEADRACE_AT_ONCE;
    uint8_t *pixels = headrace_memory(scratch, HEADRACE_PIXELS, (size_t)(rows * row_bytes + more));
    uint8_t *bytes = headrace_memory(scratch, HEADRACE_BYTES, headrace_scan_bytes());
    if (!pixels || !bytes || !take_memory(image, scratch)) return 0;
    headrace_begin_scan(&image->scan, bytes, image->frame.pixels, end);
    target to = {scaling, pixels, turn ? row_bytes : 0};
    return decode_rows(image, &to) &&
           (!turn || headrace_scale_part(scaling, scratch, turn, &image->part, pixels, row_bytes));
}

int headrace_decode_baseline(const headrace_encoded *all, headrace_scratch *scratch, int64_t row) {
    const uint8_t *data = all->jpegs->files[row], *end = data + all->jpegs->lengths[row];
    const int32_t *header = all->jpegs->headers + row * 4;
    headrace_tables *tables = headrace_memory(scratch, HEADRACE_CODES, sizeof *tables);
    headrace_scaling scaling;
    decoder image;
    memset(&image, 0, sizeof image);
    if (!tables || !headrace_read_frame(&image.frame, tables, data, end - data)) return 0;
    const headrace_frame *frame = &image.frame;
    if (frame->height != header[0] || frame->width != header[1] || frame->count > all->finish->channels) return 0;
    if (!headrace_has_end(frame->pixels, (size_t)(end - frame->pixels))) return 0;
    measure(&image, all->jpegs->denominators[row]);
    find_tables(&image, tables);
    const int begun = headrace_begin_image(&scaling, scratch, all, row);
    if (begun < 0 || (begun && !decode_part(&image, scratch, &scaling, all->scaled->turns[row], end))) return 0;
    headrace_end_scaling(&scaling);
    return 1;
}
