#include "dct.h"

/* The transforms of dct.c for two blocks at a time, one in each half of a register. */

#ifdef HAS_AVX2
#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2"), always_inline)) static inline

/* A factor for every even word and one for every odd one. */
AVX2 __m256i factors(int even, int odd) { return _mm256_set1_epi32((int)((uint32_t)odd << 16 | (even & 0xFFFF))); }

/* Words as 32 bits, in two registers: the lower and the upper four of each block. */
typedef struct {
    __m256i low, high;
} wide;

typedef struct {
    __m256i low, high; /* the words of two rows by turns */
} woven;

AVX2 woven weave(__m256i even, __m256i odd) {
    return (woven){_mm256_unpacklo_epi16(even, odd), _mm256_unpackhi_epi16(even, odd)};
}

AVX2 wide multiply(woven rows, __m256i by) {
    return (wide){_mm256_madd_epi16(rows.low, by), _mm256_madd_epi16(rows.high, by)};
}

AVX2 wide add(wide one, wide other) {
    return (wide){_mm256_add_epi32(one.low, other.low), _mm256_add_epi32(one.high, other.high)};
}

AVX2 wide subtract(wide one, wide other) {
    return (wide){_mm256_sub_epi32(one.low, other.low), _mm256_sub_epi32(one.high, other.high)};
}

/* Words times 1 << bits. */
AVX2 wide widen(__m256i row, int bits) {
    const woven shifted = weave(_mm256_setzero_si256(), row);
    return (wide){_mm256_srai_epi32(shifted.low, 16 - bits), _mm256_srai_epi32(shifted.high, 16 - bits)};
}

AVX2 wide round_off(wide row, int bits) {
    const __m256i half = _mm256_set1_epi32(1 << (bits - 1));
    return (wide){_mm256_srai_epi32(_mm256_add_epi32(row.low, half), bits),
                  _mm256_srai_epi32(_mm256_add_epi32(row.high, half), bits)};
}

AVX2 __m256i narrow(wide row) { return _mm256_packs_epi32(row.low, row.high); }

/* Each column of eight. */
AVX2 void transform_rows(__m256i rows[SIDE], int bits) {
    const wide even_sum = widen(_mm256_add_epi16(rows[0], rows[4]), FACTOR_BITS);
    const wide even_difference = widen(_mm256_sub_epi16(rows[0], rows[4]), FACTOR_BITS);
    const woven rows_26 = weave(rows[2], rows[6]), rows_71 = weave(rows[7], rows[1]), rows_53 = weave(rows[5], rows[3]);
    const wide even_2 = multiply(rows_26, factors(F_0_541, F_0_541 - F_1_847));
    const wide even_3 = multiply(rows_26, factors(F_0_541 + F_0_765, F_0_541));
    const wide even[4] = {add(even_sum, even_3), add(even_difference, even_2), subtract(even_difference, even_2),
                          subtract(even_sum, even_3)};
    const woven z_34 = weave(_mm256_add_epi16(rows[7], rows[3]), _mm256_add_epi16(rows[5], rows[1]));
    const wide mixed_3 = multiply(z_34, factors(F_1_175 - F_1_961, F_1_175));
    const wide mixed_4 = multiply(z_34, factors(F_1_175, F_1_175 - F_0_390));
    const wide odd[4] = {
        add(multiply(rows_71, factors(-F_0_899, F_1_501 - F_0_899)), mixed_4),
        add(multiply(rows_53, factors(-F_2_562, F_3_072 - F_2_562)), mixed_3),
        add(multiply(rows_53, factors(F_2_053 - F_2_562, -F_2_562)), mixed_4),
        add(multiply(rows_71, factors(F_0_298 - F_0_899, -F_0_899)), mixed_3),
    };
    for (int i = 0; i < 4; i++) {
        rows[i] = narrow(round_off(add(even[i], odd[i]), bits));
        rows[7 - i] = narrow(round_off(subtract(even[i], odd[i]), bits));
    }
}

AVX2 void transpose(__m256i rows[SIDE]) {
    __m256i twos[SIDE], fours[SIDE];
    for (int i = 0; i < 4; i++) {
        twos[2 * i] = _mm256_unpacklo_epi16(rows[2 * i], rows[2 * i + 1]);
        twos[2 * i + 1] = _mm256_unpackhi_epi16(rows[2 * i], rows[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++)
        for (int half = 0; half < 2; half++) {
            fours[4 * i + 2 * half] = _mm256_unpacklo_epi32(twos[4 * i + half], twos[4 * i + 2 + half]);
            fours[4 * i + 2 * half + 1] = _mm256_unpackhi_epi32(twos[4 * i + half], twos[4 * i + 2 + half]);
        }
    for (int i = 0; i < 4; i++) {
        rows[2 * i] = _mm256_unpacklo_epi64(fours[i], fours[4 + i]);
        rows[2 * i + 1] = _mm256_unpackhi_epi64(fours[i], fours[4 + i]);
    }
}

/* Each column of eight to four. */
AVX2 void transform_to_four(__m256i rows[SIDE], int bits) {
    const woven rows_13 = weave(rows[1], rows[3]), rows_57 = weave(rows[5], rows[7]);
    const wide first = widen(rows[0], FACTOR_BITS + 1);
    const wide even = multiply(weave(rows[2], rows[6]), factors(F_1_847, -F_0_765));
    const wide outer = add(multiply(rows_13, factors(F_2_562, F_0_899)),
                           multiply(rows_57, factors(-F_0_601, -F_0_509)));
    const wide inner = add(multiply(rows_13, factors(F_1_061, -F_2_172)),
                           multiply(rows_57, factors(F_1_451, -F_0_211)));
    const wide more = add(first, even), less = subtract(first, even);
    rows[0] = narrow(round_off(add(more, outer), bits));
    rows[1] = narrow(round_off(add(less, inner), bits));
    rows[2] = narrow(round_off(subtract(less, inner), bits));
    rows[3] = narrow(round_off(subtract(more, outer), bits));
    for (int i = 4; i < SIDE; i++) rows[i] = _mm256_setzero_si256();
}

AVX2 __m256i load_two(const int16_t *one, const int16_t *other) {
    const __m256i low = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)one));
    return _mm256_inserti128_si256(low, _mm_loadu_si128((const __m128i *)other), 1);
}

AVX2 __m256i dequantise(const headrace_block blocks[2], int row) {
    const int at = row * SIDE;
    return _mm256_mullo_epi16(load_two(blocks[0].coefficients + at, blocks[1].coefficients + at),
                              load_two(blocks[0].quantisation + at, blocks[1].quantisation + at));
}

AVX2 int is_usual(__m256i row) {
    const __m256i moved = _mm256_add_epi16(row, _mm256_set1_epi16(MOST_IN_ROW));
    return _mm256_testz_si256(moved, _mm256_set1_epi16((short)~(2 * MOST_IN_ROW - 1)));
}

/* Words to samples: those of one row, then those of the other. */
AVX2 __m256i to_samples(__m256i row, __m256i other) {
    return _mm256_xor_si256(_mm256_packs_epi16(row, other), _mm256_set1_epi8(-128));
}

AVX2 int transform_8(const headrace_block blocks[2]) {
    __m256i rows[SIDE];
    for (int i = 0; i < SIDE; i++) rows[i] = dequantise(blocks, i);
    const int usual = is_usual(rows[0]);
    transform_rows(rows, FACTOR_BITS - KEPT_BITS);
    transpose(rows);
    transform_rows(rows, FACTOR_BITS + KEPT_BITS + 3);
    transpose(rows);
    for (int y = 0; y < SIDE; y += 2) {
        const __m256i samples = to_samples(rows[y], rows[y + 1]);
        const __m128i halves[2] = {_mm256_castsi256_si128(samples), _mm256_extracti128_si256(samples, 1)};
        for (int i = 0; i < 2; i++) {
            uint8_t *out = blocks[i].out + y * blocks[i].stride;
            _mm_storel_epi64((__m128i *)out, halves[i]);
            _mm_storel_epi64((__m128i *)(out + blocks[i].stride), _mm_unpackhi_epi64(halves[i], halves[i]));
        }
    }
    return usual;
}

AVX2 int transform_4(const headrace_block blocks[2]) {
    __m256i rows[SIDE];
    for (int i = 0; i < SIDE; i++) rows[i] = dequantise(blocks, i);
    const int usual = is_usual(rows[0]);
    transform_to_four(rows, FACTOR_BITS - KEPT_BITS + 1);
    transpose(rows);
    transform_to_four(rows, FACTOR_BITS + KEPT_BITS + 4);
    transpose(rows);
    uint8_t all[32];
    _mm256_storeu_si256((__m256i *)all, to_samples(_mm256_unpacklo_epi64(rows[0], rows[1]),
                                                   _mm256_unpacklo_epi64(rows[2], rows[3])));
    for (int i = 0; i < 2; i++)
        for (int y = 0; y < 4; y++) memcpy(blocks[i].out + y * blocks[i].stride, all + 16 * i + 4 * y, 4);
    return usual;
}

AVX2 int transform_2(const headrace_block blocks[2]) {
    const __m256i row_0 = dequantise(blocks, 0);
    const wide first = widen(row_0, FACTOR_BITS + 2);
    const wide odd = add(multiply(weave(dequantise(blocks, 1), dequantise(blocks, 3)), factors(F_3_624, -F_1_272)),
                         multiply(weave(dequantise(blocks, 5), dequantise(blocks, 7)), factors(F_0_850, -F_0_720)));
    const wide above = round_off(add(first, odd), FACTOR_BITS - KEPT_BITS + 2);
    const wide below = round_off(subtract(first, odd), FACTOR_BITS - KEPT_BITS + 2);
    const __m256i by = _mm256_setr_epi16(0, F_3_624, 0, -F_1_272, 0, F_0_850, 0, -F_0_720, 0, F_3_624, 0, -F_1_272, 0,
                                         F_0_850, 0, -F_0_720);
    __m256i odds = _mm256_hadd_epi32(_mm256_madd_epi16(narrow(above), by), _mm256_madd_epi16(narrow(below), by));
    odds = _mm256_hadd_epi32(odds, odds); /* of the row above, and of that below */
    const __m256i firsts = _mm256_slli_epi32(_mm256_unpacklo_epi32(above.low, below.low), FACTOR_BITS + 2);
    const wide mixed = {_mm256_add_epi32(firsts, odds), _mm256_sub_epi32(firsts, odds)};
    const wide columns = round_off(mixed, FACTOR_BITS + KEPT_BITS + 5);
    const __m256i words = _mm256_unpacklo_epi32(columns.low, columns.high);
    const __m256i samples = to_samples(_mm256_packs_epi32(words, words), _mm256_setzero_si256());
    const int all[2] = {_mm256_extract_epi32(samples, 0), _mm256_extract_epi32(samples, 4)};
    for (int i = 0; i < 2; i++) {
        memcpy(blocks[i].out, all + i, 2);
        memcpy(blocks[i].out + blocks[i].stride, (const uint8_t *)(all + i) + 2, 2);
    }
    return is_usual(row_0);
}

__attribute__((target("avx2"))) int headrace_transform_avx2(const headrace_block blocks[2], int size) {
    const int usual = size == 8 ? transform_8(blocks) : size == 4 ? transform_4(blocks) : transform_2(blocks);
    for (int i = 0; i < HEADRACE_BLOCK; i += 16) {
        _mm256_storeu_si256((__m256i *)(blocks[0].coefficients + i), _mm256_setzero_si256());
        _mm256_storeu_si256((__m256i *)(blocks[1].coefficients + i), _mm256_setzero_si256());
    }
    return usual;
}

#endif
