#include "scaling.h"

#include <math.h>
#include <string.h>

/* How much a pixel counts at a distance from the centre: by a triangle, or by the curve of Keys, "Cubic convolution
 * interpolation for digital image processing", 1981, with a = -0.5. */
static inline double height_at(double distance, int cubic) {
    const double x = fabs(distance), a = -0.5;
    if (!cubic) return x < 1 ? 1 - x : 0;
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/* Where the pixels of an axis come from: `extent` ones of the source, counted from `origin` on. */
typedef struct {
    int64_t origin, extent;
    double start, scale;
} stretch;

static double centre_of(const stretch *from, int64_t pixel) {
    return from->start + ((double)pixel + 0.5) * from->scale;
}

/* Memory for the weights, of `most` taps a pixel, and the part of the source that they are those of. */
static int begin_weights(headrace_axis *axis, headrace_scratch *scratch, int slot, int64_t most) {
    const int64_t last = axis->count - 1;
    axis->source = axis->first[0];
    axis->source_end = axis->first[last] + axis->taps[last];
    axis->stride = (most + HEADRACE_GROUP - 1) / HEADRACE_GROUP * HEADRACE_GROUP;
    const size_t bytes = (size_t)(axis->count * axis->stride) * sizeof *axis->weights;
    axis->weights = headrace_memory(scratch, slot, bytes);
    if (axis->weights) memset(axis->weights, 0, bytes);
    return axis->weights != NULL;
}

/* The weights of `count` pixels from `first` on in that at `centre`, where `shrink` is what a step counts. */
static void weigh(int64_t first, int64_t count, double centre, double shrink, int cubic, int32_t *weights) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += height_at(((double)(first + i) - centre + 0.5) * shrink, cubic);
    for (int64_t i = 0; i < count; i++) {
        const double part = height_at(((double)(first + i) - centre + 0.5) * shrink, cubic) / sum;
        const double fixed = part * (1 << HEADRACE_WEIGHT_BITS);
        weights[i] = (int32_t)(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
}

/* Of each pixel those around its centre, which count by a curve. */
static int filter(headrace_axis *axis, headrace_scratch *scratch, int slot, const stretch *from, int cubic,
                  int antialias) {
    const double spread = antialias && from->scale > 1 ? from->scale : 1, reach = cubic ? 2 * spread : spread;
    int64_t most = 0;
    for (int64_t i = 0; i < axis->count; i++) {
        const double centre = centre_of(from, axis->begin + i);
        const int64_t first = headrace_larger((int64_t)(centre - reach + 0.5), 0);
        axis->first[i] = from->origin + first;
        axis->taps[i] = headrace_smaller((int64_t)(centre + reach + 0.5), from->extent) - first;
        most = headrace_larger(most, axis->taps[i]);
    }
    if (!begin_weights(axis, scratch, slot, most)) return 0;
    for (int64_t i = 0; i < axis->count; i++)
        weigh(axis->first[i] - from->origin, axis->taps[i], centre_of(from, axis->begin + i), 1 / spread, cubic,
              axis->weights + i * axis->stride);
    return 1;
}

/* Of each pixel the one that its centre lies in. Centres are sums, as Pillow's: what is rounded decides between two. */
static int pick(headrace_axis *axis, headrace_scratch *scratch, int slot, const stretch *from) {
    double centre = from->start + 0.5 * from->scale;
    for (int64_t i = 0; i < axis->begin; i++) centre += from->scale;
    for (int64_t i = 0; i < axis->count; i++, centre += from->scale) {
        axis->first[i] = from->origin + headrace_smaller((int64_t)centre, from->extent - 1);
        axis->taps[i] = 1;
    }
    if (!begin_weights(axis, scratch, slot, 1)) return 0;
    for (int64_t i = 0; i < axis->count; i++) axis->weights[i * axis->stride] = 1 << HEADRACE_WEIGHT_BITS;
    return 1;
}

int headrace_begin_axis(headrace_axis *axis, headrace_scratch *scratch, int slot, double low, double high, int32_t size,
                        const headrace_scaled *by) {
    const int64_t origin = (int64_t)floor(low);
    const stretch from = {origin, (int64_t)ceil(high) - origin, low - (double)origin, (high - low) / size};
    const size_t count = (size_t)axis->count;
    axis->first = headrace_memory(scratch, slot, count * sizeof *axis->first);
    axis->taps = headrace_memory(scratch, slot + 1, count * sizeof *axis->taps);
    if (!axis->first || !axis->taps) return 0;
    if (by->interpolation == HEADRACE_NEAREST) return pick(axis, scratch, slot + 2, &from);
    return filter(axis, scratch, slot + 2, &from, by->interpolation == HEADRACE_BICUBIC, by->antialias);
}
