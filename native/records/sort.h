/* Sorting interleaved colours. */
#ifndef HEADRACE_SORT_H
#define HEADRACE_SORT_H

#if defined(__x86_64__) && defined(__GNUC__)
#define HEADRACE_SSSE3 __attribute__((target("ssse3")))
#include <immintrin.h>
#include <stdint.h>

/* Eight pixels that lie from `bytes` on, sorted by colour: bytes of red, then of green, and of blue, then none. Right is
 * negative where they come mirrored. */
HEADRACE_SSSE3 static inline __attribute__((always_inline)) void headrace_sort_8(const uint8_t *bytes, int right,
                                                                                __m128i *red_green, __m128i *blue) {
    /* They are 24 bytes, read as bytes 0 to 15 and 8 to 23; each half becomes four of red, of green, of blue. */
    const __m128i low = _mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1);
    const __m128i high = _mm_setr_epi8(4, 7, 10, 13, 5, 8, 11, 14, 6, 9, 12, 15, -1, -1, -1, -1);
    const __m128i low_back = _mm_setr_epi8(9, 6, 3, 0, 10, 7, 4, 1, 11, 8, 5, 2, -1, -1, -1, -1);
    const __m128i high_back = _mm_setr_epi8(13, 10, 7, 4, 14, 11, 8, 5, 15, 12, 9, 6, -1, -1, -1, -1);
    const __m128i begin = _mm_loadu_si128((const __m128i *)bytes);
    const __m128i end = _mm_loadu_si128((const __m128i *)(bytes + 8));
    const __m128i first = right > 0 ? _mm_shuffle_epi8(begin, low) : _mm_shuffle_epi8(end, high_back);
    const __m128i second = right > 0 ? _mm_shuffle_epi8(end, high) : _mm_shuffle_epi8(begin, low_back);
    *red_green = _mm_unpacklo_epi32(first, second);
    *blue = _mm_unpackhi_epi32(first, second);
}
#endif

#endif
