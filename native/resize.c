#include "scaling.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_AVX2 1
#include <immintrin.h>
#endif

enum { BITS = HEADRACE_WEIGHT_BITS, HALF = 1 << (BITS - 1), GROUP = HEADRACE_GROUP };

/* For AVX2 a weight is split in two of 16 bits. Four taps at a time, of up to four channels. */
enum { LOW_BITS = 11, GROUP_ITEMS = 32 };

enum { ROWS, COLUMNS = ROWS + HEADRACE_AXIS_SLOTS, PAIRS = COLUMNS + HEADRACE_AXIS_SLOTS, LINES, SUMS, SCALED, GATHERED };

/* Which lines [*begin, *end) of a scaled image are shown, where output line i shows line from + step * i of those in
 * [seen, seen_end). */
static void find_seen(int64_t from, int64_t step, int64_t count, int64_t seen, int64_t seen_end, int64_t *begin,
                      int64_t *end) {
    const int64_t last = from + step * (count - 1);
    *begin = headrace_larger(headrace_smaller(from, last), seen);
    *end = headrace_smaller(headrace_larger(from, last) + 1, seen_end);
}

static int stays(double low, double high, int32_t size) { return low == floor(low) && high - low == size; }

/* An axis along which the size stays as it is. */
static void keep_axis(headrace_axis *axis, double low) {
    axis->source = (int64_t)low + axis->begin;
    axis->source_end = axis->source + axis->count;
}

#ifdef HAS_AVX2
/* Each weight in two halves, those of two taps beside each other, once for each of up to four channels. */
static void pair_weights(const headrace_axis *axis, int16_t *pairs) {
    for (int64_t i = 0; i < axis->count * axis->stride; i += GROUP, pairs += GROUP_ITEMS) {
        const int32_t *weights = axis->weights + i;
        for (int item = 0; item < GROUP_ITEMS / 2; item++) {
            const int32_t weight = weights[item / 8 * 2 + item % 2];
            pairs[item] = (int16_t)(weight >> LOW_BITS);
            pairs[item + GROUP_ITEMS / 2] = (int16_t)(weight & ((1 << LOW_BITS) - 1));
        }
    }
}

/* Pixels [begin, end) of a scaled row, of as many groups of taps each as that; 0 for as many as each has. */
__attribute__((target("avx2"), always_inline)) static inline void scale_some(const uint8_t *pixels,
                                                                             const headrace_axis *axis,
                                                                             const int16_t *pairs, int64_t channels,
                                                                             __m256i shuffle, int64_t begin,
                                                                             int64_t end, int64_t groups,
                                                                             uint8_t *HEADRACE_RESTRICT out) {
    const int64_t pixel_items = axis->stride / GROUP * GROUP_ITEMS, step = GROUP * channels;
    const int64_t *HEADRACE_RESTRICT first = axis->first, *HEADRACE_RESTRICT taps = axis->taps;
    const int64_t source = axis->source;
    for (int64_t i = begin; i < end; i++) {
        const uint8_t *tap = pixels + (first[i] - source) * channels;
        const __m256i *pair = (const __m256i *)(pairs + i * pixel_items);
        const int64_t count = groups ? groups : (taps[i] + GROUP - 1) / GROUP;
        __m256i high = _mm256_setzero_si256(), low = high;
        for (int64_t group = 0; group < count; group++, tap += step, pair += 2) {
            const __m256i bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)tap));
            const __m256i words = _mm256_shuffle_epi8(bytes, shuffle);
            high = _mm256_add_epi32(high, _mm256_madd_epi16(words, _mm256_loadu_si256(pair)));
            low = _mm256_add_epi32(low, _mm256_madd_epi16(words, _mm256_loadu_si256(pair + 1)));
        }
        const __m256i halves = _mm256_add_epi32(_mm256_slli_epi32(high, LOW_BITS), low);
        __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
        sum = _mm_srai_epi32(_mm_add_epi32(sum, _mm_set1_epi32(HALF)), BITS);
        sum = _mm_packus_epi16(_mm_packus_epi32(sum, sum), sum);
        const int32_t four = _mm_cvtsi128_si32(sum); /* what is written too much is overwritten, or slack */
        memcpy(out + i * channels, &four, sizeof four);
    }
}

__attribute__((target("avx2"))) static void scale_columns_avx2(const uint8_t *pixels, const headrace_axis *axis,
                                                               const int16_t *pairs, int64_t channels, uint8_t *out) {
    uint8_t order[32]; /* bytes 2c and 2c + 1 of a lane's words: channel c of one tap, and of the next */
    for (int item = 0; item < 32; item += 2) {
        const int64_t tap = item / 16 * 2 + item % 4 / 2, channel = item % 16 / 4;
        order[item] = channel < channels ? (uint8_t)(tap * channels + channel) : 0x80;
        order[item + 1] = 0x80;
    }
    const __m256i shuffle = _mm256_loadu_si256((const __m256i *)order);
    /* Where the row goes on for long enough all pixels take as many steps, which the processor can foresee. */
    int64_t even = axis->count;
    while (even && axis->first[even - 1] + axis->stride > axis->source_end) even--;
    if (axis->stride == GROUP)
        scale_some(pixels, axis, pairs, channels, shuffle, 0, even, 1, out);
    else if (axis->stride == 2 * GROUP)
        scale_some(pixels, axis, pairs, channels, shuffle, 0, even, 2, out);
    else
        even = 0;
    scale_some(pixels, axis, pairs, channels, shuffle, even, axis->count, 0, out);
}

static int32_t two_words(int32_t first, int32_t second) {
    return (int32_t)((uint32_t)second << 16 | (uint32_t)(first & 0xFFFF));
}

/* One scaled row of 16 bytes at a time, from `taps` lines; the bytes behind it are slack. */
__attribute__((target("avx2"))) static void scale_line_avx2(const uint8_t *lines, int64_t line_bytes, int64_t taps,
                                                            const int32_t *weights, uint8_t *out) {
    for (int64_t x = 0; x < line_bytes; x += 16) {
        __m256i high_1 = _mm256_setzero_si256(), low_1 = high_1, high_2 = high_1, low_2 = high_1;
        for (int64_t tap = 0; tap < taps; tap += 2) {
            const int two = tap + 1 < taps;
            const uint8_t *line = lines + tap * line_bytes + x;
            const __m128i one = _mm_loadu_si128((const __m128i *)line);
            const __m128i next = two ? _mm_loadu_si128((const __m128i *)(line + line_bytes)) : one;
            const int32_t second = two ? weights[tap + 1] : 0;
            const __m256i pair_1 = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(one, next));
            const __m256i pair_2 = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(one, next));
            const __m256i high = _mm256_set1_epi32(two_words(weights[tap] >> LOW_BITS, second >> LOW_BITS));
            const int32_t mask = (1 << LOW_BITS) - 1;
            const __m256i low = _mm256_set1_epi32(two_words(weights[tap] & mask, second & mask));
            high_1 = _mm256_add_epi32(high_1, _mm256_madd_epi16(pair_1, high));
            low_1 = _mm256_add_epi32(low_1, _mm256_madd_epi16(pair_1, low));
            high_2 = _mm256_add_epi32(high_2, _mm256_madd_epi16(pair_2, high));
            low_2 = _mm256_add_epi32(low_2, _mm256_madd_epi16(pair_2, low));
        }
        const __m256i half = _mm256_set1_epi32(HALF);
        __m256i sum_1 = _mm256_add_epi32(_mm256_slli_epi32(high_1, LOW_BITS), _mm256_add_epi32(low_1, half));
        __m256i sum_2 = _mm256_add_epi32(_mm256_slli_epi32(high_2, LOW_BITS), _mm256_add_epi32(low_2, half));
        sum_1 = _mm256_srai_epi32(sum_1, BITS);
        sum_2 = _mm256_srai_epi32(sum_2, BITS);
        const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(sum_1, sum_2), 0xD8);
        const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128((__m128i *)(out + x), bytes);
    }
}
#endif

static uint8_t rounded(int32_t sum) { return (uint8_t)headrace_smaller(headrace_larger(sum >> BITS, 0), 255); }

static void scale_columns(const uint8_t *pixels, const headrace_axis *axis, int64_t channels, uint8_t *out) {
    for (int64_t i = 0; i < axis->count; i++) {
        const uint8_t *source = pixels + (axis->first[i] - axis->source) * channels;
        const int32_t *weights = axis->weights + i * axis->stride;
        for (int64_t c = 0; c < channels; c++) {
            int32_t sum = HALF;
            for (int64_t tap = 0; tap < axis->taps[i]; tap++) sum += source[tap * channels + c] * weights[tap];
            out[i * channels + c] = rounded(sum);
        }
    }
}

static void scale_line(const uint8_t *lines, int64_t line_bytes, int64_t taps, const int32_t *weights, int32_t *sums,
                       uint8_t *out) {
    for (int64_t x = 0; x < line_bytes; x++) sums[x] = HALF;
    for (int64_t tap = 0; tap < taps; tap++)
        for (int64_t x = 0; x < line_bytes; x++) sums[x] += lines[tap * line_bytes + x] * weights[tap];
    for (int64_t x = 0; x < line_bytes; x++) out[x] = rounded(sums[x]);
}

static int has_avx2(void) {
#ifdef HAS_AVX2
    return __builtin_cpu_supports("avx2");
#else
    return 0;
#endif
}

static int begin_axes(headrace_scaling *scaling, headrace_scratch *scratch, const double *box, const int32_t *size,
                      const headrace_filter *filter) {
    scaling->copies = stays(box[0], box[2], size[0]) && stays(box[1], box[3], size[1]);
    if (scaling->copies) {
        keep_axis(&scaling->rows, box[0]);
        keep_axis(&scaling->columns, box[1]);
        return 1;
    }
    return headrace_begin_axis(&scaling->rows, scratch, ROWS, box[0], box[2], size[0], filter) &&
           headrace_begin_axis(&scaling->columns, scratch, COLUMNS, box[1], box[3], size[1], filter);
}

static int begin_memory(headrace_scaling *scaling, headrace_scratch *scratch) {
    const headrace_axis *rows = &scaling->rows;
    const size_t line = (size_t)scaling->line_bytes;
    scaling->scaled = headrace_memory(scratch, SCALED, (size_t)rows->count * line);
    if (!scaling->scaled || scaling->copies) return scaling->scaled != NULL;
    scaling->lines = headrace_memory(scratch, LINES, (size_t)(rows->source_end - rows->source) * line);
    scaling->sums = headrace_memory(scratch, SUMS, line * sizeof *scaling->sums);
#ifdef HAS_AVX2
    if (has_avx2()) {
        const size_t items = (size_t)(scaling->columns.count * scaling->columns.stride / GROUP) * GROUP_ITEMS;
        scaling->pairs = headrace_memory(scratch, PAIRS, items * sizeof *scaling->pairs);
        if (!scaling->pairs) return 0;
        pair_weights(&scaling->columns, scaling->pairs);
    }
#endif
    return scaling->lines && scaling->sums;
}

int headrace_begin_scaling(headrace_scaling *scaling, headrace_scratch *scratch, const headrace_finish *finish,
                           int64_t row, const double *box, const int32_t *size, const headrace_filter *filter) {
    const int32_t *place = finish->places + row * 8;
    int64_t end;
    memset(scaling, 0, sizeof *scaling);
    scaling->finish = finish;
    scaling->row = row;
    find_seen(place[0], place[2], finish->out_grid[0], place[4], place[5], &scaling->rows.begin, &end);
    scaling->rows.count = end - scaling->rows.begin;
    find_seen(place[1], place[3], finish->out_grid[1], place[6], place[7], &scaling->columns.begin, &end);
    scaling->columns.count = end - scaling->columns.begin;
    if (scaling->rows.count <= 0 || scaling->columns.count <= 0) {
        scaling->rows.count = scaling->columns.count = 0;
        scaling->scaled = headrace_memory(scratch, SCALED, 0);
        return scaling->scaled ? 0 : -1;
    }
    scaling->line_bytes = scaling->columns.count * finish->channels;
    return begin_axes(scaling, scratch, box, size, filter) && begin_memory(scaling, scratch) ? 1 : -1;
}

/* One row of the scaled image, of lines that have come. */
static void make_row(const headrace_scaling *scaling, int64_t row) {
    const headrace_axis *rows = &scaling->rows;
    const uint8_t *lines = scaling->lines + (rows->first[row] - rows->source) * scaling->line_bytes;
    const int32_t *weights = rows->weights + row * rows->stride;
    uint8_t *out = scaling->scaled + row * scaling->line_bytes;
#ifdef HAS_AVX2
    if (scaling->pairs) {
        scale_line_avx2(lines, scaling->line_bytes, rows->taps[row], weights, out);
        return;
    }
#endif
    scale_line(lines, scaling->line_bytes, rows->taps[row], weights, scaling->sums, out);
}

static void make_line(const headrace_scaling *scaling, const uint8_t *pixels, uint8_t *line) {
#ifdef HAS_AVX2
    if (scaling->pairs) {
        scale_columns_avx2(pixels, &scaling->columns, scaling->pairs, scaling->finish->channels, line);
        return;
    }
#endif
    scale_columns(pixels, &scaling->columns, scaling->finish->channels, line);
}

void headrace_scale_row(headrace_scaling *scaling, const uint8_t *pixels) {
    const headrace_axis *rows = &scaling->rows;
    const int64_t came = scaling->came++, place = came * scaling->line_bytes;
    if (scaling->copies) {
        memcpy(scaling->scaled + place, pixels, (size_t)scaling->line_bytes);
        return;
    }
    if (rows->source + came < rows->first[scaling->made]) return; /* no row needs it */
    make_line(scaling, pixels, scaling->lines + place);
    while (scaling->made < rows->count &&
           rows->first[scaling->made] + rows->taps[scaling->made] - rows->source <= scaling->came)
        make_row(scaling, scaling->made++);
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
            headrace_scale_row(scaling, pixels);
        } else {
            gather_row(gathered, pixels, width, channels, x_stride, channel_stride);
            headrace_scale_row(scaling, gathered);
        }
    }
    return 1;
}

void headrace_end_scaling(const headrace_scaling *scaling) {
    const headrace_finish *to = scaling->finish;
    const int64_t rows = scaling->rows.count, columns = scaling->columns.count, zero = 0;
    const int64_t grid[6] = {rows, columns, to->channels, columns * to->channels, to->channels, 1};
    const int32_t *seen = to->places + scaling->row * 8;
    /* the same place, in the part of the scaled image that was made */
    const int32_t place[8] = {seen[0] - (int32_t)scaling->rows.begin, seen[1] - (int32_t)scaling->columns.begin,
                              seen[2], seen[3], 0, (int32_t)rows, 0, (int32_t)columns};
    headrace_cut(scaling->scaled, 0, 1, grid, &zero, 1, place, NULL, rows, NULL, columns, to->table, to->fill, to->terms,
                 to->item_bytes, to->out_grid, to->out_stride,
                 (char *)to->out + scaling->row * to->out_stride * to->item_bytes, 1);
}

typedef struct {
    const uint8_t *source, *end;
    int64_t image_stride;
    const int64_t *grid, *indices;
    const double *boxes;
    const int32_t *turns, *sizes;
    headrace_filter filter;
    headrace_finish finish;
    int32_t *failures;
} images;

/* One image, turned: a transposition, then mirrored rows, then mirrored columns. */
static void scale_image(void *context, headrace_scratch *scratch, int64_t row) {
    images *all = context;
    const int32_t turn = all->turns[row];
    const int swapped = (turn & HEADRACE_TRANSPOSED) != 0;
    headrace_scaling scaling;
    int begun = headrace_begin_scaling(&scaling, scratch, &all->finish, row, all->boxes + row * 4,
                                       all->sizes + row * 2, &all->filter);
    if (begun > 0) {
        const int64_t height = all->grid[swapped], width = all->grid[!swapped];
        int64_t y_stride = all->grid[3 + swapped], x_stride = all->grid[3 + !swapped];
        const uint8_t *pixels = all->source + all->indices[row] * all->image_stride;
        if (turn & HEADRACE_ROWS_MIRRORED) pixels += y_stride * (height - 1), y_stride = -y_stride;
        if (turn & HEADRACE_COLUMNS_MIRRORED) pixels += x_stride * (width - 1), x_stride = -x_stride;
        pixels += scaling.rows.source * y_stride + scaling.columns.source * x_stride;
        if (!headrace_scale_rows(&scaling, scratch, pixels, y_stride, x_stride, all->grid[5], all->end)) begun = -1;
    }
    if (begun >= 0) headrace_end_scaling(&scaling);
    all->failures[row] = begun < 0;
}

void headrace_scale(const uint8_t *source, int64_t image_stride, int64_t count_images, const int64_t *source_grid,
                    const int64_t *indices, int64_t count, const double *boxes, const int32_t *turns,
                    const int32_t *sizes, int32_t interpolation, int32_t antialias, const int32_t *places,
                    const void *table, const void *fill, const float *terms, int64_t item_bytes,
                    const int64_t *out_grid, int64_t out_stride, void *out, int32_t threads, int32_t *failures) {
    images all = {.source = source, .image_stride = image_stride, .grid = source_grid, .indices = indices,
                  .boxes = boxes, .turns = turns, .sizes = sizes, .filter = {interpolation, antialias},
                  .finish = {source_grid[2], places, table, fill, terms, item_bytes, out_grid, out_stride, out},
                  .failures = failures};
    /* No pixel lies behind this one, whichever of the strides is negative. */
    all.end = source + 1;
    if (image_stride > 0) all.end += (count_images - 1) * image_stride;
    for (int axis = 0; axis < 3; axis++)
        if (source_grid[3 + axis] > 0) all.end += (source_grid[axis] - 1) * source_grid[3 + axis];
    headrace_each(count, threads, scale_image, &all);
}
