#include "headrace.h"

#include "crc32c.h"

enum { LENGTH_BYTES = 8, SUM_BYTES = 4, FRAME = LENGTH_BYTES + 2 * SUM_BYTES };
enum { DONE = 0, CUT = 1, WRONG_LENGTH_SUM = 2 };

static uint64_t little_endian(const uint8_t *data, int bytes) {
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--) value = value << 8 | data[i];
    return value;
}

/* Sums are stored rotated and with a number added, so that a sum over data that holds sums is no easy one. */
static uint32_t stored_sum(const uint8_t *data) {
    const uint32_t rotated = (uint32_t)little_endian(data, SUM_BYTES) - 0xA282EAD8u;
    return rotated >> 17 | rotated << 15;
}

int64_t headrace_scan_tfrecord(const uint8_t *data, int64_t size, int64_t *position, headrace_record *out,
                               int64_t capacity, int64_t *problem) {
    crc32c_way way;
    headrace_crc32c_choose(&way);
    int64_t count = 0, at = *position;
    *problem = DONE;
    for (; count < capacity && at < size; count++) {
        const int64_t left = size - at;
        if (left < LENGTH_BYTES + SUM_BYTES) {
            *problem = CUT;
            break;
        }
        if (crc32c_of(&way, data + at, LENGTH_BYTES) != stored_sum(data + at + LENGTH_BYTES)) {
            *problem = WRONG_LENGTH_SUM;
            break;
        }
        const uint64_t length = little_endian(data + at, LENGTH_BYTES);
        if (left < FRAME || length > (uint64_t)(left - FRAME)) {
            *problem = CUT;
            break;
        }
        out[count].offset = at + LENGTH_BYTES + SUM_BYTES;
        out[count].length = (int64_t)length;
        out[count].crc = stored_sum(data + out[count].offset + length);
        out[count].field = 0;
        at += FRAME + (int64_t)length;
    }
    *position = at;
    return count;
}
