#include "scaling.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_AVX2 1
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2")))
#define AVX2_INLINE AVX2 __attribute__((always_inline)) static inline
#endif

enum { BITS = HEADRACE_WEIGHT_BITS, HALF = 1 << (BITS - 1), TOGETHER = 4 /* channels; for AVX2 no more */ };

/* ---- for any processor */

static uint8_t rounded(int32_t sum) { return (uint8_t)headrace_smaller(headrace_larger(sum >> BITS, 0), 255); }

static void scale_columns(const headrace_axis *axis, int64_t channels, const uint8_t *pixels, uint8_t *line) {
    for (int64_t i = 0; i < axis->count; i++)
        for (int64_t from = 0; from < channels; from += TOGETHER) {
            const uint8_t *source = pixels + (axis->first[i] - axis->source) * channels + from;
            const int32_t *weights = axis->weights + i * axis->stride;
            /* what is read and written too much is slack, or overwritten */
            int32_t sums[TOGETHER] = {HALF, HALF, HALF, HALF};
            for (int64_t tap = 0; tap < axis->taps[i]; tap++, source += channels)
                for (int c = 0; c < TOGETHER; c++) sums[c] += source[c] * weights[tap];
            for (int c = 0; c < TOGETHER; c++) line[i * channels + from + c] = rounded(sums[c]);
        }
}

static void scale_rows(const uint8_t *lines, int64_t line_bytes, int64_t taps, const int32_t *weights,
                       int32_t *HEADRACE_RESTRICT sums, uint8_t *row) {
    for (int64_t x = 0; x < line_bytes; x++) sums[x] = HALF;
    for (int64_t tap = 0; tap < taps; tap++)
        for (int64_t x = 0; x < line_bytes; x++) sums[x] += lines[tap * line_bytes + x] * weights[tap];
    for (int64_t x = 0; x < line_bytes; x++) row[x] = rounded(sums[x]);
}

/* ---- for AVX2, which multiplies 16 bits and adds two products: weights are split in halves, and taps go in pairs */

#ifdef HAS_AVX2
enum {
    LOW_BITS = 11,
    BLOCK = 8,         /* pixels of a line that are made together: of each two one is of the first four */
    PAIR_ITEMS = 16,   /* the weights of a pair of taps, for two pixels of four channels: high halves, then low ones */
    ORDERS_ITEMS = 24, /* three orders of bytes */
    STEP = 32          /* bytes of a row that are made together */
};

static int32_t two_words(int32_t first, int32_t second) {
    return (int32_t)((uint32_t)second << 16 | (uint32_t)(first & 0xFFFF));
}

/* Put in place of the weights of each pair of taps the high halves of both, and the low ones. */
static void split_weights(headrace_axis *axis) {
    const int32_t mask = (1 << LOW_BITS) - 1;
    for (int64_t i = 0; i < axis->count * axis->stride; i += 2) {
        const int32_t one = axis->weights[i], other = axis->weights[i + 1];
        axis->weights[i] = two_words(one >> LOW_BITS, other >> LOW_BITS);
        axis->weights[i + 1] = two_words(one & mask, other & mask);
    }
}

/* Let all pixels have as many taps, and none begin so late that they go beyond the end of a line that is as long. */
static void shift_last(headrace_axis *axis) {
    const int64_t latest = headrace_larger(axis->source_end - axis->stride, axis->source);
    for (int64_t i = axis->count - 1; i >= 0 && axis->first[i] > latest; i--) {
        int32_t *weights = axis->weights + i * axis->stride;
        const int64_t by = axis->first[i] - latest;
        memmove(weights + by, weights, (size_t)(axis->stride - by) * sizeof *weights);
        memset(weights, 0, (size_t)by * sizeof *weights);
        axis->first[i] = latest;
    }
}

static int64_t block_items(const headrace_axis *axis) { return BLOCK + BLOCK / 2 * axis->stride / 2 * PAIR_ITEMS; }

static int64_t count_blocks(const headrace_axis *axis) { return (axis->count + BLOCK - 1) / BLOCK; }

static void fill_orders(int64_t channels, uint8_t *first, uint8_t *second, uint8_t *joined) {
    for (int64_t i = 0; i < 32; i++) {
        const int64_t byte = i % 16, channel = byte / 4;
        const int seen = channel < channels && byte % 2 == 0;
        first[i] = seen ? (uint8_t)(byte % 4 / 2 * channels + channel) : 0x80;
        second[i] = seen ? (uint8_t)(first[i] + 2 * channels) : 0x80;
        joined[i] = byte < 4 * channels ? (uint8_t)(byte / channels * 4 + byte % channels) : 0x80;
    }
}

/* Of each block, where its pixels begin in a line, in bytes, and their weights in the order of their use. */
static void fill_blocks(const headrace_axis *axis, int64_t channels, int32_t *blocks) {
    const int64_t items = block_items(axis);
    uint8_t *orders = (uint8_t *)blocks;
    fill_orders(channels, orders, orders + 32, orders + 64);
    blocks += ORDERS_ITEMS;
    memset(blocks, 0, (size_t)(count_blocks(axis) * items) * sizeof *blocks);
    for (int64_t i = 0; i < axis->count; i++) {
        const int64_t place = i % BLOCK, lane = place / 4;
        int32_t *block = blocks + i / BLOCK * items, *out = block + BLOCK + place % 4 * axis->stride / 2 * PAIR_ITEMS;
        block[place] = (int32_t)((axis->first[i] - axis->source) * channels);
        for (int64_t tap = 0; tap < axis->stride; tap += 2, out += PAIR_ITEMS)
            for (int64_t c = 0; c < 4; c++) {
                out[4 * lane + c] = axis->weights[i * axis->stride + tap];
                out[8 + 4 * lane + c] = axis->weights[i * axis->stride + tap + 1];
            }
    }
}

/* How bytes become words, and sums become bytes. */
typedef struct {
    __m256i first, second; /* taps 0 and 1 of four, and 2 and 3: in words 2c and 2c + 1 of a lane their channel c */
    __m256i joined;        /* four pixels of four bytes, without those that are no channel */
} orders;

#define LOAD(address) _mm256_loadu_si256((const __m256i *)(address))

/* Sums in two halves. */
typedef struct {
    __m256i high, low;
} halves;

AVX2_INLINE halves add_pair(halves sums, __m256i words, __m256i high, __m256i low) {
    sums.high = _mm256_add_epi32(sums.high, _mm256_madd_epi16(words, high));
    sums.low = _mm256_add_epi32(sums.low, _mm256_madd_epi16(words, low));
    return sums;
}

AVX2_INLINE halves no_sums(void) {
    const halves sums = {_mm256_setzero_si256(), _mm256_set1_epi32(HALF)};
    return sums;
}

AVX2_INLINE __m256i joined_sums(halves sums) {
    return _mm256_srai_epi32(_mm256_add_epi32(_mm256_slli_epi32(sums.high, LOW_BITS), sums.low), BITS);
}

AVX2_INLINE __m256i to_bytes(const __m256i sums[4]) {
    return _mm256_packus_epi16(_mm256_packs_epi32(sums[0], sums[1]), _mm256_packs_epi32(sums[2], sums[3]));
}

/* Two pixels of a line, from so many pairs of taps. */
AVX2_INLINE __m256i two_pixels(const uint8_t *one, const uint8_t *other, int64_t pairs, const int32_t *weights,
                                      int64_t channels, const orders *by) {
    halves sums = no_sums();
    for (int64_t pair = 0; pair < pairs; pair += 2, one += 4 * channels, other += 4 * channels) {
        const __m256i bytes = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)one)), _mm_loadu_si128((const __m128i *)other), 1);
        sums = add_pair(sums, _mm256_shuffle_epi8(bytes, by->first), LOAD(weights), LOAD(weights + 8));
        weights += PAIR_ITEMS;
        if (pair + 1 == pairs) break;
        sums = add_pair(sums, _mm256_shuffle_epi8(bytes, by->second), LOAD(weights), LOAD(weights + 8));
        weights += PAIR_ITEMS;
    }
    return joined_sums(sums);
}

/* A line, where a pixel has so many pairs of taps. What is written too much is slack, or overwritten. */
AVX2_INLINE void make_blocks(const headrace_axis *axis, const int32_t *blocks, int64_t pairs, int64_t channels,
                             const uint8_t *pixels, uint8_t *line) {
    const orders by = {LOAD(blocks), LOAD(blocks + 8), LOAD(blocks + 16)};
    const int64_t count = count_blocks(axis), pixel_items = pairs * PAIR_ITEMS;
    blocks += ORDERS_ITEMS;
    for (int64_t i = 0; i < count; i++, line += BLOCK * channels) {
        const int32_t *from = blocks;
        __m256i sums[4];
        blocks += BLOCK;
        for (int k = 0; k < 4; k++, blocks += pixel_items)
            sums[k] = two_pixels(pixels + from[k], pixels + from[k + 4], pairs, blocks, channels, &by);
        const __m256i bytes = _mm256_shuffle_epi8(to_bytes(sums), by.joined);
        _mm_storeu_si128((__m128i *)line, _mm256_castsi256_si128(bytes));
        _mm_storeu_si128((__m128i *)(line + 4 * channels), _mm256_extracti128_si256(bytes, 1));
    }
}

AVX2 static void scale_columns_avx2(const headrace_axis *axis, const int32_t *blocks, int64_t channels,
                                    const uint8_t *pixels, uint8_t *line) {
    const int64_t pairs = axis->stride / 2;
    if (channels == 3 && pairs == 1)
        make_blocks(axis, blocks, 1, 3, pixels, line);
    else if (channels == 3 && pairs == 2)
        make_blocks(axis, blocks, 2, 3, pixels, line);
    else if (channels == 3 && pairs == 3)
        make_blocks(axis, blocks, 3, 3, pixels, line);
    else
        make_blocks(axis, blocks, pairs, channels, pixels, line);
}

/* Two lines whose bytes alternate, as words: those of the first eight bytes of a lane, and of the others. */
AVX2_INLINE void add_lines(halves sums[4], __m256i one, __m256i other, __m256i high, __m256i low) {
    const __m256i zero = _mm256_setzero_si256();
    const __m256i first = _mm256_unpacklo_epi8(one, other), second = _mm256_unpackhi_epi8(one, other);
    sums[0] = add_pair(sums[0], _mm256_unpacklo_epi8(first, zero), high, low);
    sums[1] = add_pair(sums[1], _mm256_unpackhi_epi8(first, zero), high, low);
    sums[2] = add_pair(sums[2], _mm256_unpacklo_epi8(second, zero), high, low);
    sums[3] = add_pair(sums[3], _mm256_unpackhi_epi8(second, zero), high, low);
}

/* A row of the scaled image, of so many pairs of lines; the bytes behind it are slack. */
AVX2_INLINE void make_steps(const uint8_t *lines, int64_t line_bytes, int64_t taps, int64_t pairs,
                            const int32_t *weights, uint8_t *row) {
    const int64_t last = taps % 2 ? 0 : line_bytes; /* where the last one has no other, its own counts nothing */
    for (int64_t x = 0; x < line_bytes; x += STEP, lines += STEP) {
        halves sums[4] = {no_sums(), no_sums(), no_sums(), no_sums()};
        for (int64_t pair = 0; pair < pairs; pair++) {
            const uint8_t *one = lines + 2 * pair * line_bytes, *other = one + (pair + 1 < pairs ? line_bytes : last);
            add_lines(sums, LOAD(one), LOAD(other), _mm256_set1_epi32(weights[2 * pair]),
                      _mm256_set1_epi32(weights[2 * pair + 1]));
        }
        const __m256i joined[4] = {joined_sums(sums[0]), joined_sums(sums[1]), joined_sums(sums[2]),
                                   joined_sums(sums[3])};
        _mm256_storeu_si256((__m256i *)(row + x), to_bytes(joined));
    }
}

AVX2 static void scale_rows_avx2(const uint8_t *lines, int64_t line_bytes, int64_t taps, const int32_t *weights,
                                 uint8_t *row) {
    const int64_t pairs = (taps + 1) / 2;
    if (pairs == 1)
        make_steps(lines, line_bytes, taps, 1, weights, row);
    else if (pairs == 2)
        make_steps(lines, line_bytes, taps, 2, weights, row);
    else
        make_steps(lines, line_bytes, taps, pairs, weights, row);
}
#endif

/* ---- whichever there is */

int headrace_begin_lines(headrace_scaling *scaling, headrace_scratch *scratch, int slot) {
#ifdef HAS_AVX2
    if (scaling->finish->channels <= TOGETHER && __builtin_cpu_supports("avx2")) {
        headrace_axis *columns = &scaling->columns;
        shift_last(columns);
        split_weights(columns);
        split_weights(&scaling->rows);
        const size_t items = ORDERS_ITEMS + (size_t)(count_blocks(columns) * block_items(columns));
        scaling->blocks = headrace_memory(scratch, slot, items * sizeof *scaling->blocks);
        if (scaling->blocks) fill_blocks(columns, scaling->finish->channels, scaling->blocks);
        return scaling->blocks != NULL;
    }
#endif
    scaling->sums = headrace_memory(scratch, slot, (size_t)scaling->line_bytes * sizeof *scaling->sums);
    return scaling->sums != NULL;
}

void headrace_make_line(const headrace_scaling *scaling, const uint8_t *pixels, uint8_t *line) {
#ifdef HAS_AVX2
    if (scaling->blocks) {
        scale_columns_avx2(&scaling->columns, scaling->blocks, scaling->finish->channels, pixels, line);
        return;
    }
#endif
    scale_columns(&scaling->columns, scaling->finish->channels, pixels, line);
}

void headrace_make_row(const headrace_scaling *scaling, int64_t row) {
    const headrace_axis *rows = &scaling->rows;
    const uint8_t *lines = scaling->lines + (rows->first[row] - rows->source - scaling->kept) * scaling->line_bytes;
    const int32_t *weights = rows->weights + row * rows->stride;
    uint8_t *out = scaling->scaled + row * scaling->line_bytes;
#ifdef HAS_AVX2
    if (scaling->blocks) {
        scale_rows_avx2(lines, scaling->line_bytes, rows->taps[row], weights, out);
        return;
    }
#endif
    scale_rows(lines, scaling->line_bytes, rows->taps[row], weights, scaling->sums, out);
}
