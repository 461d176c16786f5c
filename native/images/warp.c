/* Images that are turned, sheared, seen in perspective or bent: each pixel is taken from a place of its own. */
#include "images.h"

#include <math.h>
#include <string.h>

typedef struct {
    const headrace_source *from;
    const headrace_warped *to;
} images;

/* One image, and where its pixels go. Strides are in bytes. */
typedef struct {
    const uint8_t *in;
    uint8_t *out;
    const uint8_t *fill;
    int64_t height, width, channels, y_stride, x_stride, channel_stride, out_channel_stride;
} view;

/* Writes the pixel at a place of the image, whose middles of pixels lie half a pixel behind whole numbers. */
typedef void (*take_pixel)(const view *of, double x, double y, uint8_t *out);

/* The pixel that the place lies in, as it is. */
#define NEAREST(NAME, TYPE)                                                                                   \
    static void NAME(const view *of, double x, double y, uint8_t *out) {                                      \
        const int seen = x >= 0 && x < (double)of->width && y >= 0 && y < (double)of->height;                 \
        const uint8_t *pixel = of->in;                                                                        \
        if (seen) pixel += (int64_t)y * of->y_stride + (int64_t)x * of->x_stride;                             \
        for (int64_t c = 0; c < of->channels; c++)                                                            \
            memcpy(out + c * of->out_channel_stride,                                                          \
                   seen ? pixel + c * of->channel_stride : of->fill + c * (int64_t)sizeof(TYPE), sizeof(TYPE)); \
    }

NEAREST(nearest_1, uint8_t)
NEAREST(nearest_2, uint16_t)
NEAREST(nearest_4, uint32_t)
NEAREST(nearest_8, uint64_t)

/* Weights of the four pixels around the place, of which those outside are fill. Sums run in the order of the corners. */
#define BILINEAR(NAME, TYPE, SUM, FINISH)                                                                     \
    static void NAME(const view *of, double x, double y, uint8_t *out) {                                      \
        const double left = floor(x - 0.5), upper = floor(y - 0.5);                                           \
        const int near = left >= -1 && left < (double)of->width && upper >= -1 && upper < (double)of->height; \
        const int64_t column = near ? (int64_t)left : 0, row = near ? (int64_t)upper : 0;                     \
        const double right = x - 0.5 - left, below = y - 0.5 - upper;                                         \
        const SUM weights[4] = {(SUM)((1 - below) * (1 - right)), (SUM)((1 - below) * right),                 \
                                (SUM)(below * (1 - right)), (SUM)(below * right)};                            \
        const int up = row >= 0, down = row + 1 < of->height;                                                 \
        const int before = column >= 0, behind = column + 1 < of->width;                                      \
        const int seen[4] = {up && before, up && behind, down && before, down && behind};                     \
        for (int64_t c = 0; c < of->channels; c++) {                                                          \
            const uint8_t *corner = of->in + row * of->y_stride + column * of->x_stride + c * of->channel_stride; \
            const int64_t steps[4] = {0, of->x_stride, of->y_stride, of->y_stride + of->x_stride};            \
            TYPE value, fill;                                                                                 \
            memcpy(&fill, of->fill + c * (int64_t)sizeof fill, sizeof fill);                                  \
            if (near) {                                                                                       \
                SUM total = 0;                                                                                \
                for (int i = 0; i < 4; i++) {                                                                 \
                    value = fill;                                                                             \
                    if (seen[i]) memcpy(&value, corner + steps[i], sizeof value);                             \
                    total += (SUM)value * weights[i];                                                         \
                }                                                                                             \
                fill = (TYPE)FINISH(total);                                                                   \
            }                                                                                                 \
            memcpy(out + c * of->out_channel_stride, &fill, sizeof fill);                                     \
        }                                                                                                     \
    }

#define AS_IT_IS(value) (value)

BILINEAR(bilinear_bytes, uint8_t, float, rintf)
BILINEAR(bilinear_floats, float, float, AS_IT_IS)
BILINEAR(bilinear_doubles, double, double, AS_IT_IS)

static take_pixel choose(const headrace_warped *to) {
    if (to->interpolation == HEADRACE_BILINEAR)
        return to->item_bytes == 1 ? bilinear_bytes : to->item_bytes == 4 ? bilinear_floats : bilinear_doubles;
    return to->item_bytes == 1   ? nearest_1
           : to->item_bytes == 2 ? nearest_2
           : to->item_bytes == 4 ? nearest_4
                                 : nearest_8;
}

static void warp_image(void *context, headrace_scratch *scratch, int64_t row) {
    (void)scratch;
    const images *all = context;
    const headrace_warped *to = all->to;
    const int64_t *in = all->from->grid, *shape = to->grid;
    const view of = {all->from->data + all->from->indices[row] * all->from->image_stride,
                     (uint8_t *)to->out + row * to->image_stride,
                     to->fill,
                     in[0],
                     in[1],
                     in[2],
                     in[3],
                     in[4],
                     in[5],
                     shape[5]};
    const double *map = to->maps + 8 * row;
    const double *shift = to->shifts ? to->shifts + 2 * row * shape[0] * shape[1] : NULL;
    const int straight = map[6] == 0 && map[7] == 0;
    const take_pixel take = choose(to);
    for (int64_t y = 0; y < shape[0]; y++) {
        const double down = (double)y + 0.5;
        for (int64_t x = 0; x < shape[1]; x++) {
            const double along = (double)x + 0.5;
            double column = map[0] * along + map[1] * down + map[2], line = map[3] * along + map[4] * down + map[5];
            if (!straight) {
                const double depth = map[6] * along + map[7] * down + 1;
                column /= depth, line /= depth;
            }
            if (shift) column += *shift++, line += *shift++;
            take(&of, column, line, of.out + y * shape[3] + x * shape[4]);
        }
    }
}

void headrace_warp(const headrace_source *source, const headrace_warped *warped, int32_t threads) {
    images all = {source, warped};
    headrace_each(source->count, threads, warp_image, &all);
}
