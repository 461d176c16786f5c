/* What the files that scale images share: see images.h for what they offer to others. */
#ifndef HEADRACE_SCALING_H
#define HEADRACE_SCALING_H

#include "images.h"

/* Weights are fixed-point numbers of so many bits behind the point: sums are exact, in whichever order. A line of
 * weights goes on with zeros to a multiple of the group. */
enum { HEADRACE_WEIGHT_BITS = 22, HEADRACE_GROUP = 2, HEADRACE_AXIS_SLOTS = 3 };

static inline int64_t headrace_smaller(int64_t one, int64_t other) { return one < other ? one : other; }
static inline int64_t headrace_larger(int64_t one, int64_t other) { return one > other ? one : other; }

/* Find out what pixels [axis->begin, axis->begin + axis->count) are made of, of the `size` that those from low to high
 * become. The slots of an axis, from `slot` on, hold it. Returns 0 where memory is missing. */
int headrace_begin_axis(headrace_axis *axis, headrace_scratch *scratch, int slot, double low, double high, int32_t size,
                        const headrace_scaled *by);

/* Prepare what the two below need, held by a slot. Returns 0 where memory is missing. */
int headrace_begin_lines(headrace_scaling *scaling, headrace_scratch *scratch, int slot);

/* Scale a row of the source along its width. The slack behind both may be read or written. */
void headrace_make_line(const headrace_scaling *scaling, const uint8_t *pixels, uint8_t *line);

/* Make a row of the scaled image of such lines. */
void headrace_make_row(const headrace_scaling *scaling, int64_t row);

#endif
