#include "baseline.h"

#ifdef HAS_AVX2
#include <immintrin.h>
#endif

/* YCbCr to RGB (ITU-R BT.601, by section 7 of the JFIF specification), with 16 bits behind the point as libjpeg has. */
enum { POINT = 16, ONE = 1 << POINT, HALF = ONE / 2, CENTRE = 128 };
enum { RED_OF_RED = 91881, BLUE_OF_BLUE = 116130, GREEN_OF_BLUE = -22554, GREEN_OF_RED = -46802 };

enum { AT_ONCE = HEADRACE_AT_ONCE };

static inline uint8_t clamped(int32_t value) { return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value); }

#ifdef HAS_AVX2
#define AVX2 __attribute__((target("avx2"), always_inline)) static inline

/* value * factor, rounded, with 16 bits behind the factor's point. It has no more than 15; whole parts are added. */
AVX2 __m256i scaled(__m256i value, int factor) {
    const __m256i twice = _mm256_mulhi_epi16(_mm256_add_epi16(value, value), _mm256_set1_epi16((short)factor));
    return _mm256_srai_epi16(_mm256_add_epi16(twice, _mm256_set1_epi16(1)), 1);
}

typedef struct {
    __m256i red, green, blue; /* 16 words each */
} rgb;

AVX2 rgb to_rgb(__m256i y, __m256i b, __m256i r) {
    const __m256i factors = _mm256_set1_epi32((GREEN_OF_RED + ONE) << 16 | (GREEN_OF_BLUE & 0xFFFF));
    const __m256i half = _mm256_set1_epi32(HALF);
    const __m256i low = _mm256_madd_epi16(_mm256_unpacklo_epi16(b, r), factors);
    const __m256i high = _mm256_madd_epi16(_mm256_unpackhi_epi16(b, r), factors);
    const __m256i green = _mm256_packs_epi32(_mm256_srai_epi32(_mm256_add_epi32(low, half), POINT),
                                             _mm256_srai_epi32(_mm256_add_epi32(high, half), POINT));
    const __m256i blue = _mm256_add_epi16(_mm256_add_epi16(b, b), scaled(b, BLUE_OF_BLUE - 2 * ONE));
    return (rgb){_mm256_add_epi16(y, _mm256_add_epi16(r, scaled(r, RED_OF_RED - ONE))),
                 _mm256_add_epi16(y, _mm256_sub_epi16(green, r)), _mm256_add_epi16(y, blue)};
}

/* Where the 16 bytes of one colour are among the 48 bytes of 16 pixels. */
AVX2 void find_places(int colour, __m256i places[3]) {
    int8_t place[48];
    for (int i = 0; i < 48; i++) place[i] = (int8_t)(i % 3 == colour ? i / 3 : -1);
    for (int i = 0; i < 3; i++)
        places[i] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(place + 16 * i)));
}

__attribute__((target("avx2"))) static void to_pixels_avx2(const uint8_t *luma, const uint8_t *blue,
                                                           const uint8_t *red, int64_t count, uint8_t *out) {
    const __m256i zero = _mm256_setzero_si256(), centre = _mm256_set1_epi16(CENTRE);
    __m256i places[3][3];
    for (int colour = 0; colour < 3; colour++) find_places(colour, places[colour]);
    for (int64_t i = 0; i < count; i += AT_ONCE, out += 3 * AT_ONCE) {
        const __m256i y = _mm256_loadu_si256((const __m256i *)(luma + i));
        const __m256i b = _mm256_loadu_si256((const __m256i *)(blue + i));
        const __m256i r = _mm256_loadu_si256((const __m256i *)(red + i));
        const rgb low = to_rgb(_mm256_unpacklo_epi8(y, zero), _mm256_sub_epi16(_mm256_unpacklo_epi8(b, zero), centre),
                               _mm256_sub_epi16(_mm256_unpacklo_epi8(r, zero), centre));
        const rgb high = to_rgb(_mm256_unpackhi_epi8(y, zero), _mm256_sub_epi16(_mm256_unpackhi_epi8(b, zero), centre),
                                _mm256_sub_epi16(_mm256_unpackhi_epi8(r, zero), centre));
        const __m256i bytes[3] = {_mm256_packus_epi16(low.red, high.red), _mm256_packus_epi16(low.green, high.green),
                                  _mm256_packus_epi16(low.blue, high.blue)};
        for (int part = 0; part < 3; part++) {
            __m256i mixed = _mm256_shuffle_epi8(bytes[0], places[0][part]);
            mixed = _mm256_or_si256(mixed, _mm256_shuffle_epi8(bytes[1], places[1][part]));
            mixed = _mm256_or_si256(mixed, _mm256_shuffle_epi8(bytes[2], places[2][part]));
            _mm_storeu_si128((__m128i *)(out + 16 * part), _mm256_castsi256_si128(mixed));
            _mm_storeu_si128((__m128i *)(out + 48 + 16 * part), _mm256_extracti128_si256(mixed, 1));
        }
    }
}
#endif

void headrace_colours_to_pixels(const uint8_t *luma, const uint8_t *blue, const uint8_t *red, int64_t count,
                                uint8_t *HEADRACE_RESTRICT out) {
#ifdef HAS_AVX2
    if (__builtin_cpu_supports("avx2")) {
        to_pixels_avx2(luma, blue, red, count, out);
        return;
    }
#endif
    for (int64_t i = 0; i < count; i++) {
        const int32_t y = luma[i], b = blue[i] - CENTRE, r = red[i] - CENTRE;
        out[3 * i] = clamped(y + ((RED_OF_RED * r + HALF) >> POINT));
        out[3 * i + 1] = clamped(y + ((GREEN_OF_BLUE * b + GREEN_OF_RED * r + HALF) >> POINT));
        out[3 * i + 2] = clamped(y + ((BLUE_OF_BLUE * b + HALF) >> POINT));
    }
}

HEADRACE_CLONES
void headrace_grey_to_pixels(const uint8_t *luma, int64_t count, uint8_t *HEADRACE_RESTRICT out) {
    for (int64_t i = 0; i < count; i++) out[3 * i] = out[3 * i + 1] = out[3 * i + 2] = luma[i];
}

/* Colours that have half as many samples: each new one is three parts of the nearest and one of the next. The last bit
 * is rounded up and down by turns, as libjpeg does. */

HEADRACE_CLONES
void headrace_double_columns(const uint8_t *row, int64_t count, uint8_t *HEADRACE_RESTRICT out) {
    for (int64_t i = 0; i < count; i++) {
        out[2 * i] = (uint8_t)((3 * row[i] + row[i - 1] + 1) >> 2);
        out[2 * i + 1] = (uint8_t)((3 * row[i] + row[i + 1] + 2) >> 2);
    }
}

HEADRACE_CLONES
void headrace_double_both(const uint8_t *near, const uint8_t *far, int64_t count, int16_t *HEADRACE_RESTRICT sums,
                          uint8_t *HEADRACE_RESTRICT out) {
    for (int64_t i = 0; i < count + 2; i++) sums[i] = (int16_t)(3 * near[i - 1] + far[i - 1]);
    for (int64_t i = 0; i < count; i++) {
        out[2 * i] = (uint8_t)((3 * sums[i + 1] + sums[i] + 8) >> 4);
        out[2 * i + 1] = (uint8_t)((3 * sums[i + 1] + sums[i + 2] + 7) >> 4);
    }
}

HEADRACE_CLONES
void headrace_repeat_columns(const uint8_t *row, int64_t count, uint8_t *HEADRACE_RESTRICT out) {
    for (int64_t i = 0; i < count; i++) out[2 * i] = out[2 * i + 1] = row[i];
}
