#include "baseline.h"

#include <string.h>

/* Bytes of a scan that are at hand at once; and more than an MCU can have of them: 6 blocks of 64 symbols, each of at
 * most 16 bits of code and 11 of value, and the 8 bytes that are read at once. */
enum { AT_ONCE = 1 << 14, MCU_BYTES = 6 * 64 * 4 + 32 };

size_t headrace_scan_bytes(void) { return AT_ONCE + 2 * MCU_BYTES; }

void headrace_begin_scan(headrace_scan *scan, uint8_t *bytes, const uint8_t *from, const uint8_t *end) {
    memset(scan, 0, sizeof *scan);
    scan->bytes = bytes;
    scan->bits.at = scan->filled = scan->limit = bytes;
    scan->from = from;
    scan->end = end;
}

/* The first byte of which no bit was taken. */
static const uint8_t *next_byte(const headrace_scan *scan) { return scan->bits.at - ((scan->bits.count & 63) >> 3); }

/* Add bytes from the file. Behind a byte of ones there is one of zeros (section B.1.1.5), or a marker. */
static void unstuff(headrace_scan *scan, uint8_t *to, const uint8_t *stop) {
    while (to < stop) {
        const size_t rest = (size_t)(scan->end - scan->from), room = (size_t)(stop - to);
        const size_t most = rest < room ? rest : room;
        const uint8_t *ones = most ? memchr(scan->from, 0xFF, most) : NULL;
        const size_t count = ones ? (size_t)(ones - scan->from) : most;
        if (count) memcpy(to, scan->from, count);
        to += count;
        scan->from += count;
        if (!ones && room > rest) scan->ended = 1;
        if (ones && (rest - count < 2 || ones[1] != 0)) scan->ended = 1;
        if (scan->ended) break;
        if (ones) *to++ = 0xFF, scan->from += 2;
    }
    scan->filled = to;
}

int headrace_fill_scan(headrace_scan *scan) {
    if (!scan->ended) {
        const uint8_t *next = next_byte(scan);
        const size_t rest = (size_t)(scan->filled - next);
        memmove(scan->bytes, next, rest);
        scan->bits.at = scan->bytes;
        scan->bits.at += (scan->bits.count & 63) >> 3;
        unstuff(scan, scan->bytes + rest, scan->bytes + AT_ONCE);
        memset(scan->bytes + (scan->filled - scan->bytes), 0, MCU_BYTES);
        scan->limit = scan->ended ? scan->filled : scan->filled - MCU_BYTES;
    }
    return next_byte(scan) <= scan->filled;
}

int headrace_restart_scan(headrace_scan *scan, int number) {
    if (!headrace_fill_scan(scan) || !scan->ended || next_byte(scan) != scan->filled) return 0;
    if (scan->end - scan->from < 2 || scan->from[1] != 0xD0 + number) return 0;
    headrace_begin_scan(scan, scan->bytes, scan->from + 2, scan->end);
    return 1;
}
