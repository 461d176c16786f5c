/* JPEGs that libjpeg decodes, where it was when this was built. */
#ifndef HEADRACE_LIBJPEG_H
#define HEADRACE_LIBJPEG_H

#include "encoded.h"

/* The decoder of libjpeg, for all JPEGs of known colours. What is wrong with an image is its message. */
void headrace_decode_libjpeg(const headrace_encoded *all, headrace_scratch *scratch, int64_t row);

#endif
