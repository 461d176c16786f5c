#include "copies.h"
#include "sort.h"

#include <string.h>

enum { GROUP_BYTES = 16, SORTED = 8, COLOURS = 3, MOST_CHANNELS = 4 /* that groups are mirrored of */ };

/* ---- lines of pixels that stay beside each other */

#ifdef HEADRACE_SSSE3
/* Groups of pixels with 16 bytes, of which those of three channels read and write one more, of a pixel before and after
 * them. Returns how many pixels are done, of which the first one must be. */
HEADRACE_SSSE3 static int64_t mirror_groups(const uint8_t *last, int64_t channels, uint8_t *out, int64_t count) {
    static const uint8_t orders[MOST_CHANNELS][GROUP_BYTES] = {
        {15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0},
        {14, 15, 12, 13, 10, 11, 8, 9, 6, 7, 4, 5, 2, 3, 0, 1},
        {12, 13, 14, 9, 10, 11, 6, 7, 8, 3, 4, 5, 0, 1, 2, 15},
        {12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3}};
    const __m128i order = _mm_loadu_si128((const __m128i *)orders[channels - 1]);
    const int64_t group = GROUP_BYTES / channels;
    int64_t x = 1;
    for (; x + group < count; x += group) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(last - (x + group - 1) * channels));
        _mm_storeu_si128((__m128i *)(out + x * channels), _mm_shuffle_epi8(bytes, order));
    }
    return x;
}
#endif

static void mirror_some(const uint8_t *last, int64_t channels, uint8_t *out, int64_t from, int64_t to) {
    for (int64_t x = from; x < to; x++)
        for (int64_t c = 0; c < channels; c++) out[x * channels + c] = last[c - x * channels];
}

static void copy_line(const uint8_t *pixels, int64_t right, int64_t channels, uint8_t *out, int64_t count) {
    int64_t done = 0;
    if (right > 0) {
        memcpy(out, pixels, (size_t)(count * channels));
        return;
    }
#ifdef HEADRACE_SSSE3
    if (count && channels <= MOST_CHANNELS && __builtin_cpu_supports("ssse3")) {
        mirror_some(pixels, channels, out, 0, 1);
        done = mirror_groups(pixels, channels, out, count);
    }
#endif
    mirror_some(pixels, channels, out, done, count);
}

static void copy_interleaved(const task *job, const uint8_t *pixels, int64_t right, uint8_t *out, int64_t count) {
    copy_line(pixels, right, job->in->channels, out, count);
}

static void copy_planes(const task *job, const uint8_t *pixels, int64_t right, uint8_t *out, int64_t count) {
    for (int64_t c = 0; c < job->in->channels; c++)
        copy_line(pixels + c * job->in->channel_stride, right, 1, out + c * job->shape->channel_stride, count);
}

/* ---- interleaved colours that become planes */

#ifdef HEADRACE_SSSE3
HEADRACE_SSSE3 static inline void sort_groups(const uint8_t *pixels, int right, uint8_t *out, int64_t plane,
                                              int64_t count) {
    const uint8_t *bytes = right > 0 ? pixels : pixels - COLOURS * (SORTED - 1);
    for (int64_t next = 0; next < count; next += SORTED) {
        const int64_t x = at_most(next, count - SORTED);
        __m128i red_green, blue;
        headrace_sort_8(bytes + COLOURS * right * x, right, &red_green, &blue);
        _mm_storel_epi64((__m128i *)(out + x), red_green);
        _mm_storel_epi64((__m128i *)(out + x + plane), _mm_unpackhi_epi64(red_green, red_green));
        _mm_storel_epi64((__m128i *)(out + x + 2 * plane), blue);
    }
}
#endif

static void sort_colours(const task *job, const uint8_t *pixels, int64_t right, uint8_t *out, int64_t count) {
    const int64_t plane = job->shape->channel_stride;
#ifdef HEADRACE_SSSE3
    if (count >= SORTED && __builtin_cpu_supports("ssse3")) {
        if (right > 0)
            sort_groups(pixels, 1, out, plane, count);
        else
            sort_groups(pixels, -1, out, plane, count);
        return;
    }
#endif
    for (int64_t x = 0; x < count; x++)
        for (int64_t c = 0; c < COLOURS; c++) out[c * plane + x] = pixels[COLOURS * right * x + c];
}

/* ---- which of them */

static int changes_values(const uint8_t *table, int64_t channels) {
    int different = 0;
    for (int64_t i = 0; i < channels * VALUES; i++) different |= table[i] ^ (uint8_t)i;
    return different;
}

static int is_interleaved(const grid *of) {
    return of->x_stride == of->channels && (of->channel_stride == 1 || of->channels == 1);
}

copy_run headrace_copies(const task *job) {
    if (changes_values(job->table, job->in->channels)) return 0;
    if (is_interleaved(job->in) && is_interleaved(job->shape)) return copy_interleaved;
    if (job->in->x_stride == 1 && job->shape->x_stride == 1) return copy_planes;
    return is_interleaved(job->in) && job->in->channels == COLOURS && job->shape->x_stride == 1 ? sort_colours : 0;
}
