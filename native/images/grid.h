/* What is shared by the ways to cut windows out of images: how images lie, and which of their pixels are seen. */
#ifndef HEADRACE_GRID_H
#define HEADRACE_GRID_H

#include "images.h"

#if defined(__GNUC__)
#define HEADRACE_PREFETCH(address) __builtin_prefetch(address)
#else
#define HEADRACE_PREFETCH(address) ((void)(address))
#endif

enum { LINE = 64, PREFETCH_BYTES = 512, VALUES = 256 };

typedef headrace_place place;

typedef struct {
    int64_t height, width, channels;
    int64_t y_stride, x_stride, channel_stride; /* between neighbours, in items */
} grid;

typedef struct task task;

/* Writes output columns that come from neighbours in the image, the first one from `pixels`, as they are. */
typedef void (*copy_run)(const task *job, const uint8_t *pixels, int64_t right, uint8_t *out, int64_t count);

/* What is the same for all images. */
struct task {
    const grid *in, *shape;
    const int32_t *rows, *columns; /* which ones of the image stand for those that places speak of; null: themselves */
    int64_t inner, inner_end;      /* the columns that follow each other in the image as well, */
    int64_t shift;                 /* where they are so many further on */
    const void *table, *fill;
    const uint8_t *source, *source_end; /* all memory that may be read */
    copy_run copies;                    /* null where values change, or change places */
};

/* Which output columns of an image show what: [begin, end) the image, [inner, inner_end) neighbours in it as neighbours. */
typedef struct {
    int64_t begin, inner, inner_end, end;
} spans;

static inline int64_t at_least(int64_t value, int64_t least) { return value < least ? least : value; }
static inline int64_t at_most(int64_t value, int64_t most) { return value > most ? most : value; }

/* The output columns [*begin, *end) that show source columns [left, right_end), where `at` puts them. */
static inline void showing(const place *at, int64_t left, int64_t right_end, int64_t width, int64_t *begin,
                           int64_t *end) {
    const int64_t first = at->right > 0 ? left - at->x : at->x - right_end + 1;
    const int64_t last = at->right > 0 ? right_end - at->x : at->x - left + 1;
    *begin = at_most(at_least(first, 0), width);
    *end = at_least(at_most(last, width), *begin);
}

static inline spans spans_of(const task *job, const place *at) {
    const int64_t width = job->shape->width;
    spans of;
    showing(at, at->left, at->right_end, width, &of.begin, &of.end);
    showing(at, job->inner, job->inner_end, width, &of.inner, &of.inner_end);
    of.inner = at_most(at_least(of.inner, of.begin), of.end);
    of.inner_end = at_least(at_most(of.inner_end, of.end), of.inner);
    return of;
}

/* Where the row of the image lies that is seen in an output row; null if none is. */
static inline const uint8_t *row_of(const task *job, const uint8_t *image, const place *at, int64_t y) {
    const int64_t row = at->y + at->down * y;
    if (row < at->top || row >= at->bottom) return 0;
    return image + (job->rows ? job->rows[row] : row) * job->in->y_stride;
}

/* Where output column `x` comes from in a row, for the inner columns and as if all were inner ones. */
static inline const uint8_t *pixel_of(const task *job, const uint8_t *row, const place *at, int64_t x) {
    return row + (at->x + at->right * x - job->shift) * job->in->x_stride;
}

/* Bring a row of an image near that is needed soon. */
static inline void prefetch(const task *job, const uint8_t *ahead, int64_t row) {
    const int64_t bytes = at_most(job->in->y_stride, PREFETCH_BYTES);
    if (!ahead || row >= job->in->height) return;
    for (int64_t byte = 0; byte < bytes; byte += LINE) HEADRACE_PREFETCH(ahead + row * job->in->y_stride + byte);
}

#endif
