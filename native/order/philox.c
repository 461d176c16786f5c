#include "headrace.h"

HEADRACE_CLONES
void headrace_philox(uint64_t key, const uint64_t *HEADRACE_RESTRICT indices, int64_t count, uint32_t stream,
                     uint32_t block, uint32_t *HEADRACE_RESTRICT out) {
    for (int64_t i = 0; i < count; i++) {
        uint32_t words[4] = {(uint32_t)indices[i], (uint32_t)(indices[i] >> 32), stream, block};
        headrace_philox_words(key, words);
        for (int w = 0; w < 4; w++) out[4 * i + w] = words[w];
    }
}
