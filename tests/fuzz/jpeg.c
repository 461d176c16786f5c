/* Decodes changed JPEGs with the kernels, built with sanitizers: python tests/fuzz/jpeg.py says how.
 *
 * Usage: jpeg SEED COUNT FILE...   Each of COUNT inputs is one of the files with some segments changed, doubled, left out
 * or from another one, and some bytes changed, cut off or repeated. Where both decoders find pixels, they are the same;
 * where only ours does, what is damaged lies behind the window, or before a restart.
 */
#include "baseline.h"
#include "libjpeg.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

enum { MOST_BYTES = 1 << 16, SIZE = 24, MOST_PIXELS = 1 << 22, MOST_ROW = 4 << 16, MOST_FILES = 32, MOST_SEGMENTS = 64 };

typedef struct {
    uint8_t data[MOST_BYTES];
    int64_t length;
} image;

/* A segment, its marker included. */
typedef struct {
    int64_t at, length;
} segment;

static uint64_t state;

static uint32_t draw(uint32_t below) {
    uint32_t words[4] = {(uint32_t)state, (uint32_t)(state >> 32), 0, 0};
    headrace_philox_words(7, words);
    state++;
    return (uint32_t)((uint64_t)words[0] * below >> 32);
}

/* ---- segments */

/* The segments up to that of the scan. Returns how many. */
static int find_segments(const image *of, segment *found) {
    int count = 0;
    for (int64_t at = 2; at + 4 <= of->length && of->data[at] == 0xFF && count < MOST_SEGMENTS; count++) {
        const int64_t length = 2 + (of->data[at + 2] << 8 | of->data[at + 3]);
        found[count] = (segment){at, length < of->length - at ? length : of->length - at};
        if (of->data[at + 1] == 0xDA) return count + 1;
        at += length;
    }
    return count;
}

/* Put bytes, which are not of this image, in place of others. */
static void replace(image *of, int64_t at, int64_t length, const uint8_t *bytes, int64_t count) {
    if (of->length - length + count > MOST_BYTES) return;
    memmove(of->data + at + count, of->data + at + length, (size_t)(of->length - at - length));
    memcpy(of->data + at, bytes, (size_t)count);
    of->length += count - length;
}

static uint8_t one_of(const char *values, uint32_t count) { return (uint8_t)values[draw(count)]; }

/* Let a segment name other tables, another sampling or another size. */
static void change_meaning(image *of, segment part) {
    uint8_t *data = of->data + part.at + 4;
    const int marker = data[-3];
    const uint32_t component = draw(3);
    if (part.length < 4 + 15) return;
    if (marker == 0xC4 || marker == 0xDB) data[0] = one_of("\0\1\2\3\20\21\22", 7);
    if (marker == 0xDA) data[2 + 2 * component] = one_of("\0\1\20\21\2\40", 6);
    if (marker < 0xC0 || marker > 0xC2) return;
    if (!draw(3)) {
        data[7 + 3 * component] = one_of("\21\42\41\22\24\104\0\61", 8);
    } else if (draw(2)) {
        data[8 + 3 * component] = (uint8_t)draw(5);
    } else {
        const uint32_t size = draw(2) ? draw(200) : draw(1 << 16), along = 1 + 2 * draw(2);
        data[along] = (uint8_t)(size >> 8);
        data[along + 1] = (uint8_t)size;
    }
}

/* Take bytes off the end of a segment, which may or may not say so. */
static void shorten(image *of, segment part) {
    const int64_t less = part.length > 4 ? 1 + draw((uint32_t)part.length - 4) : 0, length = part.length - 2 - less;
    if (draw(2)) of->data[part.at + 2] = (uint8_t)(length >> 8), of->data[part.at + 3] = (uint8_t)length;
    replace(of, part.at + part.length - less, less, of->data, 0);
}

static void restart_after(image *of, segment before, uint32_t count) {
    const uint8_t restarts[6] = {0xFF, 0xDD, 0, 4, 0, (uint8_t)count};
    replace(of, before.at, 0, restarts, sizeof restarts);
}

static void change_segments(image *of, const image *other) {
    segment parts[MOST_SEGMENTS], others[MOST_SEGMENTS];
    uint8_t copy[MOST_BYTES];
    const int count = find_segments(of, parts), other_count = find_segments(other, others);
    if (count < 2 || !other_count) return;
    const segment part = parts[draw((uint32_t)count)], place = parts[draw((uint32_t)count)];
    const segment foreign = others[draw((uint32_t)other_count)], last = parts[count - 1], scan = others[other_count - 1];
    memcpy(copy, of->data + part.at, (size_t)part.length);
    switch (draw(9)) {
    case 0: replace(of, place.at, 0, copy, part.length); break;
    case 1: replace(of, part.at, part.length, copy, 0); break;
    case 2: shorten(of, part); break;
    case 3: restart_after(of, last, draw(30)); break;
    case 4: replace(of, place.at, 0, other->data + foreign.at, foreign.length); break;
    case 5: replace(of, last.at, of->length - last.at, other->data + scan.at, other->length - scan.at); break;
    case 6: replace(of, draw((uint32_t)of->length), 0, (const uint8_t *)"\377\377\377\377\377\377", draw(7)); break;
    default: change_meaning(of, part);
    }
}

/* ---- bytes */

static void change_bytes(image *of) {
    const uint32_t length = (uint32_t)of->length, reach = draw(2) || length < 700 ? length : 700;
    for (uint32_t changes = draw(6); changes > 0; changes--) {
        const uint32_t place = draw(reach);
        of->data[place] = draw(3) ? (uint8_t)draw(256) : 0xFF;
    }
    if (!draw(6)) {
        const uint32_t from = draw(length), to = draw(length), most = length - (from > to ? from : to);
        memmove(of->data + to, of->data + from, most ? draw(most) : 0);
    }
    if (!draw(5)) of->length = (int64_t)draw(length) + 1;
}

static void change(image *of, const image *other) {
    for (uint32_t changes = draw(4); changes > 0; changes--) change_segments(of, other);
    if (draw(2)) change_bytes(of);
}

/* ---- where libjpeg stops */

typedef struct {
    struct jpeg_error_mgr base;
    jmp_buf escape;
} failure;

static void stop(j_common_ptr codec) { longjmp(((failure *)codec->err)->escape, 1); }

static void stop_at_warning(j_common_ptr codec, int level) {
    if (level < 0) stop(codec);
}

/* How many rows of the stored image lie before what libjpeg warns of; all of them where something lies before a restart;
 * -1 where it does not even begin. */
static int64_t sound_rows(const uint8_t *data, int64_t length) {
    struct jpeg_decompress_struct codec;
    failure of;
    volatile int begun = 0;
    static uint8_t row_of_pixels[MOST_ROW];
    JSAMPROW rows_of_one[1] = {row_of_pixels};
    memset(&codec, 0, sizeof codec);
    codec.err = jpeg_std_error(&of.base);
    of.base.error_exit = stop;
    of.base.emit_message = stop_at_warning;
    if (!setjmp(of.escape)) {
        jpeg_create_decompress(&codec);
        jpeg_mem_src(&codec, data, (unsigned long)length);
        jpeg_read_header(&codec, TRUE);
        jpeg_start_decompress(&codec);
        begun = 1;
        while (codec.output_scanline < codec.output_height) jpeg_read_scanlines(&codec, rows_of_one, 1);
    }
    /* of a grey image a row of MCUs may be several ones of blocks */
    const int64_t row = (int64_t)codec.input_iMCU_row + (codec.num_components == 1);
    const int64_t rows = codec.restart_interval ? codec.image_height : row * codec.max_v_samp_factor * DCTSIZE;
    jpeg_destroy_decompress(&codec);
    return begun ? rows : -1;
}

/* One image for both decoders. */
typedef struct {
    headrace_encoded all;
    float pixels[2][3 * SIZE * SIZE];
    int ours, libjpegs;
    int64_t needed; /* rows of the stored image, up to the last one of the window */
} decoding;

/* Find out which rows are needed. */
static void find_needed(decoding *of, headrace_scratch *scratch) {
    headrace_scaling scaling;
    const int32_t *header = of->all.jpegs->headers, denominator = of->all.jpegs->denominators[0];
    const int64_t height = (header[0] + denominator - 1) / denominator, width = (header[1] + denominator - 1) / denominator;
    of->needed = 0;
    if (headrace_begin_image(&scaling, scratch, &of->all, 0) < 1) return;
    const headrace_part part = headrace_stored_part(&scaling, of->all.scaled->turns[0], height, width);
    of->needed = (part.top + part.height) * denominator;
    if (of->needed > header[0]) of->needed = header[0];
}

static void decode_twice(void *context, headrace_scratch *scratch, int64_t row) {
    decoding *of = context;
    headrace_pixels to = *of->all.finish;
    of->all.finish = &to;
    to.out = of->pixels[0];
    of->ours = headrace_decode_baseline(&of->all, scratch, row);
    to.out = of->pixels[1];
    headrace_decode_libjpeg(&of->all, scratch, row);
    of->libjpegs = !of->all.messages[0];
    find_needed(of, scratch);
}

/* Decode some window at some part of the size. Returns whether what the decoders find goes together. */
static int decode(const uint8_t *data, int64_t length, decoding *of) {
    int32_t header[4], size[2] = {1 + (int32_t)draw(40), 1 + (int32_t)draw(40)};
    of->ours = of->libjpegs = 0;
    headrace_jpeg_headers(&data, &length, 1, header);
    if (!header[2] || (int64_t)header[0] * header[1] > MOST_PIXELS) return 1;
    const int32_t denominator = 1 << draw(4), turn = (int32_t)draw(8);
    int32_t extents[2] = {(header[0] + denominator - 1) / denominator, (header[1] + denominator - 1) / denominator};
    double box[4];
    for (int axis = 0; axis < 2; axis++) {
        const int32_t extent = extents[axis ^ (turn & HEADRACE_TRANSPOSED ? 1 : 0)];
        const uint32_t first = draw((uint32_t)extent * 4), rest = (uint32_t)extent * 4 - first;
        box[axis] = first / 4.0;
        box[axis + 2] = (first + 1 + draw(rest)) / 4.0;
    }
    const int64_t channels = draw(4) ? 3 : 1;
    const int64_t grid[6] = {SIZE, SIZE, channels, SIZE, 1, SIZE * SIZE};
    const int32_t place[8] = {(int32_t)draw(9) - 4, (int32_t)draw(9) - 4, draw(2) ? 1 : -1, draw(2) ? 1 : -1,
                              0, size[0], 0, size[1]};
    static float table[3 * 256], fill[3];
    for (int i = 0; i < 3 * 256; i++) table[i] = (float)i;
    char message[HEADRACE_MESSAGE];
    uint8_t *exact = malloc((size_t)length); /* so that a byte behind the end is noticed */
    memcpy(exact, data, (size_t)length);
    const uint8_t *file = exact;
    const headrace_jpegs jpegs = {&file, &length, 1, header, &denominator};
    const int32_t interpolation = (int32_t)draw(3), antialias = (int32_t)draw(2);
    const headrace_scaled scaled = {box, &turn, size, interpolation, antialias};
    const headrace_pixels finish = {.places = place, .table = table, .fill = fill, .channels = channels, .item_bytes = 4,
                                    .grid = grid, .image_stride = channels * SIZE * SIZE};
    of->all = (headrace_encoded){&jpegs, &scaled, &finish, message};
    memset(of->pixels, 0, sizeof of->pixels);
    headrace_each(1, 1, decode_twice, of);
    const int64_t sound = of->ours && !of->libjpegs ? sound_rows(exact, length) : 0;
    free(exact);
    if (of->ours && !of->libjpegs) return sound >= of->needed;
    return !of->ours || !memcmp(of->pixels[0], of->pixels[1], sizeof of->pixels[0]);
}

static int64_t read_file(const char *name, image *to) {
    FILE *from = fopen(name, "rb");
    to->length = from ? (int64_t)fread(to->data, 1, MOST_BYTES, from) : 0;
    return from && !fclose(from) ? to->length : 0;
}

int main(int count, char **arguments) {
    static image originals[MOST_FILES], changed;
    static decoding of;
    const int files = count - 3;
    if (files < 1 || files > MOST_FILES || !headrace_decodes()) return 2;
    for (int file = 0; file < files; file++)
        if (!read_file(arguments[file + 3], originals + file)) return 2;
    const int64_t inputs = atoll(arguments[2]);
    int64_t by_libjpeg = 0, by_both = 0, alone = 0;
    state = (uint64_t)atoll(arguments[1]) << 40;
    for (int64_t done = 0; done < inputs; done++) {
        changed = originals[done % files];
        change(&changed, originals + draw((uint32_t)files));
        if (!decode(changed.data, changed.length, &of)) {
            fprintf(stderr, "input %lld, of %s: the decoders differ\n", (long long)done, arguments[done % files + 3]);
            return 1;
        }
        by_libjpeg += of.libjpegs;
        by_both += of.ours && of.libjpegs;
        alone += of.ours && !of.libjpegs;
    }
    printf("%lld inputs, of which libjpeg decoded %lld; our decoder found the same pixels in %lld, and in %lld more, "
           "which are damaged beyond the window\n",
           (long long)inputs, (long long)by_libjpeg, (long long)by_both, (long long)alone);
    return 0;
}
