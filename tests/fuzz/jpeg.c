/* Decodes changed JPEGs with the kernels, built with sanitizers: python -m tests.fuzz.jpeg says how.
 *
 * Usage: jpeg SEED COUNT FILE...   Each of COUNT inputs is one of the files with some bytes changed, cut off or repeated.
 */
#include "jpeg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 1 << 16, SIZE = 24, MOST_PIXELS = 1 << 22 };

static uint64_t state;

static uint32_t draw(uint32_t below) {
    uint32_t words[4] = {(uint32_t)state, (uint32_t)(state >> 32), 0, 0};
    headrace_philox_words(7, words);
    state++;
    return (uint32_t)((uint64_t)words[0] * below >> 32);
}

static int64_t change(uint8_t *data, int64_t length) {
    const uint32_t reach = draw(2) ? (uint32_t)length : (uint32_t)(length < 700 ? length : 700);
    for (uint32_t changes = draw(6); changes > 0; changes--) {
        const uint32_t place = draw(reach);
        data[place] = draw(3) ? (uint8_t)draw(256) : 0xFF;
    }
    if (!draw(6)) {
        const uint32_t from = draw((uint32_t)length), to = draw((uint32_t)length);
        const uint32_t most = (uint32_t)length - (from > to ? from : to);
        memmove(data + to, data + from, most ? draw(most) : 0);
    }
    return draw(5) ? length : (int64_t)draw((uint32_t)length) + 1;
}

/* One image for both decoders. */
typedef struct {
    headrace_encoded all;
    float pixels[2][3 * SIZE * SIZE];
    int ours, libjpegs;
} decoding;

static void decode_twice(void *context, headrace_scratch *scratch, int64_t row) {
    decoding *of = context;
    of->all.finish.out = of->pixels[0];
    of->ours = headrace_decode_baseline(&of->all, scratch, row);
    of->all.finish.out = of->pixels[1];
    headrace_decode_libjpeg(&of->all, scratch, row);
    of->libjpegs = !of->all.messages[0];
}

/* Decode some window at some part of the size. */
static void decode(const uint8_t *data, int64_t length, decoding *of) {
    int32_t header[4], size[2] = {1 + (int32_t)draw(40), 1 + (int32_t)draw(40)};
    of->ours = of->libjpegs = 0;
    headrace_jpeg_headers(&data, &length, 1, header);
    if (!header[2] || (int64_t)header[0] * header[1] > MOST_PIXELS) return;
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
    const headrace_filter filter = {(int32_t)draw(3), (int32_t)draw(2)};
    of->all = (headrace_encoded){
        .files = &file, .lengths = &length, .headers = header, .denominators = &denominator, .boxes = box,
        .turns = &turn, .sizes = size, .filter = filter, .messages = message,
        .finish = {channels, place, table, fill, NULL, 4, grid, channels * SIZE * SIZE, NULL}};
    memset(of->pixels, 0, sizeof of->pixels);
    headrace_each(1, 1, decode_twice, of);
    free(exact);
}

int main(int count, char **arguments) {
    static uint8_t original[MOST_BYTES], data[MOST_BYTES];
    if (count < 4 || !headrace_decodes()) return 2;
    const int64_t inputs = atoll(arguments[2]);
    static decoding of;
    int64_t by_libjpeg = 0, by_both = 0, alone = 0, done = 0;
    state = (uint64_t)atoll(arguments[1]) << 40;
    for (int file = 3; file < count; file++) {
        FILE *from = fopen(arguments[file], "rb");
        if (!from) return 2;
        const int64_t length = (int64_t)fread(original, 1, MOST_BYTES, from);
        fclose(from);
        for (; done < inputs * (file - 2) / (count - 3); done++) {
            memcpy(data, original, (size_t)length);
            decode(data, change(data, length), &of);
            if (of.ours && of.libjpegs && memcmp(of.pixels[0], of.pixels[1], sizeof of.pixels[0])) {
                fprintf(stderr, "input %lld of %s: the decoders differ\n", (long long)done, arguments[file]);
                return 1;
            }
            by_libjpeg += of.libjpegs;
            by_both += of.ours && of.libjpegs;
            alone += of.ours && !of.libjpegs;
        }
    }
    printf("%lld inputs, of which libjpeg decoded %lld; our decoder found the same pixels in %lld, and in %lld more, "
           "which are damaged beyond the window\n",
           (long long)done, (long long)by_libjpeg, (long long)by_both, (long long)alone);
    return 0;
}
