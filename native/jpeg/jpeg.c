#include "baseline.h"
#include "libjpeg.h"

static void decode_row(void *context, headrace_scratch *scratch, int64_t row) {
    const headrace_encoded *all = context;
    all->messages[row * HEADRACE_MESSAGE] = 0;
    if (!headrace_decode_baseline(all, scratch, row)) headrace_decode_libjpeg(all, scratch, row);
}

void headrace_decode(const headrace_jpegs *jpegs, const headrace_scaled *scaled, const headrace_pixels *pixels,
                     int32_t threads, char *messages) {
    headrace_encoded all = {jpegs, scaled, pixels, messages};
    headrace_each(jpegs->count, threads, decode_row, &all);
}
