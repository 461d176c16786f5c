#include "baseline.h"

#include <string.h>

/* Markers (table B.1). */
enum {
    BASELINE = 0xC0, SEQUENTIAL = 0xC1, HUFFMAN_CODES = 0xC4, BEGIN = 0xD8, SCAN = 0xDA, QUANTISATION = 0xDB,
    RESTARTS = 0xDD, JFIF = 0xE0, ADOBE = 0xEE, LAST_APPLICATION = 0xEF, COMMENT = 0xFE
};

enum { CODES_DC, CODES_AC, QUANTISATIONS }; /* which tables are known */

enum { MOST_SIDE = 65500 /* libjpeg refuses more */, YCBCR = 1 /* in Adobe's segment */ };

/* A segment without its marker and length. */
typedef struct {
    const uint8_t *data;
    int64_t length;
} segment;

static int read_codes(headrace_frame *frame, headrace_tables *tables, segment of) {
    while (of.length > 0) {
        const int class = of.data[0] >> 4, number = of.data[0] & 15;
        if (class > CODES_AC || number >= HEADRACE_CODES_EACH) return 0;
        const int64_t taken = headrace_read_codes(&tables->codes[class][number], class, of.data + 1, of.length - 1);
        if (!taken) return 0;
        frame->known[class] |= 1 << number;
        of.data += taken + 1;
        of.length -= taken + 1;
    }
    return 1;
}

static int read_quantisation(headrace_frame *frame, segment of) {
    for (; of.length > 0; of.data += HEADRACE_BLOCK + 1, of.length -= HEADRACE_BLOCK + 1) {
        const int number = of.data[0]; /* its upper bits tell the precision, 0 being 8 bits */
        if (number > 3 || of.length < HEADRACE_BLOCK + 1) return 0;
        if (memchr(of.data + 1, 0, HEADRACE_BLOCK)) return 0;
        for (int i = 0; i < HEADRACE_BLOCK; i++) frame->quantisation[number][headrace_zigzag[i]] = of.data[i + 1];
        frame->known[QUANTISATIONS] |= 1 << number;
    }
    return 1;
}

/* Grey, or colours of which the last two have every sample, every second of a row, or of each row and column. */
static int is_sampling_known(headrace_component *of, int32_t count) {
    if (of->across < 1 || of->across > 4 || of->down < 1 || of->down > 4) return 0;
    if (count == 1) {
        of->across = of->down = 1; /* a scan of one component has MCUs of one block (section A.2.2) */
        return 1;
    }
    for (int i = 1; i < count; i++)
        if (of[i].across != 1 || of[i].down != 1) return 0;
    return of->across <= 2 && of->down <= of->across;
}

static int read_components(headrace_frame *frame, segment of) {
    if (frame->count || of.length < 6) return 0;
    frame->height = of.data[1] << 8 | of.data[2];
    frame->width = of.data[3] << 8 | of.data[4];
    frame->count = of.data[5];
    if (of.data[0] != 8 || (frame->count != 1 && frame->count != HEADRACE_COLOURS)) return 0;
    if (of.length != 6 + 3 * frame->count || frame->height > MOST_SIDE || frame->width > MOST_SIDE) return 0;
    for (int32_t i = 0; i < frame->count; i++) {
        const uint8_t *from = of.data + 6 + 3 * i;
        const headrace_component component = {from[0], from[1] >> 4, from[1] & 15, from[2], 0, 0};
        for (int32_t other = 0; other < i; other++)
            if (frame->components[other].id == component.id) return 0;
        frame->components[i] = component;
    }
    return frame->height && frame->width && is_sampling_known(frame->components, frame->count);
}

/* The one scan: all components in their order, all coefficients, all bits of them. */
static int read_scan(headrace_frame *frame, segment of) {
    const int32_t count = frame->count;
    if (!count || of.length != 4 + 2 * count || of.data[0] != count) return 0;
    if (memcmp(of.data + of.length - 3, "\0\77\0", 3)) return 0;
    for (int32_t i = 0; i < count; i++) {
        headrace_component *to = frame->components + i;
        const uint8_t *from = of.data + 1 + 2 * i;
        to->dc = from[1] >> 4;
        to->ac = from[1] & 15;
        if (from[0] != to->id || to->quantisation > 3) return 0;
        if (!(frame->known[CODES_DC] >> to->dc & frame->known[CODES_AC] >> to->ac &
              frame->known[QUANTISATIONS] >> to->quantisation & 1))
            return 0;
    }
    frame->pixels = of.data + of.length;
    return 1;
}

/* Whether segments of applications leave colours what they are without them. */
static int are_colours_usual(int marker, segment of) {
    if (marker == JFIF && of.length >= 14 && !memcmp(of.data, "JFIF", 5)) return of.data[5] == 1; /* its version */
    if (marker == ADOBE && of.length >= 12 && !memcmp(of.data, "Adobe", 5)) return of.data[11] == YCBCR;
    return 1;
}

/* Without a word on colours, those that are named R, G and B are these. */
static int is_named_rgb(const headrace_frame *frame) {
    const headrace_component *of = frame->components;
    return frame->count == HEADRACE_COLOURS && of[0].id == 'R' && of[1].id == 'G' && of[2].id == 'B';
}

static int read_segment(headrace_frame *frame, headrace_tables *tables, int marker, segment of) {
    switch (marker) {
    case BASELINE:
    case SEQUENTIAL:
        return read_components(frame, of);
    case HUFFMAN_CODES:
        return read_codes(frame, tables, of);
    case QUANTISATION:
        return read_quantisation(frame, of);
    case RESTARTS:
        if (of.length == 2) frame->restart = of.data[0] << 8 | of.data[1];
        return of.length == 2;
    case SCAN:
        return read_scan(frame, of);
    default:
        return marker == COMMENT || (marker >= JFIF && marker <= LAST_APPLICATION && are_colours_usual(marker, of));
    }
}

int headrace_read_frame(headrace_frame *frame, headrace_tables *tables, const uint8_t *data, int64_t length) {
    memset(frame, 0, sizeof *frame);
    if (length < 2 || data[0] != 0xFF || data[1] != BEGIN) return 0;
    for (int64_t at = 2; !frame->pixels;) {
        while (at < length - 4 && data[at] == 0xFF && data[at + 1] == 0xFF) at++; /* filling */
        if (at >= length - 4 || data[at] != 0xFF) return 0;
        const int64_t size = data[at + 2] << 8 | data[at + 3];
        const segment of = {data + at + 4, size - 2};
        if (size < 2 || size > length - at - 2 || !read_segment(frame, tables, data[at + 1], of)) return 0;
        at += size + 2;
    }
    return !is_named_rgb(frame);
}
