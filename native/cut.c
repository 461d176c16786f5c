#include "headrace.h"

#include <string.h>

#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) ((void)(address))
#endif

#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_AVX2 1
#include <immintrin.h>
#endif

enum { LINE = 64, AHEAD = 2, PREFETCH_BYTES = 512, VALUES = 256 };

/* Where one image of the batch comes from, as the rows of `places` have it. */
typedef struct {
    int32_t y, x;                     /* the source of the first output pixel; it may lie outside */
    int32_t down, right;              /* 1, or -1 where the image is mirrored */
    int32_t top, bottom, left, right_end; /* the part of the source that is seen; the rest is fill */
} place;

typedef struct {
    int64_t height, width, channels;
    int64_t y_stride, x_stride, channel_stride; /* between neighbours, in items */
} grid;

/* What is the same for all images. */
typedef struct {
    const grid *in, *shape;
    const int32_t *rows, *columns; /* which ones of the image stand for those that places speak of; null: themselves */
    int64_t inner, inner_end;      /* the columns that follow each other in the image as well, */
    int64_t shift;                 /* where they are so many further on */
    const void *table, *fill;
    const uint8_t *source, *source_end; /* all memory that may be read */
} task;

static int64_t at_least(int64_t value, int64_t least) { return value < least ? least : value; }
static int64_t at_most(int64_t value, int64_t most) { return value > most ? most : value; }

/* Which output columns of an image show what: [begin, end) the image, [inner, inner_end) neighbours in it as neighbours. */
typedef struct {
    int64_t begin, inner, inner_end, end;
} spans;

/* The output columns [*begin, *end) that show source columns [left, right_end), where `at` puts them. */
static void showing(const place *at, int64_t left, int64_t right_end, int64_t width, int64_t *begin, int64_t *end) {
    const int64_t first = at->right > 0 ? left - at->x : at->x - right_end + 1;
    const int64_t last = at->right > 0 ? right_end - at->x : at->x - left + 1;
    *begin = at_most(at_least(first, 0), width);
    *end = at_least(at_most(last, width), *begin);
}

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

static spans spans_of(const task *job, const place *at) {
    const int64_t width = job->shape->width;
    spans of;
    showing(at, at->left, at->right_end, width, &of.begin, &of.end);
    showing(at, job->inner, job->inner_end, width, &of.inner, &of.inner_end);
    of.inner = at_most(at_least(of.inner, of.begin), of.end);
    of.inner_end = at_least(at_most(of.inner_end, of.end), of.inner);
    return of;
}

/* Where the row of the image lies that is seen in an output row; null if none is. */
static const uint8_t *row_of(const task *job, const uint8_t *image, const place *at, int64_t y) {
    const int64_t row = at->y + at->down * y;
    if (row < at->top || row >= at->bottom) return 0;
    return image + (job->rows ? job->rows[row] : row) * job->in->y_stride;
}

/* Where output column `x` comes from in a row, for the inner columns and as if all were inner ones. */
static const uint8_t *pixel_of(const task *job, const uint8_t *row, const place *at, int64_t x) {
    return row + (at->x + at->right * x - job->shift) * job->in->x_stride;
}

/* Bring a row of an image near that is needed soon. */
static inline void prefetch(const task *job, const uint8_t *ahead, int64_t row) {
    const int64_t bytes = at_most(job->in->y_stride, PREFETCH_BYTES);
    if (!ahead || row >= job->in->height) return;
    for (int64_t byte = 0; byte < bytes; byte += LINE) PREFETCH(ahead + row * job->in->y_stride + byte);
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

#ifdef HAS_AVX2
#define AVX2 __attribute__((target("avx2,fma")))

enum { LANES = 8, BLOCK = 3 * LANES };

/* For (v / d - m) / s: one over d and over s, each as a float and what is missing from it. */
typedef struct {
    __m256 over_d, rest_d, m[3], over_s[3], rest_s[3], fill[3];
} scaling;

/* The quotients are rounded as divisions are, save for rare divisors: is_computed finds out. */
AVX2 static inline __m256 scaled(__m128i bytes, const scaling *by, int channel) {
    const __m256 value = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
    const __m256 part = _mm256_fmadd_ps(value, by->over_d, _mm256_mul_ps(value, by->rest_d));
    const __m256 less = _mm256_sub_ps(part, by->m[channel]);
    return _mm256_fmadd_ps(less, by->over_s[channel], _mm256_mul_ps(less, by->rest_s[channel]));
}

AVX2 static void divide_by(float divisor, __m256 *over, __m256 *rest) {
    *over = _mm256_set1_ps(1.0f / divisor);
    *rest = _mm256_set1_ps((float)(1.0 / (double)divisor - (double)(1.0f / divisor)));
}

AVX2 static scaling scaling_of(const float *terms, const float *fill) {
    scaling by;
    divide_by(terms[0], &by.over_d, &by.rest_d);
    for (int c = 0; c < 3; c++) {
        by.m[c] = _mm256_set1_ps(terms[3 + c]);
        divide_by(terms[6 + c], &by.over_s[c], &by.rest_s[c]);
        by.fill[c] = _mm256_set1_ps(fill[c]);
    }
    return by;
}

/* Whether it gives the table of three channels, to the last bit. */
AVX2 static int is_computed(const scaling *by, const float *table) {
    for (int c = 0; c < 3; c++)
        for (int first = 0; first < VALUES; first += LANES) {
            uint8_t values[2 * LANES] = {0};
            float found[LANES];
            for (int i = 0; i < LANES; i++) values[i] = (uint8_t)(first + i);
            _mm256_storeu_ps(found, scaled(_mm_loadu_si128((const __m128i *)values), by, c));
            if (memcmp(found, table + c * VALUES + first, sizeof found)) return 0;
        }
    return 1;
}

typedef struct {
    __m128i red_green, blue; /* eight bytes of each */
} colours;

/* Eight pixels of interleaved colours, which lie from `bytes` on, sorted by colour. */
AVX2 static inline colours sorted(const uint8_t *bytes, int right) {
    /* They are 24 bytes, read as bytes 0 to 15 and 8 to 23; each half becomes four of red, of green, of blue. */
    const __m128i low = _mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1);
    const __m128i high = _mm_setr_epi8(4, 7, 10, 13, 5, 8, 11, 14, 6, 9, 12, 15, -1, -1, -1, -1);
    const __m128i low_back = _mm_setr_epi8(9, 6, 3, 0, 10, 7, 4, 1, 11, 8, 5, 2, -1, -1, -1, -1);
    const __m128i high_back = _mm_setr_epi8(13, 10, 7, 4, 14, 11, 8, 5, 15, 12, 9, 6, -1, -1, -1, -1);
    const __m128i begin = _mm_loadu_si128((const __m128i *)bytes);
    const __m128i end = _mm_loadu_si128((const __m128i *)(bytes + 8));
    const __m128i first = right > 0 ? _mm_shuffle_epi8(begin, low) : _mm_shuffle_epi8(end, high_back);
    const __m128i second = right > 0 ? _mm_shuffle_epi8(end, high) : _mm_shuffle_epi8(begin, low_back);
    const colours of = {_mm_unpacklo_epi32(first, second), _mm_unpackhi_epi32(first, second)};
    return of;
}

/* Eight pixels of which those in columns [from, to) are seen, where the first is column 0; the others are fill. */
AVX2 static void computed_part(const task *job, const uint8_t *bytes, int right, const scaling *by, int64_t from,
                               int64_t to, float *out) {
    uint8_t copy[BLOCK];
    if (bytes < job->source || bytes + BLOCK > job->source_end) { /* what is not seen may not be there */
        const int64_t first = 3 * (right > 0 ? from : LANES - to);
        memset(copy, 0, sizeof copy);
        memcpy(copy + first, bytes + first, (size_t)(3 * (to - from)));
        bytes = copy;
    }
    const int64_t plane = job->shape->channel_stride;
    const colours of = sorted(bytes, right);
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i before = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)from), lane);
    const __m256i inside = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)to), lane);
    const __m256 seen = _mm256_castsi256_ps(_mm256_andnot_si256(before, inside));
    const __m128i green = _mm_srli_si128(of.red_green, 8);
    _mm256_storeu_ps(out, _mm256_blendv_ps(by->fill[0], scaled(of.red_green, by, 0), seen));
    _mm256_storeu_ps(out + plane, _mm256_blendv_ps(by->fill[1], scaled(green, by, 1), seen));
    _mm256_storeu_ps(out + 2 * plane, _mm256_blendv_ps(by->fill[2], scaled(of.blue, by, 2), seen));
}

/* One row of three planes: columns [from, to) from pixels, of which `pixels` is that of column 0, the others fill. */
AVX2 static inline void computed_line(const task *job, const uint8_t *pixels, int right, const scaling *by,
                                      int64_t from, int64_t to, float *out) {
    const int64_t width = job->shape->width, plane = job->shape->channel_stride;
    const uint8_t *bytes = right > 0 ? pixels : pixels - (BLOCK - 3);
    for (int64_t next = 0; next < width; next += LANES) {
        const int64_t x = at_most(next, width - LANES);
        float *red = out + x, *green = red + plane, *blue = green + plane;
        if (x >= from && x + LANES <= to) {
            const colours of = sorted(bytes + 3 * right * x, right);
            _mm256_storeu_ps(red, scaled(of.red_green, by, 0));
            _mm256_storeu_ps(green, scaled(_mm_srli_si128(of.red_green, 8), by, 1));
            _mm256_storeu_ps(blue, scaled(of.blue, by, 2));
        } else if (x < to && x + LANES > from) {
            computed_part(job, bytes + 3 * right * x, right, by, at_least(from - x, 0), at_most(to - x, LANES), red);
        } else {
            _mm256_storeu_ps(red, by->fill[0]);
            _mm256_storeu_ps(green, by->fill[1]);
            _mm256_storeu_ps(blue, by->fill[2]);
        }
    }
}

/* Three interleaved colours into three planes of float, at least eight wide. */
AVX2 static void computed_image(const task *job, const uint8_t *image, const uint8_t *ahead, const place *at,
                                const scaling *by, uint32_t *out) {
    const grid *shape = job->shape;
    const spans of = spans_of(job, at);
    for (int64_t y = 0; y < shape->height; y++) {
        const uint8_t *row = row_of(job, image, at, y);
        uint32_t *line = out + y * shape->y_stride;
        prefetch(job, ahead, y);
        if (!row)
            computed_line(job, image, 1, by, 0, 0, (float *)line);
        else if (at->right > 0)
            computed_line(job, pixel_of(job, row, at, 0), 1, by, of.inner, of.inner_end, (float *)line);
        else
            computed_line(job, pixel_of(job, row, at, 0), -1, by, of.inner, of.inner_end, (float *)line);
        if (!row || !job->columns) continue;
        cut_4_edge(job, row, at, line, of.begin, of.inner);
        cut_4_edge(job, row, at, line, of.inner_end, of.end);
    }
}
#else
typedef char scaling;
#define computed_image(job, image, ahead, at, by, out) ((void)(by))
#endif

/* Whether the values can be computed from `terms`, and how, in place of being looked up. */
static int computes(const task *job, const float *terms, scaling *by) {
#ifdef HAS_AVX2
    const grid *in = job->in, *shape = job->shape;
    if (!terms || in->channels != 3 || in->channel_stride != 1 || in->x_stride != 3 || shape->x_stride != 1 ||
        shape->width < LANES || terms[0] != terms[1] || terms[0] != terms[2] || !__builtin_cpu_supports("avx2") ||
        !__builtin_cpu_supports("fma"))
        return 0;
    *by = scaling_of(terms, job->fill);
    return is_computed(by, job->table);
#else
    (void)job, (void)terms, (void)by;
    return 0;
#endif
}

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

int64_t headrace_cut(const uint8_t *source, int64_t image_stride, int64_t images, const int64_t *source_grid,
                     const int64_t *indices, int64_t count, const int32_t *places, const int32_t *rows,
                     int64_t height, const int32_t *columns, int64_t width, const void *table, const void *fill,
                     const float *terms, int64_t item_bytes, const int64_t *out_grid, int64_t out_stride, void *out) {
    const grid *in = (const grid *)source_grid;
    const place *at = (const place *)places;
    if (!all_below(rows, height, in->height) || !all_below(columns, width, in->width)) return 0;
    for (int64_t i = 0; i < count; i++)
        if ((uint64_t)indices[i] >= (uint64_t)images || !is_sound(at + i, height, width)) return i;
    task job = {in, (const grid *)out_grid, rows, columns, 0, width, 0, table, fill, source, 0};
    job.source_end = end_of(source, image_stride, images, in);
    if (columns) find_inner(&job, columns, width);
    scaling by;
    const int computed = item_bytes == 4 && computes(&job, terms, &by);
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *image = source + indices[i] * image_stride;
        const uint8_t *ahead = i + AHEAD < count ? source + indices[i + AHEAD] * image_stride : 0;
        if (computed)
            computed_image(&job, image, ahead, at + i, &by, (uint32_t *)out + i * out_stride);
        else if (item_bytes == 1)
            cut_1_image(&job, image, ahead, at + i, (uint8_t *)out + i * out_stride);
        else if (item_bytes == 2)
            cut_2_image(&job, image, ahead, at + i, (uint16_t *)out + i * out_stride);
        else
            cut_4_image(&job, image, ahead, at + i, (uint32_t *)out + i * out_stride);
    }
    return -1;
}
