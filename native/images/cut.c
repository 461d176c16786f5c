#include "copies.h"
#include "planes.h"

enum { AHEAD = 2, TOGETHER = 8 /* images that a thread takes at a time */ };

/* Find the most columns that follow each other in the image too. */
static void find_inner(task *job, const int32_t *columns, int64_t count) {
    job->inner = job->inner_end = 0;
    for (int64_t begin = 0, x = 1; x <= count; x++) {
        if (x < count && columns[x] == columns[x - 1] + 1) continue;
        if (x - begin > job->inner_end - job->inner) job->inner = begin, job->inner_end = x;
        begin = x;
    }
    job->shift = job->inner_end ? job->inner - columns[job->inner] : 0;
}

#define DEFINE_CUT(ITEM, NAME)                                                                                         \
    static inline void NAME##_fill(ITEM *out, int64_t stride, int64_t count, ITEM value) {                             \
        for (int64_t x = 0; x < count; x++) out[x * stride] = value;                                                   \
    }                                                                                                                  \
    static inline void NAME##_look_up(const uint8_t *source, int64_t step, const ITEM *table,                          \
                                      ITEM *HEADRACE_RESTRICT out, int64_t stride, int64_t count) {                    \
        for (int64_t x = 0; x < count; x++) out[x * stride] = table[source[x * step]];                                 \
    }                                                                                                                  \
    /* Interleaved colours into three planes: one pass over the source. */                                             \
    static inline void NAME##_look_up_3(const uint8_t *source, int64_t step, const ITEM *table,                        \
                                        ITEM *HEADRACE_RESTRICT red, ITEM *HEADRACE_RESTRICT green,                    \
                                        ITEM *HEADRACE_RESTRICT blue, int64_t count) {                                 \
        for (int64_t x = 0; x < count; x++) {                                                                          \
            red[x] = table[source[0]];                                                                                 \
            green[x] = table[VALUES + source[1]];                                                                      \
            blue[x] = table[2 * VALUES + source[2]];                                                                   \
            source += step;                                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    /* Output columns that come from neighbours in the image, the first one from `pixels`. */                          \
    static inline void NAME##_run(const task *job, const uint8_t *pixels, int64_t right, ITEM *out, int64_t count) {   \
        const grid *in = job->in, *shape = job->shape;                                                                 \
        const int64_t step = right * in->x_stride, stride = shape->x_stride, plane = shape->channel_stride;            \
        const ITEM *table = job->table;                                                                                \
        if (sizeof(ITEM) == 1 && job->copies) {                                                                        \
            job->copies(job, pixels, right, (uint8_t *)out, count);                                                    \
            return;                                                                                                    \
        }                                                                                                              \
        if (in->channels == 3 && in->channel_stride == 1 && stride == 1) {                                             \
            NAME##_look_up_3(pixels, step, table, out, out + plane, out + 2 * plane, count);                           \
            return;                                                                                                    \
        }                                                                                                              \
        for (int64_t c = 0; c < in->channels; c++)                                                                     \
            NAME##_look_up(pixels + c * in->channel_stride, step, table + c * VALUES, out + c * plane, stride, count); \
    }                                                                                                                  \
    /* Output columns [from, to), each from wherever its column comes from. */                                         \
    static inline void NAME##_edge(const task *job, const uint8_t *row, const place *at, ITEM *line, int64_t from,     \
                                   int64_t to) {                                                                       \
        for (int64_t x = from; x < to; x++)                                                                            \
            NAME##_run(job, row + job->columns[at->x + at->right * x] * job->in->x_stride, 1,                          \
                       line + x * job->shape->x_stride, 1);                                                            \
    }                                                                                                                  \
    static void NAME##_image(const task *job, const uint8_t *image, const uint8_t *ahead, const place *at, ITEM *out) {           \
        const grid *shape = job->shape;                                                                                \
        const ITEM *fill = job->fill;                                                                                  \
        const spans of = spans_of(job, at);                                                                            \
        for (int64_t y = 0; y < shape->height; y++) {                                                                  \
            const uint8_t *row = row_of(job, image, at, y);                                                            \
            const int64_t from = row ? of.begin : shape->width, to = row ? of.end : shape->width;                      \
            ITEM *line = out + y * shape->y_stride;                                                                    \
            prefetch(job, ahead, y);                                                                                   \
            for (int64_t c = 0; c < shape->channels; c++) {                                                            \
                ITEM *plane = line + c * shape->channel_stride;                                                        \
                NAME##_fill(plane, shape->x_stride, from, fill[c]);                                                    \
                NAME##_fill(plane + to * shape->x_stride, shape->x_stride, shape->width - to, fill[c]);                \
            }                                                                                                          \
            if (!row) continue;                                                                                        \
            NAME##_edge(job, row, at, line, of.begin, of.inner);                                                       \
            NAME##_run(job, pixel_of(job, row, at, of.inner), at->right, line + of.inner * shape->x_stride,            \
                       of.inner_end - of.inner);                                                                       \
            NAME##_edge(job, row, at, line, of.inner_end, of.end);                                                     \
        }                                                                                                              \
    }

DEFINE_CUT(uint8_t, cut_1)
DEFINE_CUT(uint16_t, cut_2)
DEFINE_CUT(uint32_t, cut_4)

/* The end of the memory that the images lie in; null where they do not lie in order. */
static const uint8_t *end_of(const uint8_t *source, int64_t image_stride, int64_t images, const grid *in) {
    if (!images || image_stride < 0 || in->y_stride < 0 || in->x_stride < 0 || in->channel_stride < 0) return 0;
    return source + (images - 1) * image_stride + (in->height - 1) * in->y_stride + (in->width - 1) * in->x_stride +
           (in->channels - 1) * in->channel_stride + 1;
}

static int is_sound(const place *at, int64_t height, int64_t width) {
    return (at->down == 1 || at->down == -1) && (at->right == 1 || at->right == -1) && at->top >= 0 &&
           at->bottom <= height && at->left >= 0 && at->right_end <= width;
}

static int all_below(const int32_t *numbers, int64_t count, int64_t limit) {
    for (int64_t i = 0; numbers && i < count; i++)
        if (numbers[i] < 0 || numbers[i] >= limit) return 0;
    return 1;
}

/* All images of a batch, which threads share a few at a time. */
typedef struct {
    task job;
    const headrace_source *from;
    const headrace_pixels *to;
    make_planes make; /* null where values are looked up */
    formula by;
} batch;

static const uint8_t *image_of(const batch *all, int64_t i) {
    const headrace_source *from = all->from;
    return i < from->count ? from->data + from->indices[i] * from->image_stride : 0;
}

/* Values of most columns are computed; those that lines repeat are looked up. */
static void computed_image(const batch *all, const uint8_t *image, const uint8_t *ahead, const place *at, uint32_t *out) {
    const task *job = &all->job;
    const spans of = spans_of(job, at);
    all->make(job, &all->by, image, ahead, at, &of, (float *)out);
    for (int64_t y = 0; job->columns && y < job->shape->height; y++) {
        const uint8_t *row = row_of(job, image, at, y);
        if (!row) continue;
        cut_4_edge(job, row, at, out + y * job->shape->y_stride, of.begin, of.inner);
        cut_4_edge(job, row, at, out + y * job->shape->y_stride, of.inner_end, of.end);
    }
}

static void cut_image(const batch *all, int64_t i) {
    const headrace_pixels *to = all->to;
    const uint8_t *image = image_of(all, i), *ahead = image_of(all, i + AHEAD);
    const place *at = (const place *)to->places + i;
    char *out = (char *)to->out + i * to->image_stride * to->item_bytes;
    if (all->make)
        computed_image(all, image, ahead, at, (uint32_t *)out);
    else if (to->item_bytes == 1)
        cut_1_image(&all->job, image, ahead, at, (uint8_t *)out);
    else if (to->item_bytes == 2)
        cut_2_image(&all->job, image, ahead, at, (uint16_t *)out);
    else
        cut_4_image(&all->job, image, ahead, at, (uint32_t *)out);
}

static void cut_some(void *context, headrace_scratch *scratch, int64_t number) {
    const batch *all = context;
    (void)scratch;
    for (int64_t i = number * TOGETHER; i < at_most((number + 1) * TOGETHER, all->from->count); i++) cut_image(all, i);
}

int64_t headrace_cut(const headrace_source *source, const headrace_pixels *to, int32_t threads) {
    const grid *in = (const grid *)source->grid;
    const place *at = (const place *)to->places;
    const int64_t height = to->row_count, width = to->column_count;
    if (!all_below(to->rows, height, in->height) || !all_below(to->columns, width, in->width)) return 0;
    for (int64_t i = 0; i < source->count; i++)
        if ((uint64_t)source->indices[i] >= (uint64_t)source->images || !is_sound(at + i, height, width)) return i;
    batch all = {.job = {in, (const grid *)to->grid, to->rows, to->columns, 0, width, 0, to->table, to->fill,
                         source->data, 0, 0},
                 .from = source, .to = to};
    all.job.source_end = end_of(source->data, source->image_stride, source->images, in);
    if (to->columns) find_inner(&all.job, to->columns, width);
    all.job.copies = to->item_bytes == 1 ? headrace_copies(&all.job) : 0;
    all.make = to->item_bytes == 4 && to->terms ? headrace_planes(&all.job, to->terms, &all.by) : 0;
    headrace_each((source->count + TOGETHER - 1) / TOGETHER, threads, cut_some, &all);
    return -1;
}
