#include "headrace.h"

/* `left` has numbers whose chance is below 1 from its front on, and others from its back on. */
void headrace_alias(double *chances, int64_t count, int64_t *left, int64_t *others) {
    int64_t low = 0, high = count;
    for (int64_t i = 0; i < count; i++) {
        others[i] = i;
        if (chances[i] < 1) left[low++] = i;
    }
    for (int64_t i = count - 1; i >= 0; i--) {
        if (chances[i] >= 1) left[--high] = i;
    }
    while (low > 0 && high < count) {
        const int64_t small = left[--low], large = left[high];
        others[small] = large;
        chances[large] -= 1 - chances[small];
        if (chances[large] < 1) {
            high++;
            left[low++] = large;
        }
    }
    while (low > 0) chances[left[--low]] = 1; /* what rounding has left over */
}
