/* The parts of the decoder for baseline JPEGs: the frame, entropy-coded bits, transforms and colours.
 *
 * It knows what nearly all photographs are: 8 bits a sample, Huffman codes, one sequential scan, grey or YCbCr. It
 * never says what is wrong: whatever is rare, or not certainly as libjpeg-turbo would decode it without a warning, is
 * left to that, and what both decode has the same pixels. Sections are those of ITU-T T.81, which is ISO/IEC 10918-1.
 */
#ifndef HEADRACE_BASELINE_H
#define HEADRACE_BASELINE_H

#include "encoded.h"

/* Tests define HEADRACE_PORTABLE, to hold what other processors have to the same pixels. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(HEADRACE_PORTABLE)
#define HAS_AVX2 1
#endif

enum { HEADRACE_BLOCK = 64 /* coefficients */, HEADRACE_COLOURS = 3 };

/* The coefficient at each place of the order in which they are stored (figure A.6). */
extern const uint8_t headrace_zigzag[HEADRACE_BLOCK];

/* ---- Huffman codes */

enum { HEADRACE_SINGLE_BITS = 10, HEADRACE_PAIR_BITS = 11, HEADRACE_SKIP_BITS = 12 };

/* A table of codes, and what the next bits say by it. */
typedef struct {
    uint8_t counts[16], symbols[256]; /* as stored: how many codes of each length, and what they stand for */
    int count;                        /* of symbols; 0 before there are any */
    uint32_t limits[17];              /* of each length: what 16 bits are below that begin with a code as short */
    int32_t offsets[17];              /* of each length: the number of a symbol, less its code */
    uint32_t singles[1 << HEADRACE_SINGLE_BITS]; /* the next symbol */
    uint32_t pairs[1 << HEADRACE_PAIR_BITS];     /* the next two and their values */
    uint16_t skips[1 << HEADRACE_SKIP_BITS];     /* as many as that many bits hold, without their values */
} headrace_codes;

/* The tables that a baseline file may have, by class (0 for DC) and number (table B.5). A thread keeps them: most files
 * have the same. */
enum { HEADRACE_CODES_EACH = 2 };
typedef struct {
    headrace_codes codes[2][HEADRACE_CODES_EACH];
} headrace_tables;

/* Take over a table as stored, `length` bytes without its class and number. Returns how many bytes it has, or 0 where
 * it is not known here. */
int64_t headrace_read_codes(headrace_codes *codes, int is_ac, const uint8_t *data, int64_t length);

/* ---- the frame */

typedef struct {
    int32_t id;
    int32_t across, down; /* blocks in each MCU */
    int32_t quantisation, dc, ac;
} headrace_component;

/* What the markers before the pixels say. */
typedef struct {
    int64_t height, width;
    int32_t count;
    headrace_component components[HEADRACE_COLOURS];
    int16_t quantisation[4][HEADRACE_BLOCK]; /* in rows */
    int32_t known[3];                        /* bits of which tables there are: codes by class, quantisation */
    int64_t restart;                         /* MCUs between restarts; 0 for none */
    const uint8_t *pixels;                   /* the entropy-coded bytes, and all that follows them */
} headrace_frame;

/* Returns 0 where it is not one that is known here. */
int headrace_read_frame(headrace_frame *frame, headrace_tables *tables, const uint8_t *data, int64_t length);

/* ---- entropy-coded bits */

typedef struct {
    uint64_t bits;     /* those that come next, from the highest on */
    uint32_t count;    /* how many of them there are, in its six lowest bits */
    const uint8_t *at; /* the bytes behind them */
} headrace_bits;

/* The bits of a scan, between two markers. */
typedef struct {
    headrace_bits bits;
    uint8_t *bytes;            /* a part of them, without what is stuffed into them */
    uint8_t *filled;           /* where that part ends */
    const uint8_t *limit;      /* behind it there may not be enough bytes for an MCU */
    const uint8_t *from, *end; /* in the file: what was not yet read */
    int ended;                 /* whether the file or a marker comes next */
} headrace_scan;

/* Markers (table B.1): the first of the restarts, and the end of the image. */
enum { HEADRACE_RESTART = 0xD0, HEADRACE_END = 0xD9 };

/* How much memory a scan needs. */
size_t headrace_scan_bytes(void);

void headrace_begin_scan(headrace_scan *scan, uint8_t *bytes, const uint8_t *from, const uint8_t *end);

/* Have the bytes of an MCU at hand. Returns 0 where more was read than there was. */
int headrace_fill_scan(headrace_scan *scan);

/* Go on behind the restart marker of that number, 0 to 7. Returns 0 where another comes, or there is more before it. */
int headrace_restart_scan(headrace_scan *scan, int number);

/* The same without regard to what there is before. */
int headrace_skip_to_restart(headrace_scan *scan, int number);

/* Whether that marker is the next one. Nothing can be read after that. */
int headrace_comes_next(headrace_scan *scan, int marker);

/* The next block: its DC coefficient is added to the last one, the others to a block of zeros, in rows; NULL to skip
 * them. Returns the place of the last coefficient, or -1 where it is damaged. */
int headrace_read_block(headrace_bits *bits, const headrace_codes *dc, const headrace_codes *ac, int16_t *coefficients,
                        int *last_dc);

/* ---- blocks become samples */

typedef struct {
    int16_t *coefficients;
    const int16_t *quantisation;
    uint8_t *out;
    int64_t stride;
} headrace_block;

/* Transform two blocks, which may be one, to as many samples each way, 8, 4 or 2. Of the coefficients zeros are left.
 * Returns 0 where one is such that no image has it. */
int headrace_transform(const headrace_block blocks[2], int size);

/* The same for one block of which only the DC coefficient, dequantised, is not 0; size may be 1, too. */
void headrace_fill_block(uint8_t *out, int64_t stride, int size, int dc);

/* ---- samples become pixels */

/* Twice as many samples; those beside the row are read. sums: count + 2 of them. */
void headrace_double_columns(const uint8_t *row, int64_t count, uint8_t *out);
void headrace_double_both(const uint8_t *near, const uint8_t *far, int64_t count, int16_t *sums, uint8_t *out);
void headrace_repeat_columns(const uint8_t *row, int64_t count, uint8_t *out);

/* As many pixels at once, so that up to one less than these are read and written behind the last. */
enum { HEADRACE_AT_ONCE = 32 };
void headrace_colours_to_pixels(const uint8_t *luma, const uint8_t *blue, const uint8_t *red, int64_t count,
                                uint8_t *out);
void headrace_grey_to_pixels(const uint8_t *luma, int64_t count, uint8_t *out);

/* The decoder of this library, for most JPEGs. Returns 0 where an image is none of these, or not certainly sound;
 * nothing is written then. */
int headrace_decode_baseline(const headrace_encoded *all, headrace_scratch *scratch, int64_t row);

#endif
