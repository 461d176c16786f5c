#include "scaling.h"

#include <math.h>
#include <string.h>

enum { MORE_LINES = 16 /* than a row is made of */ };

/* Slots of the scratch. */
enum { ROWS, COLUMNS = ROWS + HEADRACE_AXIS_SLOTS, FOR_LINES = COLUMNS + HEADRACE_AXIS_SLOTS, LINES, SCALED, GATHERED,
       SHOWN };

/* Which of the lines that places speak of are shown, where output line i shows line from + step * i of those in
 * [seen, seen_end). */
static void find_shown(headrace_shown *shown, int64_t from, int64_t step, int64_t count, int64_t seen, int64_t seen_end) {
    const int64_t last = from + step * (count - 1);
    shown->begin = headrace_larger(headrace_smaller(from, last), seen);
    shown->count = headrace_larger(headrace_smaller(headrace_larger(from, last) + 1, seen_end) - shown->begin, 0);
}

/* Which lines of the scaled image are made for those that are shown; `memory` holds which is which. */
static void find_made(headrace_axis *axis, headrace_shown *shown, const int32_t *lines, int32_t *memory) {
    int32_t first = lines[shown->begin], last = first;
    for (int64_t i = 0; i < shown->count; i++) {
        const int32_t line = lines[shown->begin + i];
        first = line < first ? line : first;
        last = line > last ? line : last;
    }
    for (int64_t i = 0; i < shown->count; i++) memory[i] = lines[shown->begin + i] - first;
    shown->lines = memory;
    axis->begin = first;
    axis->count = (int64_t)last + 1 - first;
}

static int begin_lines(headrace_scaling *scaling, headrace_scratch *scratch) {
    const headrace_pixels *finish = scaling->finish;
    headrace_shown *rows = &scaling->shown[0], *columns = &scaling->shown[1];
    scaling->rows.begin = rows->begin, scaling->rows.count = rows->count;
    scaling->columns.begin = columns->begin, scaling->columns.count = columns->count;
    if (!finish->rows) return 1;
    int32_t *memory = headrace_memory(scratch, SHOWN, (size_t)(rows->count + columns->count) * sizeof *memory);
    if (!memory) return 0;
    find_made(&scaling->rows, rows, finish->rows, memory);
    find_made(&scaling->columns, columns, finish->columns, memory + rows->count);
    return 1;
}

static int stays(double low, double high, int32_t size) { return low == floor(low) && high - low == size; }

/* An axis along which the size stays as it is. */
static void keep_axis(headrace_axis *axis, double low) {
    axis->source = (int64_t)low + axis->begin;
    axis->source_end = axis->source + axis->count;
}

static int begin_axes(headrace_scaling *scaling, headrace_scratch *scratch, const headrace_scaled *by) {
    const double *box = by->boxes + scaling->row * 4;
    const int32_t *size = by->sizes + scaling->row * 2;
    scaling->copies = stays(box[0], box[2], size[0]) && stays(box[1], box[3], size[1]);
    if (scaling->copies) {
        keep_axis(&scaling->rows, box[0]);
        keep_axis(&scaling->columns, box[1]);
        return 1;
    }
    return headrace_begin_axis(&scaling->rows, scratch, ROWS, box[0], box[2], size[0], by) &&
           headrace_begin_axis(&scaling->columns, scratch, COLUMNS, box[1], box[3], size[1], by);
}

static int begin_memory(headrace_scaling *scaling, headrace_scratch *scratch) {
    const headrace_axis *rows = &scaling->rows;
    const size_t line = (size_t)scaling->line_bytes;
    scaling->scaled = headrace_memory(scratch, SCALED, (size_t)rows->count * line);
    if (!scaling->scaled || scaling->copies) return scaling->scaled != NULL;
    scaling->room = headrace_smaller(rows->stride + MORE_LINES, rows->source_end - rows->source);
    scaling->lines = headrace_memory(scratch, LINES, (size_t)scaling->room * line);
    return scaling->lines && headrace_begin_lines(scaling, scratch, FOR_LINES);
}

int headrace_begin_scaling(headrace_scaling *scaling, headrace_scratch *scratch, const headrace_pixels *finish,
                           int64_t row, const headrace_scaled *by) {
    const int32_t *place = finish->places + row * 8;
    headrace_shown *rows = &scaling->shown[0], *columns = &scaling->shown[1];
    memset(scaling, 0, sizeof *scaling);
    scaling->finish = finish;
    scaling->row = row;
    find_shown(rows, place[0], place[2], finish->grid[0], place[4], place[5]);
    find_shown(columns, place[1], place[3], finish->grid[1], place[6], place[7]);
    if (!rows->count || !columns->count) {
        rows->count = columns->count = 0;
        scaling->scaled = headrace_memory(scratch, SCALED, 0);
        return scaling->scaled ? 0 : -1;
    }
    if (!begin_lines(scaling, scratch)) return -1;
    scaling->line_bytes = scaling->columns.count * finish->channels;
    return begin_axes(scaling, scratch, by) && begin_memory(scaling, scratch) ? 1 : -1;
}

/* Where the next row of the source goes. Few are kept, so that they stay near: of the others those from `needed` on. */
static uint8_t *place_of_line(headrace_scaling *scaling, int64_t needed) {
    const int64_t bytes = scaling->line_bytes, still = scaling->came - needed;
    if (scaling->came - scaling->kept >= scaling->room) {
        if (still) memmove(scaling->lines, scaling->lines + (needed - scaling->kept) * bytes, (size_t)(still * bytes));
        scaling->kept = needed;
    }
    return scaling->lines + (scaling->came - scaling->kept) * bytes;
}

void headrace_scale_row(headrace_scaling *scaling, const uint8_t *pixels) {
    const headrace_axis *rows = &scaling->rows;
    if (scaling->copies) {
        memcpy(scaling->scaled + scaling->came++ * scaling->line_bytes, pixels, (size_t)scaling->line_bytes);
        return;
    }
    const int64_t needed = rows->first[scaling->made] - rows->source;
    if (scaling->came >= needed) headrace_make_line(scaling, pixels, place_of_line(scaling, needed));
    scaling->came++;
    while (scaling->made < rows->count &&
           rows->first[scaling->made] + rows->taps[scaling->made] - rows->source <= scaling->came)
        headrace_make_row(scaling, scaling->made++);
}

/* Bring memory near; where it is none, nothing happens. */
static void prefetch(const uint8_t *bytes, int64_t count) {
#if defined(__GNUC__)
    for (int64_t byte = 0; byte < count; byte += 64) __builtin_prefetch(bytes + byte);
#else
    (void)bytes, (void)count;
#endif
}

static void gather_row(uint8_t *row, const uint8_t *pixels, int64_t width, int64_t channels, int64_t x_stride,
                       int64_t channel_stride) {
    for (int64_t x = 0; x < width; x++)
        for (int64_t c = 0; c < channels; c++) row[x * channels + c] = pixels[x * x_stride + c * channel_stride];
}

int headrace_scale_rows(headrace_scaling *scaling, headrace_scratch *scratch, const uint8_t *pixels, int64_t y_stride,
                        int64_t x_stride, int64_t channel_stride, const uint8_t *end) {
    const int64_t channels = scaling->finish->channels, count = scaling->rows.source_end - scaling->rows.source;
    const int64_t width = scaling->columns.source_end - scaling->columns.source;
    const int adjacent = x_stride == channels && (channel_stride == 1 || channels == 1);
    uint8_t *gathered = headrace_memory(scratch, GATHERED, (size_t)(width * channels));
    if (!gathered) return 0;
    for (int64_t row = 0; row < count; row++, pixels += y_stride) {
        if (adjacent && end - pixels >= width * channels + HEADRACE_SLACK) {
            prefetch(pixels + y_stride, width * channels);
            headrace_scale_row(scaling, pixels);
        } else {
            gather_row(gathered, pixels, width, channels, x_stride, channel_stride);
            headrace_scale_row(scaling, gathered);
        }
    }
    return 1;
}

void headrace_end_scaling(const headrace_scaling *scaling) {
    const headrace_shown *rows = &scaling->shown[0], *columns = &scaling->shown[1];
    const int64_t width = scaling->columns.count, zero = 0, channels = scaling->finish->channels;
    const int64_t grid[6] = {scaling->rows.count, width, channels, width * channels, channels, 1};
    const int32_t *seen = scaling->finish->places + scaling->row * 8;
    /* the same place, in the part of the scaled image that was made */
    const int32_t place[8] = {seen[0] - (int32_t)rows->begin, seen[1] - (int32_t)columns->begin, seen[2], seen[3], 0,
                              (int32_t)rows->count, 0, (int32_t)columns->count};
    const headrace_source scaled = {scaling->scaled, 0, 1, grid, &zero, 1};
    headrace_pixels to = *scaling->finish;
    to.out = (char *)to.out + scaling->row * to.image_stride * to.item_bytes;
    to.places = place;
    to.rows = rows->lines, to.row_count = rows->count;
    to.columns = columns->lines, to.column_count = columns->count;
    headrace_cut(&scaled, &to, 1);
}

typedef struct {
    const headrace_source *from;
    const headrace_scaled *scaled;
    const headrace_pixels *to;
    const uint8_t *end; /* of the memory that may be read */
    int32_t *failures;
} images;

/* One image, turned: a transposition, then mirrored rows, then mirrored columns. */
static void scale_image(void *context, headrace_scratch *scratch, int64_t row) {
    images *all = context;
    const int64_t *grid = all->from->grid;
    const int32_t turn = all->scaled->turns[row];
    const int swapped = (turn & HEADRACE_TRANSPOSED) != 0;
    headrace_scaling scaling;
    int begun = headrace_begin_scaling(&scaling, scratch, all->to, row, all->scaled);
    if (begun > 0) {
        const int64_t height = grid[swapped], width = grid[!swapped];
        int64_t y_stride = grid[3 + swapped], x_stride = grid[3 + !swapped];
        const uint8_t *pixels = all->from->data + all->from->indices[row] * all->from->image_stride;
        if (turn & HEADRACE_ROWS_MIRRORED) pixels += y_stride * (height - 1), y_stride = -y_stride;
        if (turn & HEADRACE_COLUMNS_MIRRORED) pixels += x_stride * (width - 1), x_stride = -x_stride;
        pixels += scaling.rows.source * y_stride + scaling.columns.source * x_stride;
        if (!headrace_scale_rows(&scaling, scratch, pixels, y_stride, x_stride, grid[5], all->end)) begun = -1;
    }
    if (begun >= 0) headrace_end_scaling(&scaling);
    all->failures[row] = begun < 0;
}

void headrace_scale(const headrace_source *source, const headrace_scaled *scaled, const headrace_pixels *pixels,
                    int32_t threads, int32_t *failures) {
    images all = {source, scaled, pixels, 0, failures};
    /* No pixel lies behind this one, whichever of the strides is negative. */
    all.end = source->data + 1;
    if (source->image_stride > 0) all.end += (source->images - 1) * source->image_stride;
    for (int axis = 0; axis < 3; axis++)
        if (source->grid[3 + axis] > 0) all.end += (source->grid[axis] - 1) * source->grid[3 + axis];
    headrace_each(source->count, threads, scale_image, &all);
}
