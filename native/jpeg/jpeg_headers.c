#include "headrace.h"

#include <string.h>

typedef struct {
    const uint8_t *data;
    int64_t length;
    int big; /* whether numbers begin with their high byte */
} bytes;

typedef struct {
    const uint8_t *data; /* behind its prefix; NULL where there is none */
    int64_t length;
} segment;

#define EXIF "Exif\0"                         /* and a zero */
#define XMP "http://ns.adobe.com/xap/1.0/"    /* and a zero */
enum { PREFIX = sizeof EXIF, XMP_PREFIX = sizeof XMP };

static int64_t number(const bytes *from, int64_t at, int size) {
    int64_t value = 0;
    if (at < 0 || at > from->length - size) return -1;
    for (int i = 0; i < size; i++) value = value << 8 | from->data[from->big ? at + i : at + size - 1 - i];
    return value;
}

/* The tag of the orientation in EXIF data, 1 to 8 where it is right; -1 where there is none that can be understood. */
static int64_t exif_orientation(const uint8_t *data, int64_t length) {
    if (length >= PREFIX && !memcmp(data, EXIF, PREFIX)) { /* some programs write the prefix twice */
        data += PREFIX;
        length -= PREFIX;
    }
    bytes exif = {data, length, 0};
    if (length < 8 || (memcmp(data, "II*\0", 4) && memcmp(data, "MM\0*", 4))) return -1;
    exif.big = data[0] == 'M';
    const int64_t start = number(&exif, 4, 4), count = number(&exif, start, 2);
    for (int64_t entry = start + 2; entry < start + 2 + 12 * count; entry += 12) {
        if (number(&exif, entry, 2) != 0x0112) {
            if (entry > length - 10) break;
            continue;
        }
        const int is_long = number(&exif, entry + 2, 2) == 4;
        if (entry > length - 10) break;
        return number(&exif, entry + 8, is_long ? 4 : 2);
    }
    return -1;
}

/* The digit of the first orientation in XMP data, which are XML, as an attribute or an element; -1 where there is none. */
static int64_t xmp_orientation(const uint8_t *data, int64_t length) {
    static const char name[] = "tiff:Orientation";
    const int64_t size = sizeof name - 1;
    for (const uint8_t *at = data, *end = data + length; at < end; at++) {
        at = memchr(at, name[0], (size_t)(end - at));
        if (!at || end - at < size + 2) break;
        if (memcmp(at, name, (size_t)size)) continue;
        const uint8_t *value = at + size;
        value += *value == '>' ? 1 : !memcmp(value, "=\"", 2) ? 2 : 0;
        if (value > at + size && value < end && *value >= '0' && *value <= '9') return *value - '0';
    }
    return -1;
}

/* The orientation, 1 to 8; 1, which is upright, where neither says anything that can be understood. As Pillow reads it:
 * XMP counts where EXIF does not name an orientation. */
static int32_t orientation(const segment *exif, const segment *xmp) {
    int64_t value = exif->data ? exif_orientation(exif->data, exif->length) : -1;
    if (value < 0 && xmp->data) value = xmp_orientation(xmp->data, xmp->length);
    return value >= 1 && value <= 8 ? (int32_t)value : 1;
}

/* Whether a marker begins a frame: height, width and components follow. */
static int begins_frame(int marker) {
    return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

/* Note where the content of a segment begins, if it has this prefix. */
static void begin_segment(segment *out, const uint8_t *data, int64_t length, const char *prefix, int64_t size) {
    if (length < size || memcmp(data, prefix, (size_t)size)) return;
    out->data = data + size;
    out->length = length - size;
}

static void read_header(const uint8_t *data, int64_t length, int32_t *out) {
    const bytes file = {data, length, 1};
    int64_t at = 2;
    segment exif = {NULL, 0}, xmp = {NULL, 0};
    memset(out, 0, 4 * sizeof *out);
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
        if (marker == 0xE1) {
            if (!exif.data) begin_segment(&exif, data + at + 4, stop - at - 4, EXIF, PREFIX);
            begin_segment(&xmp, data + at + 4, stop - at - 4, XMP, XMP_PREFIX);
        }
        at = end;
    }
    out[3] = orientation(&exif, &xmp);
    if (!out[0] || !out[1]) memset(out, 0, 4 * sizeof *out);
}

void headrace_jpeg_headers(const uint8_t *const *files, const int64_t *lengths, int64_t count, int32_t *out) {
    for (int64_t i = 0; i < count; i++) read_header(files[i], lengths[i], out + i * 4);
}
