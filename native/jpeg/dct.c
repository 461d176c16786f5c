#include "dct.h"

#include <string.h>

/* The transforms of libjpeg-turbo, whose rounding decides the last bit of a pixel: Loeffler, Ligtenberg and Moschytz's
 * in whole numbers ("Practical fast 1-D DCT algorithms with 11 multiplications", ICASSP 1989), and those that give
 * every second or fourth sample. Columns come first. */

/* Where libjpeg-turbo computes in 16 bits it wraps or saturates, and so must this: damaged images get that far. */
#define CLAMPED(value, least, most) ((value) < (least) ? (least) : (value) > (most) ? (most) : (value))

static int16_t saturated(int32_t value) { return (int16_t)CLAMPED(value, -32768, 32767); }
static uint8_t sample(int32_t value) { return (uint8_t)(CLAMPED(value, -128, 127) + 128); }

/* A sum that wraps. */
static int32_t sum(int32_t one, int32_t other) { return (int32_t)((uint32_t)one + (uint32_t)other); }
static int32_t difference(int32_t one, int32_t other) { return (int32_t)((uint32_t)one - (uint32_t)other); }
static int32_t times(int32_t one, int32_t factor) { return (int32_t)((uint32_t)one * (uint32_t)factor); }
static int32_t rounded(int32_t value, int bits) { return sum(value, 1 << (bits - 1)) >> bits; }

static int is_usual(const int16_t *row) {
    int usual = 1;
    for (int i = 0; i < SIDE; i++) usual &= row[i] >= -MOST_IN_ROW && row[i] < MOST_IN_ROW;
    return usual;
}

/* ---- all 64 samples */

/* One column or row of eight; the values lie `step` apart. */
static void transform_eight(const int16_t *in, int step, int bits, int16_t *out) {
    const int32_t in_1 = in[step], in_2 = in[2 * step], in_3 = in[3 * step], in_5 = in[5 * step], in_6 = in[6 * step];
    const int32_t in_7 = in[7 * step];
    const int32_t even_sum = times((int16_t)(in[0] + in[4 * step]), 1 << FACTOR_BITS);
    const int32_t even_difference = times((int16_t)(in[0] - in[4 * step]), 1 << FACTOR_BITS);
    const int32_t even_2 = sum(times(in_2, F_0_541), times(in_6, F_0_541 - F_1_847));
    const int32_t even_3 = sum(times(in_2, F_0_541 + F_0_765), times(in_6, F_0_541));
    const int32_t even[4] = {sum(even_sum, even_3), sum(even_difference, even_2), difference(even_difference, even_2),
                             difference(even_sum, even_3)};
    const int32_t z_3 = (int16_t)(in_7 + in_3), z_4 = (int16_t)(in_5 + in_1);
    const int32_t mixed_3 = sum(times(z_3, F_1_175 - F_1_961), times(z_4, F_1_175));
    const int32_t mixed_4 = sum(times(z_3, F_1_175), times(z_4, F_1_175 - F_0_390));
    const int32_t odd[4] = {
        sum(sum(times(in_7, -F_0_899), times(in_1, F_1_501 - F_0_899)), mixed_4),
        sum(sum(times(in_5, -F_2_562), times(in_3, F_3_072 - F_2_562)), mixed_3),
        sum(sum(times(in_5, F_2_053 - F_2_562), times(in_3, -F_2_562)), mixed_4),
        sum(sum(times(in_7, F_0_298 - F_0_899), times(in_1, -F_0_899)), mixed_3),
    };
    for (int i = 0; i < 4; i++) {
        out[i * step] = saturated(rounded(sum(even[i], odd[i]), bits));
        out[(7 - i) * step] = saturated(rounded(difference(even[i], odd[i]), bits));
    }
}

static void transform_8(const int16_t *block, uint8_t *out, int64_t stride) {
    int16_t columns[HEADRACE_BLOCK], row[SIDE];
    for (int i = 0; i < SIDE; i++) transform_eight(block + i, SIDE, FACTOR_BITS - KEPT_BITS, columns + i);
    for (int y = 0; y < SIDE; y++) {
        transform_eight(columns + y * SIDE, 1, FACTOR_BITS + KEPT_BITS + 3, row);
        for (int x = 0; x < SIDE; x++) out[y * stride + x] = sample(row[x]);
    }
}

/* ---- every second sample */

static void transform_four(const int16_t *in, int step, int bits, int16_t *out) {
    const int32_t in_1 = in[step], in_3 = in[3 * step], in_5 = in[5 * step], in_7 = in[7 * step];
    const int32_t first = times(in[0], 1 << (FACTOR_BITS + 1));
    const int32_t even = sum(times(in[2 * step], F_1_847), times(in[6 * step], -F_0_765));
    const int32_t outer = sum(sum(times(in_1, F_2_562), times(in_3, F_0_899)),
                              sum(times(in_5, -F_0_601), times(in_7, -F_0_509)));
    const int32_t inner = sum(sum(times(in_1, F_1_061), times(in_3, -F_2_172)),
                              sum(times(in_5, F_1_451), times(in_7, -F_0_211)));
    out[0] = saturated(rounded(sum(sum(first, even), outer), bits));
    out[step] = saturated(rounded(sum(difference(first, even), inner), bits));
    out[2 * step] = saturated(rounded(difference(difference(first, even), inner), bits));
    out[3 * step] = saturated(rounded(difference(sum(first, even), outer), bits));
}

static void transform_4(const int16_t *block, uint8_t *out, int64_t stride) {
    int16_t columns[4 * SIDE], row[4];
    for (int i = 0; i < SIDE; i++) transform_four(block + i, SIDE, FACTOR_BITS - KEPT_BITS + 1, columns + i);
    for (int y = 0; y < 4; y++) {
        transform_four(columns + y * SIDE, 1, FACTOR_BITS + KEPT_BITS + 4, row);
        for (int x = 0; x < 4; x++) out[y * stride + x] = sample(row[x]);
    }
}

/* ---- every fourth sample */

static int32_t odd_of_two(int32_t in_1, int32_t in_3, int32_t in_5, int32_t in_7) {
    return sum(sum(times(in_1, F_3_624), times(in_3, -F_1_272)), sum(times(in_5, F_0_850), times(in_7, -F_0_720)));
}

static void transform_2(const int16_t *block, uint8_t *out, int64_t stride) {
    int32_t columns[2][SIDE];
    for (int i = 0; i < SIDE; i++) {
        const int32_t first = times(block[i], 1 << (FACTOR_BITS + 2));
        const int32_t odd = odd_of_two(block[SIDE + i], block[3 * SIDE + i], block[5 * SIDE + i], block[7 * SIDE + i]);
        columns[0][i] = rounded(sum(first, odd), FACTOR_BITS - KEPT_BITS + 2);
        columns[1][i] = rounded(difference(first, odd), FACTOR_BITS - KEPT_BITS + 2);
    }
    for (int y = 0; y < 2; y++) {
        const int32_t *row = columns[y];
        const int32_t first = times(row[0], 1 << (FACTOR_BITS + 2));
        const int32_t odd = odd_of_two(saturated(row[1]), saturated(row[3]), saturated(row[5]), saturated(row[7]));
        out[y * stride] = sample(rounded(sum(first, odd), FACTOR_BITS + KEPT_BITS + 5));
        out[y * stride + 1] = sample(rounded(difference(first, odd), FACTOR_BITS + KEPT_BITS + 5));
    }
}

/* ---- */

/* Copies of so many bytes are single instructions. */
void headrace_fill_block(uint8_t *out, int64_t stride, int size, int dc) {
    const uint64_t row = sample((dc + 4) >> 3) * 0x0101010101010101u;
    for (int y = 0; y < size; y++, out += stride) {
        if (size == 8) memcpy(out, &row, 8);
        if (size == 4) memcpy(out, &row, 4);
        if (size == 2) memcpy(out, &row, 2);
        if (size == 1) memcpy(out, &row, 1);
    }
}

static int transform_one(const headrace_block *of, int size) {
    int16_t block[HEADRACE_BLOCK];
    for (int k = 0; k < HEADRACE_BLOCK; k++) block[k] = (int16_t)times(of->coefficients[k], of->quantisation[k]);
    memset(of->coefficients, 0, sizeof block);
    (size == 8 ? transform_8 : size == 4 ? transform_4 : transform_2)(block, of->out, of->stride);
    return is_usual(block);
}

int headrace_transform(const headrace_block blocks[2], int size) {
#ifdef HAS_AVX2
    if (__builtin_cpu_supports("avx2")) return headrace_transform_avx2(blocks, size);
#endif
    const int one = transform_one(blocks, size);
    return blocks[1].coefficients == blocks[0].coefficients ? one : one & transform_one(blocks + 1, size);
}
