#include "planes.h"
#include "sort.h"

#if !defined(__x86_64__) || !defined(__GNUC__)

make_planes headrace_planes(const task *job, const float *terms, formula *by) {
    (void)job, (void)terms, (void)by;
    return 0;
}

#else

#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vbmi")))
#define INLINE static inline __attribute__((always_inline))

enum { COLOURS = 3, AVX2_LANES = 8, AVX512_LANES = 16 };

/* The columns [from, to) of an image that are seen. */
typedef struct {
    int64_t from, to;
} seen;

/* Makes one row of three planes, of columns that lie `plane` items apart. Column x comes from pixels + 3 * right * x, which
 * may be read for all columns; `columns` says which are seen, null that all are. The width is a block's at least. */
typedef void (*make_line)(const formula *by, const uint8_t *pixels, int right, const seen *columns, float *out,
                          int64_t width, int64_t plane);

/* ---- eight columns at a time */

/* The quotients are rounded as divisions are, save for rare divisors: gives_table finds out. */
AVX2 INLINE __m256 computed_8(__m128i bytes, const formula *by, int colour) {
    const __m256 value = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
    const __m256 rest = _mm256_mul_ps(value, _mm256_set1_ps(by->rest_d));
    const __m256 part = _mm256_fmadd_ps(value, _mm256_set1_ps(by->over_d), rest);
    const __m256 less = _mm256_sub_ps(part, _mm256_set1_ps(by->m[colour]));
    return _mm256_fmadd_ps(less, _mm256_set1_ps(by->over_s[colour]),
                           _mm256_mul_ps(less, _mm256_set1_ps(by->rest_s[colour])));
}

/* Write values to the columns from x on that are seen, and fill to the others. */
AVX2 INLINE void store_8(__m256 values, float fill, const seen *columns, int64_t x, float *out) {
    if (columns) {
        const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        const __m256i before = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(columns->from - x)), lane);
        const __m256i inside = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(columns->to - x)), lane);
        const __m256 mask = _mm256_castsi256_ps(_mm256_andnot_si256(before, inside));
        values = _mm256_blendv_ps(_mm256_set1_ps(fill), values, mask);
    }
    _mm256_storeu_ps(out, values);
}

AVX2 INLINE void line_8(const formula *by, const uint8_t *pixels, int right, const seen *columns, float *out,
                        int64_t width, int64_t plane) {
    const uint8_t *bytes = right > 0 ? pixels : pixels - COLOURS * (AVX2_LANES - 1);
    for (int64_t next = 0; next < width; next += AVX2_LANES) {
        const int64_t x = at_most(next, width - AVX2_LANES);
        __m128i red_green, blue;
        headrace_sort_8(bytes + COLOURS * right * x, right, &red_green, &blue);
        store_8(computed_8(red_green, by, 0), by->fill[0], columns, x, out + x);
        store_8(computed_8(_mm_srli_si128(red_green, 8), by, 1), by->fill[1], columns, x, out + x + plane);
        store_8(computed_8(blue, by, 2), by->fill[2], columns, x, out + x + 2 * plane);
    }
}

/* ---- sixteen columns at a time */

/* The numbers are those of computed_8, to the last bit. */
AVX512 INLINE __m512 computed_16(__m512i words, const formula *by, int colour) {
    const __m512 value = _mm512_cvtepi32_ps(words);
    const __m512 rest = _mm512_mul_ps(value, _mm512_set1_ps(by->rest_d));
    const __m512 part = _mm512_fmadd_ps(value, _mm512_set1_ps(by->over_d), rest);
    const __m512 less = _mm512_sub_ps(part, _mm512_set1_ps(by->m[colour]));
    return _mm512_fmadd_ps(less, _mm512_set1_ps(by->over_s[colour]),
                           _mm512_mul_ps(less, _mm512_set1_ps(by->rest_s[colour])));
}

/* Which byte of 48 is a colour of each column. */
AVX512 INLINE __m512i places_16(int right, int colour) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i column = right > 0 ? lane : _mm512_sub_epi32(_mm512_set1_epi32(AVX512_LANES - 1), lane);
    return _mm512_add_epi32(_mm512_mullo_epi32(column, _mm512_set1_epi32(COLOURS)), _mm512_set1_epi32(colour));
}

/* A bit for each column from x on that is seen. */
AVX512 INLINE __mmask16 mask_16(const seen *columns, int64_t x) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    if (!columns) return 0xFFFF;
    const __mmask16 inside = _mm512_cmplt_epi32_mask(lane, _mm512_set1_epi32((int)(columns->to - x)));
    return _mm512_mask_cmpge_epi32_mask(inside, lane, _mm512_set1_epi32((int)(columns->from - x)));
}

AVX512 INLINE void line_16(const formula *by, const uint8_t *pixels, int right, const seen *columns, float *out,
                           int64_t width, int64_t plane) {
    const uint8_t *bytes = right > 0 ? pixels : pixels - COLOURS * (AVX512_LANES - 1);
    const __mmask64 block = ((__mmask64)1 << COLOURS * AVX512_LANES) - 1, lowest = 0x1111111111111111;
    for (int64_t next = 0; next < width; next += AVX512_LANES) {
        const int64_t x = at_most(next, width - AVX512_LANES);
        const __m512i colours = _mm512_maskz_loadu_epi8(block, bytes + COLOURS * right * x);
        const __mmask16 mask = mask_16(columns, x);
        for (int c = 0; c < COLOURS; c++) {
            const __m512i words = _mm512_maskz_permutexvar_epi8(lowest, places_16(right, c), colours);
            const __m512 values = computed_16(words, by, c);
            _mm512_storeu_ps(out + x + c * plane, _mm512_mask_blend_ps(mask, _mm512_set1_ps(by->fill[c]), values));
        }
    }
}

/* ---- images, with either of them */

INLINE void filled_line(const formula *by, float *out, int64_t width, int64_t plane) {
    for (int c = 0; c < COLOURS; c++)
        for (int64_t x = 0; x < width; x++) out[c * plane + x] = by->fill[c];
}

/* For a row beside which there may be no memory: block by block, of what is seen alone. */
INLINE void careful_line(make_line make, int lanes, const formula *by, const uint8_t *pixels, int right,
                         const seen *columns, float *out, int64_t width, int64_t plane) {
    for (int64_t next = 0; next < width; next += lanes) {
        const int64_t x = at_most(next, width - lanes);
        const seen some = {at_most(at_least(columns->from - x, 0), lanes), at_most(at_least(columns->to - x, 0), lanes)};
        uint8_t copy[COLOURS * AVX512_LANES] = {0};
        for (int64_t i = some.from; i < some.to; i++)
            memcpy(copy + COLOURS * i, pixels + COLOURS * right * (x + i), COLOURS);
        make(by, copy, 1, &some, out + x, lanes, plane);
    }
}

/* Whether all columns of a row may be read, the unseen too. */
INLINE int is_readable(const task *job, const uint8_t *pixels, int right) {
    const int64_t bytes = COLOURS * job->shape->width;
    const uint8_t *first = right > 0 ? pixels : pixels + COLOURS - bytes;
    return first >= job->source && first + bytes <= job->source_end;
}

INLINE void make_image(make_line make, int lanes, int right, int whole, const task *job, const formula *terms,
                       const uint8_t *image, const uint8_t *ahead, const place *at, const seen *columns, float *out) {
    const formula own = *terms, *by = &own; /* which no write to `out` can change, so that it stays in registers */
    const int64_t width = job->shape->width, plane = job->shape->channel_stride;
    for (int64_t y = 0; y < job->shape->height; y++, out += job->shape->y_stride) {
        const uint8_t *row = row_of(job, image, at, y);
        prefetch(job, ahead, y);
        if (!row) {
            filled_line(by, out, width, plane);
            continue;
        }
        const uint8_t *pixels = pixel_of(job, row, at, 0);
        if (whole)
            make(by, pixels, right, 0, out, width, plane);
        else if (is_readable(job, pixels, right))
            make(by, pixels, right, columns, out, width, plane);
        else
            careful_line(make, lanes, by, pixels, right, columns, out, width, plane);
    }
}

/* Which loop it is, is decided once for an image. */
INLINE void make_any(make_line make, int lanes, const task *job, const formula *by, const uint8_t *image,
                     const uint8_t *ahead, const place *at, const spans *of, float *out) {
    const seen columns = {of->inner, of->inner_end};
    if (columns.from == 0 && columns.to == job->shape->width) {
        if (at->right > 0)
            make_image(make, lanes, 1, 1, job, by, image, ahead, at, &columns, out);
        else
            make_image(make, lanes, -1, 1, job, by, image, ahead, at, &columns, out);
    } else if (at->right > 0) {
        make_image(make, lanes, 1, 0, job, by, image, ahead, at, &columns, out);
    } else {
        make_image(make, lanes, -1, 0, job, by, image, ahead, at, &columns, out);
    }
}

AVX2 static void planes_8(const task *job, const formula *by, const uint8_t *image, const uint8_t *ahead,
                          const place *at, const spans *of, float *out) {
    make_any(line_8, AVX2_LANES, job, by, image, ahead, at, of, out);
}

AVX512 static void planes_16(const task *job, const formula *by, const uint8_t *image, const uint8_t *ahead,
                             const place *at, const spans *of, float *out) {
    make_any(line_16, AVX512_LANES, job, by, image, ahead, at, of, out);
}

/* ---- which of them */

static void divide_by(float divisor, float *over, float *rest) {
    *over = 1.0f / divisor;
    *rest = (float)(1.0 / (double)divisor - (double)(1.0f / divisor));
}

static formula formula_of(const float *terms, const float *fill) {
    formula by;
    divide_by(terms[0], &by.over_d, &by.rest_d);
    for (int c = 0; c < COLOURS; c++) {
        by.m[c] = terms[3 + c];
        divide_by(terms[6 + c], &by.over_s[c], &by.rest_s[c]);
        by.fill[c] = fill[c];
    }
    return by;
}

/* Whether it gives the table of three channels, to the last bit. */
AVX2 static int gives_table(const formula *by, const float *table) {
    for (int c = 0; c < COLOURS; c++)
        for (int first = 0; first < VALUES; first += AVX2_LANES) {
            const __m128i bytes = _mm_add_epi8(_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0, 0, 0, 0),
                                               _mm_set1_epi8((char)first));
            float found[AVX2_LANES];
            _mm256_storeu_ps(found, computed_8(bytes, by, c));
            if (memcmp(found, table + c * VALUES + first, sizeof found)) return 0;
        }
    return 1;
}

make_planes headrace_planes(const task *job, const float *terms, formula *by) {
    const grid *in = job->in, *shape = job->shape;
    if (in->channels != COLOURS || in->channel_stride != 1 || in->x_stride != COLOURS || shape->x_stride != 1 ||
        shape->width < AVX2_LANES || terms[0] != terms[1] || terms[0] != terms[2] || !__builtin_cpu_supports("avx2") ||
        !__builtin_cpu_supports("fma"))
        return 0;
    *by = formula_of(terms, job->fill);
    if (!gives_table(by, job->table)) return 0;
    const int wide = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi");
    return wide && shape->width >= AVX512_LANES ? planes_16 : planes_8;
}

#endif
