#include "crc32c.h"

#include "headrace.h"
#include "ranges.h"

#include <string.h>

#define POLYNOMIAL 0x82F63B78u /* Castagnoli's, the bits reflected */

/* Slicing by eight: table[k][b] is what byte b does to the sum k bytes later. */
static void fill_tables(uint32_t tables[8][256]) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
        tables[0][byte] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (int byte = 0; byte < 256; byte++)
            tables[k][byte] = (tables[k - 1][byte] >> 8) ^ tables[0][tables[k - 1][byte] & 0xFF];
}

static uint32_t update_portable(const crc32c_way *way, uint32_t crc, const uint8_t *data, int64_t length) {
    const uint32_t(*tables)[256] = way->tables;
    for (; length >= 8; data += 8, length -= 8) {
        const uint32_t low = crc ^ (data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24);
        crc = tables[7][low & 0xFF] ^ tables[6][(low >> 8) & 0xFF] ^ tables[5][(low >> 16) & 0xFF] ^ tables[4][low >> 24] ^
              tables[3][data[4]] ^ tables[2][data[5]] ^ tables[1][data[6]] ^ tables[0][data[7]];
    }
    for (; length > 0; data++, length--) crc = (crc >> 8) ^ tables[0][(crc ^ *data) & 0xFF];
    return crc;
}

#if defined(__GNUC__) && defined(__x86_64__)
#define HARDWARE 1
#include <immintrin.h>

/* The instruction has three cycles of latency and one of throughput, so three streams run side by side. Their sums are
 * joined by a multiplication with x^(8 * bytes - 33), whose remainder the instruction itself takes (Gopal et al., "Fast
 * CRC Computation for iSCSI Polynomial Using CRC32 Instruction", Intel 2011). */
enum { LONG = 1024, SHORT = 128 };

#define LONG_POWER 0x170076FAu /* x^(8 * LONG - 33) */
#define TWICE_LONG_POWER 0xA51B6135u
#define SHORT_POWER 0x0D3B6092u
#define TWICE_SHORT_POWER 0xB9E02B86u

__attribute__((target("sse4.2,pclmul"))) static inline uint64_t shifted(uint64_t crc, uint32_t power) {
    const __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)crc), _mm_cvtsi32_si128((int32_t)power), 0);
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

static inline uint64_t word(const uint8_t *data) {
    uint64_t value;
    memcpy(&value, data, sizeof value);
    return value;
}

/* one, two: x^(8 * bytes - 33) for the bytes of a stream, and for twice as many. */
__attribute__((target("sse4.2,pclmul"))) static inline uint64_t three_streams(uint64_t a, const uint8_t *data,
                                                                             int64_t stride, uint32_t one,
                                                                             uint32_t two) {
    uint64_t b = 0, c = 0;
    for (int64_t i = 0; i < stride; i += 8) {
        a = _mm_crc32_u64(a, word(data + i));
        b = _mm_crc32_u64(b, word(data + stride + i));
        c = _mm_crc32_u64(c, word(data + 2 * stride + i));
    }
    return shifted(a, two) ^ shifted(b, one) ^ c;
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t update_hardware(const crc32c_way *way, uint32_t start,
                                                                        const uint8_t *data, int64_t length) {
    (void)way;
    uint64_t crc = start;
    for (; length >= 3 * LONG; data += 3 * LONG, length -= 3 * LONG)
        crc = three_streams(crc, data, LONG, LONG_POWER, TWICE_LONG_POWER);
    for (; length >= 3 * SHORT; data += 3 * SHORT, length -= 3 * SHORT)
        crc = three_streams(crc, data, SHORT, SHORT_POWER, TWICE_SHORT_POWER);
    for (; length >= 8; data += 8, length -= 8) crc = _mm_crc32_u64(crc, word(data));
    for (; length > 0; data++, length--) crc = _mm_crc32_u8((uint32_t)crc, *data);
    return (uint32_t)crc;
}

static int has_hardware(void) { return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"); }

#elif defined(__aarch64__) && defined(__GNUC__) && (defined(__linux__) || defined(__ARM_FEATURE_CRC32))
#define HARDWARE 1
#include <arm_acle.h>
#if defined(__ARM_FEATURE_CRC32)
#define WITH_CRC
static int has_hardware(void) { return 1; }
#else
#include <sys/auxv.h>
#define WITH_CRC __attribute__((target("+crc")))
static int has_hardware(void) { return (getauxval(AT_HWCAP) & (1UL << 7)) != 0; }
#endif

WITH_CRC static uint32_t update_hardware(const crc32c_way *way, uint32_t crc, const uint8_t *data, int64_t length) {
    (void)way;
    for (; length >= 8; data += 8, length -= 8) {
        uint64_t value;
        memcpy(&value, data, sizeof value);
        crc = __crc32cd(crc, value);
    }
    for (; length > 0; data++, length--) crc = __crc32cb(crc, *data);
    return crc;
}
#endif

void headrace_crc32c_choose(crc32c_way *way) {
#if defined(HARDWARE)
    if (has_hardware()) {
        way->update = update_hardware;
        return;
    }
#endif
    fill_tables(way->tables);
    way->update = update_portable;
}

int64_t headrace_crc32c(const char *const *sources, const int64_t *sizes, const int64_t *which, const int64_t *offsets,
                        const int64_t *lengths, int64_t count, uint32_t *out) {
    const ranges all = {sources, which, offsets, lengths, count};
    const int64_t bad = first_outside(&all, sizes);
    if (bad >= 0) return bad;
    crc32c_way way;
    headrace_crc32c_choose(&way);
    for (int64_t i = 0; i < count; i++) {
        prefetch_after(&all, i);
        out[i] = crc32c_of(&way, (const uint8_t *)range_at(&all, i), lengths[i]);
    }
    return -1;
}
