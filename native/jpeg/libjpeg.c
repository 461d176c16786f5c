#include "libjpeg.h"

#include <stdio.h>
#include <string.h>

#ifndef HEADRACE_JPEG

int headrace_decodes(void) { return 1; }

void headrace_decode_libjpeg(const headrace_encoded *all, headrace_scratch *scratch, int64_t row) {
    (void)scratch;
    snprintf(all->messages + row * HEADRACE_MESSAGE, HEADRACE_MESSAGE,
             "it is damaged, or no baseline JPEG, and libjpeg was not there when headrace was built");
}

#else

#include <jpeglib.h>
#include <setjmp.h>

enum {
    MARGIN = 8,       /* pixels around the window that are decoded, too: colours spread over their neighbours */
    MOST_SCANS = 100, /* of a progressive image; who writes more wants to keep the decoder busy */
    ODD = 8           /* bytes by which a row is not aligned */
};

int headrace_decodes(void) { return 2; }

/* How an image failed: where to go on, and why. */
typedef struct {
    struct jpeg_error_mgr base; /* first, so that libjpeg's pointer is one to all of it */
    jmp_buf escape;
    char *message;
} failure;

static void fail(j_common_ptr codec) {
    failure *to = (failure *)codec->err;
    to->base.format_message(codec, to->message);
    longjmp(to->escape, 1);
}

/* A warning says that data are damaged; whoever reads on gets pixels that were never in the image. */
static void warn(j_common_ptr codec, int level) {
    if (level < 0) fail(codec);
}

static void say_nothing(j_common_ptr codec) { (void)codec; }

static void refuse(failure *to, const char *reason) {
    snprintf(to->message, HEADRACE_MESSAGE, "%s", reason);
    longjmp(to->escape, 1);
}

static void check_scans(j_common_ptr codec) {
    if (((j_decompress_ptr)codec)->input_scan_number > MOST_SCANS) refuse((failure *)codec->err, "it has too many scans");
}

/* Whether all coefficients have come to their last bit. Where some are missing at the end of a progressive image, libjpeg
 * guesses them from the blocks around: each version in its own way, and in a window otherwise than in the whole image. */
static int is_complete(j_decompress_ptr codec) {
    if (!codec->progressive_mode || !codec->coef_bits) return 1;
    for (int component = 0; component < codec->num_components; component++)
        for (int coefficient = 0; coefficient < DCTSIZE2; coefficient++)
            if (codec->coef_bits[component][coefficient]) return 0;
    return 1;
}

static int64_t parts(int64_t size, int64_t denominator) { return (size + denominator - 1) / denominator; }

static void begin(j_decompress_ptr codec, const headrace_encoded *all, int64_t row) {
    failure *to = (failure *)codec->err;
    const int32_t *header = all->jpegs->headers + row * 4;
    jpeg_mem_src(codec, all->jpegs->files[row], (unsigned long)all->jpegs->lengths[row]);
    jpeg_read_header(codec, TRUE);
    if ((int64_t)codec->image_height != header[0] || (int64_t)codec->image_width != header[1])
        refuse(to, "it has two sizes");
    if (codec->num_components != 3 && codec->num_components != 1) refuse(to, "its colours are not known here");
    if (codec->num_components > all->finish->channels) refuse(to, "it has colours, but grey is asked for");
    if (!headrace_has_end(codec->src->next_input_byte, codec->src->bytes_in_buffer)) refuse(to, "it has no end");
    codec->out_color_space = all->finish->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    codec->scale_num = 1;
    codec->scale_denom = (unsigned)all->jpegs->denominators[row];
    jpeg_start_decompress(codec);
    if ((int64_t)codec->output_height != parts(header[0], all->jpegs->denominators[row]) ||
        (int64_t)codec->output_width != parts(header[1], all->jpegs->denominators[row]))
        refuse(to, "there are no parts of its size");
    if (!is_complete(codec)) refuse(to, "it is progressive, and its last scans are missing");
}

/* Decode no column but those of the part and some beside it. Returns how many bytes of a row lie before the part. */
static int64_t crop(j_decompress_ptr codec, const headrace_part *of) {
    JDIMENSION left = of->left > MARGIN ? (JDIMENSION)(of->left - MARGIN) : 0;
    const int64_t right = of->left + of->width + MARGIN;
    JDIMENSION width = (right < codec->output_width ? (JDIMENSION)right : codec->output_width) - left;
    if (width < codec->output_width) jpeg_crop_scanline(codec, &left, &width);
    return (of->left - (int64_t)left) * codec->output_components;
}

static void skip(j_decompress_ptr codec, int64_t rows) {
    if (rows > 0) jpeg_skip_scanlines(codec, (JDIMENSION)rows);
}

static void read_row(j_decompress_ptr codec, uint8_t *row) {
    JSAMPROW rows[1] = {row};
    if (jpeg_read_scanlines(codec, rows, 1) != 1) refuse((failure *)codec->err, "it has too few rows");
}

/* Memory for rows. libjpeg-turbo writes rows that are aligned past the caches, from where they come back slowly; so these
 * are not. */
static uint8_t *memory(j_decompress_ptr codec, headrace_scratch *scratch, int64_t rows, int64_t row_bytes) {
    uint8_t *block = headrace_memory(scratch, HEADRACE_PIXELS, (size_t)(ODD + rows * row_bytes));
    if (!block) refuse((failure *)codec->err, "memory is missing");
    return block + ODD;
}

static int64_t bytes_of_row(j_decompress_ptr codec) {
    return (int64_t)codec->output_width * codec->output_components;
}

/* Decode the part into memory, where it can be turned. */
static void read_part(j_decompress_ptr codec, headrace_scratch *scratch, headrace_scaling *scaling, int32_t turn) {
    const headrace_part of = headrace_stored_part(scaling, turn, codec->output_height, codec->output_width);
    const int64_t before = crop(codec, &of);
    const int64_t row_bytes = (bytes_of_row(codec) + HEADRACE_ALIGNMENT - 1) / HEADRACE_ALIGNMENT * HEADRACE_ALIGNMENT;
    uint8_t *pixels = memory(codec, scratch, of.height, row_bytes);
    skip(codec, of.top);
    for (int64_t row = 0; row < of.height; row++) read_row(codec, pixels + row * row_bytes);
    if (!headrace_scale_part(scaling, scratch, turn, &of, pixels + before, row_bytes))
        refuse((failure *)codec->err, "memory is missing");
}

/* Decode the part row by row, and scale each while the processor still has it at hand. */
static void read_rows(j_decompress_ptr codec, headrace_scratch *scratch, headrace_scaling *scaling) {
    const headrace_part of = headrace_stored_part(scaling, 0, codec->output_height, codec->output_width);
    const int64_t before = crop(codec, &of);
    uint8_t *pixels = memory(codec, scratch, 1, bytes_of_row(codec));
    skip(codec, of.top);
    for (int64_t row = 0; row < of.height; row++) {
        read_row(codec, pixels);
        headrace_scale_row(scaling, pixels + before);
    }
}

static void decode(j_decompress_ptr codec, const headrace_encoded *all, headrace_scratch *scratch, int64_t row) {
    headrace_scaling scaling;
    begin(codec, all, row);
    const int begun = headrace_begin_image(&scaling, scratch, all, row);
    if (begun < 0) refuse((failure *)codec->err, "memory is missing");
    if (begun > 0 && all->scaled->turns[row])
        read_part(codec, scratch, &scaling, all->scaled->turns[row]);
    else if (begun > 0)
        read_rows(codec, scratch, &scaling);
    headrace_end_scaling(&scaling);
}

void headrace_decode_libjpeg(const headrace_encoded *all, headrace_scratch *scratch, int64_t row) {
    struct jpeg_decompress_struct codec;
    struct jpeg_progress_mgr progress = {.progress_monitor = check_scans};
    failure to = {.message = all->messages + row * HEADRACE_MESSAGE};
    memset(&codec, 0, sizeof codec);
    codec.err = jpeg_std_error(&to.base);
    to.base.error_exit = fail;
    to.base.emit_message = warn;
    to.base.output_message = say_nothing;
    to.message[0] = 0;
    if (!setjmp(to.escape)) {
        jpeg_create_decompress(&codec);
        codec.progress = &progress;
        decode(&codec, all, scratch, row);
    }
    jpeg_destroy_decompress(&codec);
}

#endif
