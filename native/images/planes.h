/* Windows of interleaved colours that become planes of floats. */
#ifndef HEADRACE_PLANES_H
#define HEADRACE_PLANES_H

#include "grid.h"

/* How values are computed instead of looked up: (v / d - m) / s. One over d and over s are a float, and the rest of it. */
typedef struct {
    float over_d, rest_d, m[3], over_s[3], rest_s[3], fill[3];
} formula;

/* Make one image of floats in three planes from one of three interleaved colours. */
typedef void (*make_planes)(const task *job, const formula *by, const uint8_t *image, const uint8_t *ahead,
                            const place *at, const spans *of, float *out);

/* The quickest way to compute such images here; null if there is none that gives the table to the last bit. */
make_planes headrace_planes(const task *job, const float *terms, formula *by);

#endif
