/* What the kernels of images share: memory of a thread, rows that threads share, and images scaled row by row. */
#ifndef HEADRACE_IMAGES_H
#define HEADRACE_IMAGES_H

#include "headrace.h"

#include <stddef.h>

enum { HEADRACE_SLOTS = 16, HEADRACE_ALIGNMENT = 64, HEADRACE_SLACK = 32 /* bytes behind a row that may be read */ };

/* Where one image of the batch comes from, as the rows of `places` have it. */
typedef struct {
    int32_t y, x;                         /* the source of the first output pixel; it may lie outside */
    int32_t down, right;                  /* 1, or -1 where the image is mirrored */
    int32_t top, bottom, left, right_end; /* the part of the source that is seen; the rest is fill */
} headrace_place;

/* Memory of one thread, which the rows it works on use one after the other. */
typedef struct {
    void *blocks[HEADRACE_SLOTS];
    size_t sizes[HEADRACE_SLOTS];
} headrace_scratch;

/* At least `bytes` bytes, aligned, and the slack behind them; NULL where there are not as many. They hold what the slot
 * held before, or zeros where it had fewer. */
void *headrace_memory(headrace_scratch *scratch, int slot, size_t bytes);

/* Call `work` for each row, in this thread and in others that help it while no more than `threads` are at work: threads
 * of this process, whichever calls they help. So what calls that run at the same time leave idle serves the others. */
void headrace_each(int64_t count, int32_t threads, void (*work)(void *context, headrace_scratch *scratch, int64_t row),
                   void *context);

/* The pixels of a line of the scaled image that are seen, and what they are made of. */
typedef struct {
    int64_t begin, count;           /* which pixels */
    int64_t source, source_end;     /* the first pixel of the source that they need, and the one behind the last */
    int64_t stride;                 /* weights a pixel, zeros included */
    int64_t *first, *taps;          /* of each pixel: where in the source it begins, and how many pixels count */
    int32_t *weights;
} headrace_axis;

/* The lines of a scaled image, or those that stand for them, of which places speak: those that are shown. */
typedef struct {
    int64_t begin, count;
    int32_t *lines; /* which ones stand for them, counted from the first one that is made; NULL: themselves */
} headrace_shown;

/* An image while it is scaled. Rows of the source come one after the other, and scaled rows are made of them. */
typedef struct {
    const headrace_pixels *finish; /* what becomes of it */
    int64_t row;             /* of the batch */
    int copies;              /* whether the size stays as it is */
    headrace_axis rows, columns;
    headrace_shown shown[2]; /* rows, and columns */
    int64_t came, made;      /* how many rows of the source, and of the scaled image */
    int64_t line_bytes;
    uint8_t *lines;          /* some rows of the source, scaled along their width: */
    int64_t kept, room;      /* from which one on, and how many there may be */
    int32_t *blocks;         /* the weights of the columns, as AVX2 multiplies them; */
    int32_t *sums;           /* NULL where there is none: then the sums of a row */
    uint8_t *scaled;
} headrace_scaling;

/* Begin with one image. Returns 1, or 0 where nothing of it is seen, or -1 where memory is missing. */
int headrace_begin_scaling(headrace_scaling *scaling, headrace_scratch *scratch, const headrace_pixels *finish,
                           int64_t row, const headrace_scaled *scaled);

/* The next row, from rows.source on; pixels: from column columns.source on. The slack behind it may be read. */
void headrace_scale_row(headrace_scaling *scaling, const uint8_t *pixels);

/* The same rows for an image in memory: all of them, from the pixel at (rows.source, columns.source). Strides are in
 * bytes; end is where the memory ends that may be read. Returns 0 where memory is missing. */
int headrace_scale_rows(headrace_scaling *scaling, headrace_scratch *scratch, const uint8_t *pixels, int64_t y_stride,
                        int64_t x_stride, int64_t channel_stride, const uint8_t *end);

/* Write the scaled image into its row of the batch. */
void headrace_end_scaling(const headrace_scaling *scaling);

#endif
