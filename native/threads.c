#include "images.h"

#include <stdlib.h>

void *headrace_memory(headrace_scratch *scratch, int slot, size_t bytes) {
    if (bytes > SIZE_MAX - HEADRACE_SLACK) return NULL;
    bytes += HEADRACE_SLACK;
    if (scratch->sizes[slot] < bytes) {
        free(scratch->blocks[slot]);
        scratch->blocks[slot] = malloc(bytes);
        scratch->sizes[slot] = scratch->blocks[slot] ? bytes : 0;
    }
    return scratch->blocks[slot];
}

static void free_scratch(headrace_scratch *scratch) {
    for (int slot = 0; slot < HEADRACE_SLOTS; slot++) free(scratch->blocks[slot]);
}

#if defined(_WIN32)

void headrace_each(int64_t count, int32_t threads, void (*work)(void *, headrace_scratch *, int64_t), void *context) {
    headrace_scratch scratch = {{NULL}, {0}};
    (void)threads;
    for (int64_t row = 0; row < count; row++) work(context, &scratch, row);
    free_scratch(&scratch);
}

#else

#include <pthread.h>
#include <stdatomic.h>

enum { MOST_THREADS = 256 };

typedef struct {
    int64_t count;
    void (*work)(void *, headrace_scratch *, int64_t);
    void *context;
    atomic_int_fast64_t next;
} rows;

static void *take_rows(void *shared) {
    rows *all = shared;
    headrace_scratch scratch = {{NULL}, {0}};
    for (;;) {
        const int64_t row = atomic_fetch_add(&all->next, 1);
        if (row >= all->count) break;
        all->work(all->context, &scratch, row);
    }
    free_scratch(&scratch);
    return NULL;
}

void headrace_each(int64_t count, int32_t threads, void (*work)(void *, headrace_scratch *, int64_t), void *context) {
    rows all = {.count = count, .work = work, .context = context};
    pthread_t helpers[MOST_THREADS];
    atomic_init(&all.next, 0);
    int32_t started = 0;
    while (started < threads - 1 && started < count - 1 && started < MOST_THREADS) {
        if (pthread_create(&helpers[started], NULL, take_rows, &all)) break; /* those that there are will do */
        started++;
    }
    take_rows(&all);
    for (int32_t i = 0; i < started; i++) pthread_join(helpers[i], NULL);
}

#endif
