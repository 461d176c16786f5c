/* Windows of bytes that stay as they are. */
#ifndef HEADRACE_COPIES_H
#define HEADRACE_COPIES_H

#include "grid.h"

/* How bytes that no table changes are copied; null where it does, or where they lie in another way. */
copy_run headrace_copies(const task *job);

#endif
