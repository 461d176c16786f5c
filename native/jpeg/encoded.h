/* What the decoders of JPEG share: the images of a batch, and the part of one that is decoded. */
#ifndef HEADRACE_ENCODED_H
#define HEADRACE_ENCODED_H

#include "images.h"

/* Slots of a thread's memory, behind those of scaling. */
enum { HEADRACE_PIXELS = 11, HEADRACE_CODES, HEADRACE_BYTES, HEADRACE_PLANES };

/* The arguments of headrace_decode. */
typedef struct {
    const headrace_jpegs *jpegs;
    const headrace_scaled *scaled;
    const headrace_pixels *finish;
    char *messages;
} headrace_encoded;

/* A part of a decoded image, as stored. */
typedef struct {
    int64_t top, left, height, width;
} headrace_part;

/* Begin to scale an image; returns as headrace_begin_scaling. */
int headrace_begin_image(headrace_scaling *scaling, headrace_scratch *scratch, const headrace_encoded *all,
                         int64_t row);

/* The part of an image, stored in that height and width, which becomes the rows and columns that the scaling needs once
 * the image is turned. */
headrace_part headrace_stored_part(const headrace_scaling *scaling, int32_t turn, int64_t height, int64_t width);

/* Turn the part, whose rows of pixels are row_bytes apart, and scale it. Behind its last row is slack. Returns 0 where
 * memory is missing. */
int headrace_scale_part(headrace_scaling *scaling, headrace_scratch *scratch, int32_t turn, const headrace_part *part,
                        const uint8_t *pixels, int64_t row_bytes);

/* Whether a marker that ends the image is among the bytes. Without it the file is cut off, perhaps behind what is
 * decoded. */
int headrace_has_end(const uint8_t *bytes, size_t count);

#endif
