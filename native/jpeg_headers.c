#include "headrace.h"

#include <string.h>

typedef struct {
    const uint8_t *data;
    int64_t length;
    int big; /* whether numbers begin with their high byte */
} bytes;

static int64_t number(const bytes *from, int64_t at, int size) {
    int64_t value = 0;
    if (at < 0 || at > from->length - size) return -1;
    for (int i = 0; i < size; i++) value = value << 8 | from->data[from->big ? at + i : at + size - 1 - i];
    return value;
}

/* The orientation in EXIF data, 1 to 8; 1, which is upright, where it says nothing that can be understood. */
static int32_t orientation(const uint8_t *data, int64_t length) {
    bytes exif = {data, length, 0};
    if (length < 8 || (memcmp(data, "II*\0", 4) && memcmp(data, "MM\0*", 4))) return 1;
    exif.big = data[0] == 'M';
    const int64_t start = number(&exif, 4, 4), count = number(&exif, start, 2);
    for (int64_t entry = start + 2; entry < start + 2 + 12 * count; entry += 12) {
        if (number(&exif, entry, 2) != 0x0112) {
            if (entry > length - 10) break;
            continue;
        }
        const int is_long = number(&exif, entry + 2, 2) == 4;
        if (entry > length - 10) break;
        const int64_t value = number(&exif, entry + 8, is_long ? 4 : 2);
        return value >= 1 && value <= 8 ? (int32_t)value : 1;
    }
    return 1;
}

/* Whether a marker begins a frame: height, width and components follow. */
static int begins_frame(int marker) {
    return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

static void read_header(const uint8_t *data, int64_t length, int32_t *out) {
    const bytes file = {data, length, 1};
    int64_t at = 2;
    int exif = 0;
    memset(out, 0, 4 * sizeof *out);
    out[3] = 1;
    while (number(&file, 0, 2) == 0xFFD8 && number(&file, at, 1) == 0xFF) {
        const int64_t marker = number(&file, at + 1, 1);
        if (marker == 0xFF) { /* a byte of filling */
            at++;
            continue;
        }
        if (marker < 0 || marker == 0xDA || marker == 0xD9) break;
        const int64_t size = number(&file, at + 2, 2), end = at + 2 + (size < 2 ? 2 : size);
        const int64_t stop = end < length ? end : length;
        if (begins_frame((int)marker) && !out[2] && number(&file, at + 9, 1) > 0 && at + 10 <= stop) {
            out[0] = (int32_t)number(&file, at + 5, 2);
            out[1] = (int32_t)number(&file, at + 7, 2);
            out[2] = (int32_t)number(&file, at + 9, 1);
        }
        if (marker == 0xE1 && !exif && stop - at >= 10 && !memcmp(data + at + 4, "Exif\0", 6)) {
            exif = 1;
            out[3] = orientation(data + at + 10, stop - at - 10);
        }
        at = end;
    }
    if (!out[0] || !out[1]) memset(out, 0, 4 * sizeof *out);
}

void headrace_jpeg_headers(const uint8_t *const *files, const int64_t *lengths, int64_t count, int32_t *out) {
    for (int64_t i = 0; i < count; i++) read_header(files[i], lengths[i], out + i * 4);
}
