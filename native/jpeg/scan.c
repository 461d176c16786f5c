#include "baseline.h"

#include <string.h>

/* Bytes of a scan that are at hand at once; and more than an MCU can have of them: 6 blocks of 64 symbols, each of at
 * most 16 bits of code and 11 of value, and the 8 bytes that are read at once. */
enum { AT_ONCE = 1 << 14, MCU_BYTES = 6 * 64 * 4 + 32 };

size_t headrace_scan_bytes(void) { return AT_ONCE + 2 * MCU_BYTES; }

void headrace_begin_scan(headrace_scan *scan, uint8_t *bytes, const uint8_t *from, const uint8_t *end) {
    memset(scan, 0, sizeof *scan);
    scan->bytes = bytes;
    scan->filled = bytes;
    scan->bits.at = scan->limit = bytes;
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
        memset(scan->filled, 0, MCU_BYTES);
        scan->limit = scan->ended ? scan->filled : scan->filled - MCU_BYTES;
    }
    return next_byte(scan) <= scan->filled;
}

/* Begin behind the marker that comes next, if it is that restart. */
static int begin_behind(headrace_scan *scan, int number) {
    if (scan->end - scan->from < 2 || scan->from[1] != HEADRACE_RESTART + number) return 0;
    headrace_begin_scan(scan, scan->bytes, scan->from + 2, scan->end);
    return 1;
}

int headrace_restart_scan(headrace_scan *scan, int number) {
    return headrace_fill_scan(scan) && scan->ended && next_byte(scan) == scan->filled && begin_behind(scan, number);
}

/* Go on to the next marker. Returns 0 where there is none. */
static int find_marker(headrace_scan *scan) {
    while (scan->end - scan->from >= 2) {
        const uint8_t *ones = memchr(scan->from, 0xFF, (size_t)(scan->end - scan->from - 1));
        if (!ones) return 0;
        scan->from = ones;
        if (ones[1]) return 1;
        scan->from += 2;
    }
    return 0;
}

int headrace_skip_to_restart(headrace_scan *scan, int number) {
    return find_marker(scan) && begin_behind(scan, number);
}

int headrace_comes_next(headrace_scan *scan, int marker) { return find_marker(scan) && scan->from[1] == marker; }
