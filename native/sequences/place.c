#include "headrace.h"

#include <string.h>

/* Write one item over and over. */
static void fill(char *out, int64_t count, const char *item, int64_t item_bytes) {
    if (item_bytes == 1) {
        memset(out, item[0], (size_t)count);
    } else if (item_bytes == 8) {
        uint64_t value;
        memcpy(&value, item, 8);
        for (int64_t i = 0; i < count; i++) memcpy(out + 8 * i, &value, 8);
    } else if (item_bytes == 4) {
        uint32_t value;
        memcpy(&value, item, 4);
        for (int64_t i = 0; i < count; i++) memcpy(out + 4 * i, &value, 4);
    } else {
        for (int64_t i = 0; i < count; i++) memcpy(out + item_bytes * i, item, (size_t)item_bytes);
    }
}

static int64_t first_wrong(const headrace_pieces *pieces, int64_t size) {
    int64_t reached = 0;
    for (int64_t i = 0; i < pieces->count; i++) {
        const int64_t start = pieces->starts[i], length = pieces->lengths[i], place = pieces->places[i];
        if (start < 0 || length < 0 || start > pieces->size - length) return i;
        if (place < reached || place > size - length) return i;
        reached = place + length;
    }
    return -1;
}

int64_t headrace_place_pieces(const headrace_pieces *pieces, const char *item, int64_t size, char *out) {
    const int64_t wrong = first_wrong(pieces, size), bytes = pieces->item_bytes;
    if (wrong >= 0) return wrong;
    int64_t reached = 0;
    for (int64_t i = 0; i < pieces->count; i++) {
        const int64_t place = pieces->places[i], length = pieces->lengths[i];
        fill(out + bytes * reached, place - reached, item, bytes);
        memcpy(out + bytes * place, pieces->values + bytes * pieces->starts[i], (size_t)(bytes * length));
        reached = place + length;
    }
    fill(out + bytes * reached, size - reached, item, bytes);
    return -1;
}

int64_t headrace_pad(const headrace_padding *padding, const char *item, char *out) {
    const int64_t bytes = padding->item_bytes, width = padding->width;
    int64_t left = padding->size;
    for (int64_t i = 0; i < padding->count; i++) {
        const int64_t length = padding->lengths[i], kept = length < padding->most ? length : padding->most;
        if (length < 0 || kept > width || (!padding->starts && length > left)) return i;
        left -= length;
    }
    const char *values = padding->values;
    for (int64_t i = 0; i < padding->count; i++) {
        const int64_t length = padding->lengths[i], kept = length < padding->most ? length : padding->most;
        const int64_t before = padding->before ? width - kept : 0;
        fill(out, before, item, bytes);
        const char *start = padding->starts ? padding->starts[i] : values;
        if (kept) memcpy(out + bytes * before, start, (size_t)(bytes * kept)); /* nothing may lie nowhere */
        fill(out + bytes * (before + kept), width - kept - before, item, bytes);
        if (!padding->starts) values += bytes * length;
        out += bytes * width;
    }
    return -1;
}
