#include "images.h"

#include <stdlib.h>

void *headrace_memory(headrace_scratch *scratch, int slot, size_t bytes) {
    if (bytes > SIZE_MAX - HEADRACE_SLACK - HEADRACE_ALIGNMENT) return NULL;
    bytes += HEADRACE_SLACK + HEADRACE_ALIGNMENT;
    if (scratch->sizes[slot] < bytes) {
        free(scratch->blocks[slot]);
        scratch->blocks[slot] = calloc(1, bytes);
        scratch->sizes[slot] = scratch->blocks[slot] ? bytes : 0;
    }
    char *block = scratch->blocks[slot];
    return block ? block + (HEADRACE_ALIGNMENT - (uintptr_t)block % HEADRACE_ALIGNMENT) : NULL;
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
#include <time.h>

enum { MOST_THREADS = 256, WORTH = 500000 /* nanoseconds of work left, for which a thread more is worth what it costs */ };

/* How many threads of this process are at work on rows, those of all calls together. */
static atomic_int working;

/* None of them but the one that forks is in the process that it makes. */
static void forget(void) { atomic_store(&working, 0); }

static void watch_forks(void) { pthread_atfork(NULL, NULL, forget); }

/* A call: its rows, of which each thread takes the next, and the threads that help it. */
typedef struct {
    int64_t count;
    int32_t threads;
    void (*work)(void *, headrace_scratch *, int64_t);
    void *context;
    atomic_int_fast64_t next;
    pthread_t helpers[MOST_THREADS];
    int started;
} call;

static int take_row(call *of, headrace_scratch *scratch) {
    const int64_t row = atomic_fetch_add(&of->next, 1);
    if (row < of->count) of->work(of->context, scratch, row);
    return row < of->count;
}

/* Take rows, for as long as there are no more threads at work than may be: other calls begin meanwhile. */
static void *help(void *shared) {
    call *of = shared;
    headrace_scratch scratch = {{NULL}, {0}};
    while (atomic_load(&working) <= of->threads && take_row(of, &scratch)) continue;
    atomic_fetch_sub(&working, 1);
    free_scratch(&scratch);
    return NULL;
}

/* Whether one more thread may be at work, and finds a row that the calling one does not take. */
static int can_be_helped(call *of) {
    const int64_t left = of->count - atomic_load(&of->next);
    return left > 1 && of->started < of->count - 1 && of->started < MOST_THREADS && atomic_load(&working) < of->threads;
}

/* Start threads that help, while more may be at work: other calls end meanwhile. */
static void start_helpers(call *of) {
    while (can_be_helped(of)) {
        atomic_fetch_add(&working, 1);
        if (pthread_create(&of->helpers[of->started], NULL, help, of)) { /* those that there are will do */
            atomic_fetch_sub(&working, 1);
            return;
        }
        of->started++;
    }
}

static int64_t nanoseconds(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Whether much is left, if the rows to come take as long as those taken since the call began. */
static int takes_long(call *of, int64_t began) {
    const int64_t taken = atomic_load(&of->next), left = of->count - taken;
    return left > 0 && (nanoseconds() - began) / taken * left > WORTH;
}

void headrace_each(int64_t count, int32_t threads, void (*work)(void *, headrace_scratch *, int64_t), void *context) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    headrace_scratch scratch = {{NULL}, {0}};
    call of = {.count = count, .threads = threads, .work = work, .context = context};
    pthread_once(&once, watch_forks);
    atomic_init(&of.next, 0);
    atomic_fetch_add(&working, 1);
    start_helpers(&of);
    const int64_t began = nanoseconds();
    while (take_row(&of, &scratch))
        if (takes_long(&of, began)) start_helpers(&of);
    atomic_fetch_sub(&working, 1);
    for (int i = 0; i < of.started; i++) pthread_join(of.helpers[i], NULL);
    free_scratch(&scratch);
}

#endif
