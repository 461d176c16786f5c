/* Decodes changed JPEGs with the kernels, built with sanitizers: python -m tests.fuzz.jpeg says how.
 *
 * Usage: jpeg SEED COUNT FILE...   Each of COUNT inputs is one of the files with some bytes changed, cut off or repeated.
 */
#include "headrace.h"

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

/* Decode some window at some part of the size; whether it could be. */
static int decode(const uint8_t *data, int64_t length) {
    int32_t header[4], size[2] = {1 + (int32_t)draw(40), 1 + (int32_t)draw(40)};
    headrace_jpeg_headers(&data, &length, 1, header);
    if (!header[2] || (int64_t)header[0] * header[1] > MOST_PIXELS) return 0;
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
    static float table[3 * 256], fill[3], out[3 * SIZE * SIZE];
    char message[HEADRACE_MESSAGE];
    uint8_t *exact = malloc((size_t)length); /* so that a byte behind the end is noticed */
    memcpy(exact, data, (size_t)length);
    const uint8_t *file = exact;
    headrace_decode(&file, &length, 1, header, &denominator, channels, box, &turn, size, (int32_t)draw(3), (int32_t)draw(2), place,
                    table, fill, NULL, 4, grid, channels * SIZE * SIZE, out, 1, message);
    free(exact);
    return !message[0];
}

int main(int count, char **arguments) {
    static uint8_t original[MOST_BYTES], data[MOST_BYTES];
    if (count < 4 || !headrace_decodes()) return 2;
    const int64_t inputs = atoll(arguments[2]);
    int64_t decoded = 0, done = 0;
    state = (uint64_t)atoll(arguments[1]) << 40;
    for (int file = 3; file < count; file++) {
        FILE *from = fopen(arguments[file], "rb");
        if (!from) return 2;
        const int64_t length = (int64_t)fread(original, 1, MOST_BYTES, from);
        fclose(from);
        for (; done < inputs * (file - 2) / (count - 3); done++) {
            memcpy(data, original, (size_t)length);
            decoded += decode(data, change(data, length));
        }
    }
    printf("%lld inputs, of which %lld were decoded\n", (long long)done, (long long)decoded);
    return 0;
}
