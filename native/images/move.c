#include "images.h"

/* The kinds of moves, as src/headrace/kernels/images.py has them. */
enum { WHOLE, WINDOW, PAD, CROP, MIRROR, HIDE, REPEAT };

enum { TOGETHER = 64 /* images */ };

typedef struct {
    int64_t kind;
    uint64_t key; /* of the epoch, for moves that draw */
    int64_t stream, block;
    int64_t numbers[4];
} move;

/* An image while it is moved: its place, and its height and width at this point. */
typedef struct {
    headrace_place *at;
    int64_t height, width;
} moving;

static void go_on(moving *image, int64_t down, int64_t right) {
    image->at->y += (int32_t)(image->at->down * down);
    image->at->x += (int32_t)(image->at->right * right);
}

static void set_size(moving *image, int64_t height, int64_t width) {
    image->height = height;
    image->width = width;
}

static void show_whole(moving *image) {
    const headrace_place whole = {0, 0, 1, 1, 0, (int32_t)image->height, 0, (int32_t)image->width};
    *image->at = whole;
}

/* A word times a count, divided by 2^32, is a uniform place up to a bias of count / 2^32. */
static int64_t place_of(uint32_t word, int64_t count) { return (int64_t)((uint64_t)word * (uint64_t)count >> 32); }

static void crop(moving *image, const uint32_t *words, int64_t height, int64_t width) {
    go_on(image, place_of(words[0], image->height - height + 1), place_of(words[1], image->width - width + 1));
    set_size(image, height, width);
}

static void mirror(moving *image, int64_t along_width) {
    headrace_place *at = image->at;
    if (along_width) {
        go_on(image, 0, image->width - 1);
        at->right = -at->right;
    } else {
        go_on(image, image->height - 1, 0);
        at->down = -at->down;
    }
}

static int32_t within(int64_t value, int32_t least, int32_t most) {
    return value < least ? least : value > most ? most : (int32_t)value;
}

/* Let no more be seen than the `extent` lines from `first` on. */
static void hide_others(int32_t first, int32_t step, int64_t extent, int32_t *begin, int32_t *end) {
    const int64_t last = first + step * (extent - 1), least = step > 0 ? first : last, most = step > 0 ? last : first;
    const int32_t seen_begin = *begin, seen_end = *end;
    *begin = within(least, seen_begin, seen_end);
    *end = within(most + 1, seen_begin, seen_end);
}

static void hide(moving *image) {
    headrace_place *at = image->at;
    hide_others(at->y, at->down, image->height, &at->top, &at->bottom);
    hide_others(at->x, at->right, image->width, &at->left, &at->right_end);
}

/* Go on with lines that stand for those of the image, more of which lie before it and behind. */
static void repeat(moving *image, int64_t rows, int64_t columns, int64_t height, int64_t width) {
    headrace_place *at = image->at;
    at->y += (int32_t)rows;
    at->x += (int32_t)columns;
    at->top = at->left = 0;
    at->bottom = (int32_t)height;
    at->right_end = (int32_t)width;
}

static void apply(moving *image, const move *by, const uint32_t *words) {
    const int64_t *n = by->numbers;
    switch (by->kind) {
    case WHOLE: show_whole(image); break;
    case WINDOW: go_on(image, n[0], n[1]), set_size(image, n[2], n[3]); break;
    case PAD: go_on(image, -n[0], -n[1]), set_size(image, image->height + n[2], image->width + n[3]); break;
    case CROP: crop(image, words, n[0], n[1]); break;
    case MIRROR: if (words[0] < (uint64_t)n[1]) mirror(image, n[0]); break;
    case HIDE: hide(image); break;
    default: repeat(image, n[0], n[1], n[2], n[3]);
    }
}

/* Move some images together: their draws for a move are made at once. */
static void move_some(moving *images, const uint64_t *indices, int64_t count, const move *moves, int64_t move_count) {
    uint32_t words[4 * TOGETHER] = {0};
    for (int64_t m = 0; m < move_count; m++) {
        const move *by = moves + m;
        if (by->kind == CROP || by->kind == MIRROR)
            headrace_philox(by->key, indices, count, (uint32_t)by->stream, (uint32_t)by->block, words);
        for (int64_t i = 0; i < count; i++) apply(images + i, by, words + 4 * i);
    }
}

void headrace_move(const uint64_t *indices, int64_t count, const int64_t *sizes, int64_t size_stride,
                   const int64_t *moves, int64_t move_count, int32_t *places) {
    moving images[TOGETHER];
    for (int64_t first = 0; first < count; first += TOGETHER) {
        const int64_t some = count - first < TOGETHER ? count - first : TOGETHER;
        for (int64_t i = 0; i < some; i++) {
            const int64_t *size = sizes + (first + i) * size_stride;
            const moving image = {(headrace_place *)places + first + i, size[0], size[1]};
            images[i] = image;
        }
        move_some(images, indices + first, some, (const move *)moves, move_count);
    }
}
