/* CRC32C for the other kernels: how it is computed here, chosen once a call since no function keeps state. */
#ifndef HEADRACE_CRC32C_H
#define HEADRACE_CRC32C_H

#include <stdint.h>

typedef struct crc32c_way {
    uint32_t (*update)(const struct crc32c_way *way, uint32_t crc, const uint8_t *data, int64_t length);
    uint32_t tables[8][256]; /* filled only for a processor without an instruction for it */
} crc32c_way;

void headrace_crc32c_choose(crc32c_way *way);

static inline uint32_t crc32c_of(const crc32c_way *way, const uint8_t *data, int64_t length) {
    return ~way->update(way, ~0u, data, length);
}

#endif
