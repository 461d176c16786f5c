#include "headrace.h"

#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) ((void)(address))
#endif

#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_AVX2 1
#include <immintrin.h>
#endif

enum { LINE = 64, AHEAD = 2, PREFETCH_LINES = 64 };

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

static int32_t at_least(int32_t value, int32_t least) { return value < least ? least : value; }
static int32_t at_most(int32_t value, int32_t most) { return value > most ? most : value; }

/* The output columns [*begin, *end) that show source columns of the part that is seen. */
static void seen_columns(const place *at, int32_t width, int32_t *begin, int32_t *end) {
    const int32_t first = at->right > 0 ? at->left - at->x : at->x - at->right_end + 1;
    const int32_t last = at->right > 0 ? at->right_end - at->x : at->x - at->left + 1;
    *begin = at_most(at_least(first, 0), width);
    *end = at_least(at_most(last, width), *begin);
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
            green[x] = table[256 + source[1]];                                                                         \
            blue[x] = table[512 + source[2]];                                                                          \
            source += step;                                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    static void NAME##_image(const uint8_t *source, const grid *in, const place *at, const ITEM *table,                \
                             const ITEM *fill, const grid *shape, ITEM *out) {                                         \
        const int64_t step = at->right * in->x_stride, stride = shape->x_stride;                                       \
        const int planes = in->channels == 3 && in->channel_stride == 1 && stride == 1;                                \
        int32_t begin, end;                                                                                            \
        seen_columns(at, (int32_t)shape->width, &begin, &end);                                                         \
        for (int32_t y = 0; y < shape->height; y++) {                                                                  \
            const int32_t row = at->y + at->down * y;                                                                  \
            const int seen = row >= at->top && row < at->bottom;                                                       \
            const int64_t from = seen ? begin : shape->width, to = seen ? end : shape->width;                          \
            ITEM *line = out + y * shape->y_stride;                                                                    \
            const uint8_t *pixels = source + row * in->y_stride + at->x * in->x_stride + from * step;                  \
            for (int64_t c = 0; c < in->channels; c++) {                                                               \
                ITEM *plane = line + c * shape->channel_stride;                                                        \
                NAME##_fill(plane, stride, from, fill[c]);                                                             \
                NAME##_fill(plane + to * stride, stride, shape->width - to, fill[c]);                                  \
                if (!planes)                                                                                           \
                    NAME##_look_up(pixels + c * in->channel_stride, step, table + c * 256, plane + from * stride,      \
                                   stride, to - from);                                                                 \
            }                                                                                                          \
            if (planes)                                                                                                \
                NAME##_look_up_3(pixels, step, table, line + from, line + shape->channel_stride + from,                \
                                 line + 2 * shape->channel_stride + from, to - from);                                  \
        }                                                                                                              \
    }

DEFINE_CUT(uint8_t, cut_1)
DEFINE_CUT(uint16_t, cut_2)
DEFINE_CUT(uint32_t, cut_4)

#ifdef HAS_AVX2
enum { LANES = 8 };

/* (value / terms[0] - terms[1]) / terms[2], rounded at each step as NumPy rounds, which a table of it has, too. */
__attribute__((target("avx2"))) static inline __m256 compute(__m128i values, __m256 divisor, __m256 mean,
                                                             __m256 deviation) {
    const __m256 number = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(values));
    return _mm256_div_ps(_mm256_sub_ps(_mm256_div_ps(number, divisor), mean), deviation);
}

/* Interleaved colours into three planes; returns how many pixels, a multiple of the lanes. step: 3 or -3 bytes. */
__attribute__((target("avx2"))) static int64_t compute_3(const uint8_t *source, int64_t step, const float *terms,
                                                         float *HEADRACE_RESTRICT out, int64_t plane, int64_t count) {
    /* Eight pixels are 24 bytes, read as bytes 0 to 15 and 8 to 23; each half becomes four of red, of green, of blue. */
    const __m128i low = _mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1);
    const __m128i high = _mm_setr_epi8(4, 7, 10, 13, 5, 8, 11, 14, 6, 9, 12, 15, -1, -1, -1, -1);
    const __m128i low_back = _mm_setr_epi8(9, 6, 3, 0, 10, 7, 4, 1, 11, 8, 5, 2, -1, -1, -1, -1);
    const __m128i high_back = _mm_setr_epi8(13, 10, 7, 4, 14, 11, 8, 5, 15, 12, 9, 6, -1, -1, -1, -1);
    __m256 of[9];
    for (int i = 0; i < 9; i++) of[i] = _mm256_set1_ps(terms[i]);
    int64_t x = 0;
    for (; x + LANES <= count; x += LANES) {
        const uint8_t *pixels = step > 0 ? source + x * 3 : source - (x + LANES - 1) * 3;
        const __m128i begin = _mm_loadu_si128((const __m128i *)pixels);
        const __m128i end = _mm_loadu_si128((const __m128i *)(pixels + 8));
        const __m128i first = step > 0 ? _mm_shuffle_epi8(begin, low) : _mm_shuffle_epi8(end, high_back);
        const __m128i second = step > 0 ? _mm_shuffle_epi8(end, high) : _mm_shuffle_epi8(begin, low_back);
        const __m128i red_green = _mm_unpacklo_epi32(first, second), blue = _mm_unpackhi_epi32(first, second);
        _mm256_storeu_ps(out + x, compute(red_green, of[0], of[3], of[6]));
        _mm256_storeu_ps(out + plane + x, compute(_mm_srli_si128(red_green, 8), of[1], of[4], of[7]));
        _mm256_storeu_ps(out + 2 * plane + x, compute(blue, of[2], of[5], of[8]));
    }
    return x;
}

/* Three interleaved colours into three planes of float, computed where the processor is quicker at that. */
static void computed_image(const uint8_t *source, const grid *in, const place *at, const uint32_t *table,
                           const uint32_t *fill, const float *terms, const grid *shape, uint32_t *out) {
    const int64_t step = at->right * in->x_stride, plane = shape->channel_stride;
    int32_t begin, end;
    seen_columns(at, (int32_t)shape->width, &begin, &end);
    for (int32_t y = 0; y < shape->height; y++) {
        const int32_t row = at->y + at->down * y;
        const int seen = row >= at->top && row < at->bottom;
        const int64_t from = seen ? begin : shape->width, to = seen ? end : shape->width;
        uint32_t *line = out + y * shape->y_stride;
        const uint8_t *pixels = source + row * in->y_stride + at->x * in->x_stride + from * step;
        for (int64_t c = 0; c < 3; c++) {
            cut_4_fill(line + c * plane, 1, from, fill[c]);
            cut_4_fill(line + c * plane + to, 1, shape->width - to, fill[c]);
        }
        const int64_t done = compute_3(pixels, step, terms, (float *)(line + from), plane, to - from);
        cut_4_look_up_3(pixels + done * step, step, table, line + from + done, line + plane + from + done,
                        line + 2 * plane + from + done, to - from - done);
    }
}
#endif

/* Whether the values can be computed with these terms, in place of being looked up. */
static int computes(const grid *in, const grid *shape, const float *terms) {
#ifdef HAS_AVX2
    return terms && in->channels == 3 && in->channel_stride == 1 && in->x_stride == 3 && shape->x_stride == 1 &&
           __builtin_cpu_supports("avx2");
#else
    (void)in, (void)shape, (void)terms;
    return 0;
#endif
}

static int is_sound(const place *at, const grid *in) {
    return (at->down == 1 || at->down == -1) && (at->right == 1 || at->right == -1) && at->top >= 0 &&
           at->bottom <= in->height && at->left >= 0 && at->right_end <= in->width;
}

static void prefetch(const uint8_t *image, int64_t bytes) {
    const int64_t lines = bytes / LINE < PREFETCH_LINES ? bytes / LINE : PREFETCH_LINES;
    for (int64_t line = 0; line <= lines; line++) PREFETCH(image + line * LINE);
}

int64_t headrace_cut(const uint8_t *source, int64_t image_stride, int64_t images, const int64_t *source_grid,
                     const int64_t *indices, int64_t count, const int32_t *places, const void *table,
                     const void *fill, const float *terms, int64_t item_bytes, const int64_t *out_grid,
                     int64_t out_stride, void *out) {
    const grid *in = (const grid *)source_grid, *shape = (const grid *)out_grid;
    const place *at = (const place *)places;
    for (int64_t i = 0; i < count; i++)
        if ((uint64_t)indices[i] >= (uint64_t)images || !is_sound(at + i, in)) return i;
    const int computed = computes(in, shape, terms);
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *image = source + indices[i] * image_stride;
        if (i + AHEAD < count) prefetch(source + indices[i + AHEAD] * image_stride, image_stride);
#ifdef HAS_AVX2
        if (computed) {
            computed_image(image, in, at + i, table, fill, terms, shape, (uint32_t *)out + i * out_stride);
            continue;
        }
#else
        (void)computed;
#endif
        if (item_bytes == 1)
            cut_1_image(image, in, at + i, table, fill, shape, (uint8_t *)out + i * out_stride);
        else if (item_bytes == 2)
            cut_2_image(image, in, at + i, table, fill, shape, (uint16_t *)out + i * out_stride);
        else
            cut_4_image(image, in, at + i, table, fill, shape, (uint32_t *)out + i * out_stride);
    }
    return -1;
}
