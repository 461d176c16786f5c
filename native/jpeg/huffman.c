#include "baseline.h"

#include <string.h>

/* What is at hand must stay in registers. */
#if defined(__GNUC__)
#define INLINE __attribute__((always_inline)) static inline
#else
#define INLINE static inline
#endif

/* Tables of what the next bits say. A single entry is one symbol: the bits of its code and its value together, those of
 * the code alone, those of the value, and how far behind the last coefficient its own is. */
enum { BITS_MASK = 63, END = 1 << 6, CODE_SHIFT = 8, SIZE_SHIFT = 16, ADVANCE_SHIFT = 24, FIELD = 31 };

/* A pair is two symbols: the bits of all, how far the first and both go, ENDS added where the block does, and the two
 * values. */
enum { FIRST_SHIFT = 6, BOTH_SHIFT = 11, BOTH_MASK = 127, ENDS = HEADRACE_BLOCK, VALUE_BITS = 7, MOST_SIZE = 6 };

/* Some symbols that are skipped: the bits of all, and how far they go. */
enum { SKIP_SHIFT = 6 };

/* What goes so far is read one by one: a symbol may be longer than these tables know, or fill the block. */
enum { LAST = HEADRACE_BLOCK - 1, BROKEN = LAST | 3 * ENDS };

enum { UNKNOWN_PAIR = (LAST | ENDS) << BOTH_SHIFT, UNKNOWN_SKIP = (LAST | ENDS) << SKIP_SHIFT };

/* Bits of a code (section C.2), of a difference and of a coefficient (tables F.1 and F.2); 16 zeros (figure F.1). */
enum { LONGEST = 16, MOST_DC = 11, MOST_AC = 10, ZERO_RUN = 0xF0 };

enum { WITHOUT_CODE = 1 << 16 /* in place of a difference */ };

const uint8_t headrace_zigzag[HEADRACE_BLOCK] = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
    41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
    30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

/* ---- tables */

/* Whether a symbol is one that 8 bits a sample need. */
static int is_usual(int is_ac, int symbol) {
    const int size = symbol & 15;
    if (!is_ac) return symbol <= MOST_DC;
    return size ? size <= MOST_AC : symbol == 0 || symbol == ZERO_RUN;
}

static uint32_t single(int is_ac, int length, int symbol) {
    const int size = symbol & 15;
    if (is_ac && !symbol) return (uint32_t)(length | END | length << CODE_SHIFT);
    return (uint32_t)(length + size) | (uint32_t)length << CODE_SHIFT | (uint32_t)size << SIZE_SHIFT |
           (uint32_t)((symbol >> 4) + 1) << ADVANCE_SHIFT;
}

/* Codes count upwards, the shorter ones first (section C.2). Returns 0 where they are too many, or one is all ones. */
static int make_singles(headrace_codes *codes, int is_ac) {
    uint32_t code = 0;
    int number = 0;
    memset(codes->singles, 0, sizeof codes->singles);
    for (int length = 1; length <= LONGEST; length++, code <<= 1) {
        codes->offsets[length] = number - (int32_t)code;
        for (int end = number + codes->counts[length - 1]; number < end; number++, code++) {
            if (code + 1 >= 1u << length || !is_usual(is_ac, codes->symbols[number])) return 0;
            if (length > HEADRACE_SINGLE_BITS) continue;
            const int free = HEADRACE_SINGLE_BITS - length;
            for (uint32_t rest = 0; rest < 1u << free; rest++)
                codes->singles[code << free | rest] = single(is_ac, length, codes->symbols[number]);
        }
        codes->limits[length] = code << (LONGEST - length);
    }
    return 1;
}

/* The single symbol that a word of `bits` bits has behind the first `at`; 0 where it does not hold all of it. */
static uint32_t within(const headrace_codes *codes, uint32_t word, int bits, int at) {
    const uint32_t next = word << (32 - bits) << at;
    const uint32_t entry = codes->singles[next >> (32 - HEADRACE_SINGLE_BITS)];
    return (int)(entry & BITS_MASK) <= bits - at ? entry : 0;
}

/* The value that follows a code, as the difference or coefficient it stands for (table F.1, table F.2). */
static int value_of(uint32_t bits, int size) { return bits >> (size - 1) ? (int)bits : (int)bits - (1 << size) + 1; }

static uint32_t pair(const headrace_codes *codes, uint32_t word) {
    uint32_t values = 0, first = 0, both = 0;
    int at = 0;
    for (int symbol = 0; symbol < 2 && both < ENDS; symbol++) {
        const uint32_t next = within(codes, word, HEADRACE_PAIR_BITS, at);
        const int size = next >> SIZE_SHIFT & FIELD;
        if (!next || size > MOST_SIZE) break;
        at += next & BITS_MASK;
        const uint32_t bits = word >> (HEADRACE_PAIR_BITS - at) & ((1u << size) - 1);
        const uint32_t value = size ? (uint32_t)value_of(bits, size) & ((1 << VALUE_BITS) - 1) : 0;
        values |= value << (symbol ? 32 - VALUE_BITS : 32 - 2 * VALUE_BITS);
        both += next & END ? ENDS : next >> ADVANCE_SHIFT;
        if (!symbol) first = both % ENDS;
    }
    return at ? values | both << BOTH_SHIFT | first << FIRST_SHIFT | (uint32_t)at : UNKNOWN_PAIR;
}

static uint16_t skip(const headrace_codes *codes, uint32_t word) {
    uint32_t at = 0, all = 0, next;
    while (all < ENDS && (next = within(codes, word, HEADRACE_SKIP_BITS, (int)at)) != 0) {
        if (all + (next >> ADVANCE_SHIFT) > LAST) break;
        at += next & BITS_MASK;
        all += next & END ? ENDS : next >> ADVANCE_SHIFT;
    }
    return (uint16_t)(at ? at | all << SKIP_SHIFT : UNKNOWN_SKIP);
}

int64_t headrace_read_codes(headrace_codes *codes, int is_ac, const uint8_t *data, int64_t length) {
    int count = 0;
    if (length < LONGEST) return 0;
    for (int i = 0; i < LONGEST; i++) count += data[i];
    if (count > 256 || length < LONGEST + count) return 0;
    if (codes->count == count && count && !memcmp(codes->counts, data, LONGEST) &&
        !memcmp(codes->symbols, data + LONGEST, (size_t)count))
        return LONGEST + count;
    codes->count = 0;
    memcpy(codes->counts, data, LONGEST);
    memcpy(codes->symbols, data + LONGEST, (size_t)count);
    if (!make_singles(codes, is_ac)) return 0;
    if (is_ac) {
        for (uint32_t word = 0; word < 1 << HEADRACE_PAIR_BITS; word++) codes->pairs[word] = pair(codes, word);
        for (uint32_t word = 0; word < 1 << HEADRACE_SKIP_BITS; word++) codes->skips[word] = skip(codes, word);
    }
    codes->count = count;
    return LONGEST + count;
}

/* ---- bits */

/* Eight bytes are read, and as many of them taken as there is room for: 56 bits or more are there then. */
INLINE void refill(headrace_bits *bits) {
    const uint8_t *at = bits->at;
    const uint32_t count = bits->count & BITS_MASK;
    const uint64_t next = (uint64_t)at[0] << 56 | (uint64_t)at[1] << 48 | (uint64_t)at[2] << 40 |
                          (uint64_t)at[3] << 32 | (uint64_t)at[4] << 24 | (uint64_t)at[5] << 16 |
                          (uint64_t)at[6] << 8 | (uint64_t)at[7];
    bits->bits |= next >> count;
    bits->at = at + ((63 - count) >> 3);
    bits->count = count | 56;
}

/* Take as many bits as an entry says in its lowest ones. */
INLINE void take(headrace_bits *bits, uint32_t entry) {
    bits->bits <<= entry & BITS_MASK;
    bits->count -= entry;
}

/* The next symbol of any length; 0 where there is no such code. */
static uint32_t find(const headrace_codes *codes, uint64_t bits, int is_ac) {
    const uint32_t next = (uint32_t)(bits >> (64 - LONGEST));
    for (int length = HEADRACE_SINGLE_BITS + 1; length <= LONGEST; length++)
        if (next < codes->limits[length]) {
            const int32_t code = (int32_t)(next >> (LONGEST - length));
            return single(is_ac, length, codes->symbols[codes->offsets[length] + code]);
        }
    return 0;
}

INLINE uint32_t next_single(const headrace_codes *codes, uint64_t bits, int is_ac) {
    const uint32_t entry = codes->singles[bits >> (64 - HEADRACE_SINGLE_BITS)];
    return entry ? entry : find(codes, bits, is_ac);
}

/* The value of a symbol that the bits begin with. */
INLINE int single_value(uint64_t bits, uint32_t entry) {
    const int size = entry >> SIZE_SHIFT & FIELD;
    const uint64_t value = bits << (entry >> CODE_SHIFT & FIELD);
    const int is_negative = (int)(~value >> 63);
    return (int)(value >> 1 >> (63 - size)) - is_negative * ((1 << size) - 1);
}

/* One symbol, of any length and wherever it leads; without coefficients it is skipped. Returns the place of the last
 * coefficient, ENDS added where no more follow. */
INLINE uint32_t read_one(headrace_bits *bits, const headrace_codes *codes, uint32_t place, int16_t *coefficients) {
    refill(bits);
    const uint32_t entry = next_single(codes, bits->bits, 1), to = place + (entry >> ADVANCE_SHIFT);
    if (!entry || to > LAST) return BROKEN;
    if (coefficients) coefficients[headrace_zigzag[to]] += (int16_t)single_value(bits->bits, entry);
    take(bits, entry);
    return entry & END || to == LAST ? to | ENDS : to;
}

/* The difference of a DC coefficient from that before; WITHOUT_CODE where there is none. */
INLINE int read_difference(headrace_bits *bits, const headrace_codes *codes) {
    refill(bits);
    const uint32_t entry = next_single(codes, bits->bits, 0);
    if (!entry) return WITHOUT_CODE;
    const int difference = single_value(bits->bits, entry);
    take(bits, entry);
    return difference;
}

/* The values of a pair. */
INLINE int16_t first_value(uint32_t entry) {
    return (int16_t)((int32_t)(entry << VALUE_BITS) >> (32 - VALUE_BITS));
}
INLINE int16_t second_value(uint32_t entry) { return (int16_t)((int32_t)entry >> (32 - VALUE_BITS)); }

/* The AC coefficients, to their end. Returns as read_one. */
INLINE uint32_t read_coefficients(headrace_bits *bits, const headrace_codes *codes, int16_t *coefficients) {
    uint32_t place = 0;
    for (;;) {
        refill(bits);
        for (int i = 0; i < 56 / HEADRACE_PAIR_BITS; i++) {
            const uint32_t entry = codes->pairs[bits->bits >> (64 - HEADRACE_PAIR_BITS)];
            const uint32_t first = place + (entry >> FIRST_SHIFT & FIELD);
            const uint32_t both = place + (entry >> BOTH_SHIFT & BOTH_MASK);
            if (both >= LAST) {
                if (entry & ENDS << BOTH_SHIFT && both < ENDS + LAST) {
                    take(bits, entry);
                    /* there is at most one value, and perhaps none: a branch would be foreseen half of the time */
                    coefficients[headrace_zigzag[first]] += first_value(entry);
                    return both;
                }
                place = read_one(bits, codes, place, coefficients);
                if (place & ENDS) return place;
                break;
            }
            take(bits, entry);
            coefficients[headrace_zigzag[both]] = second_value(entry); /* or a 0, which the one value is written over */
            coefficients[headrace_zigzag[first]] = first_value(entry);
            place = both;
        }
    }
}

INLINE uint32_t skip_coefficients(headrace_bits *bits, const headrace_codes *codes) {
    uint32_t place = 0;
    for (;;) {
        refill(bits);
        for (int i = 0; i < 56 / HEADRACE_SKIP_BITS; i++) {
            const uint32_t entry = codes->skips[bits->bits >> (64 - HEADRACE_SKIP_BITS)];
            const uint32_t all = place + (entry >> SKIP_SHIFT);
            if (all >= LAST) {
                if (entry & ENDS << SKIP_SHIFT && all < ENDS + LAST) {
                    take(bits, entry);
                    return all;
                }
                place = read_one(bits, codes, place, NULL);
                if (place & ENDS) return place;
                break;
            }
            take(bits, entry);
            place = all;
        }
    }
}

int headrace_read_block(headrace_bits *bits, const headrace_codes *dc, const headrace_codes *ac, int16_t *coefficients,
                        int *last_dc) {
    headrace_bits next = *bits;
    const int difference = read_difference(&next, dc);
    const uint32_t place = coefficients ? read_coefficients(&next, ac, coefficients) : skip_coefficients(&next, ac);
    *bits = next;
    *last_dc += difference;
    return place == BROKEN || difference == WITHOUT_CODE ? -1 : (int)(place & LAST);
}
