/* Bringing near what will be read soon. */
#ifndef HEADRACE_PREFETCH_H
#define HEADRACE_PREFETCH_H

#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch(address)
/* gcc takes a function that does nothing else for one without effect, and leaves out calls of it. */
#define INLINED static inline __attribute__((always_inline))
#else
#define PREFETCH(address) ((void)(address))
#define INLINED static inline
#endif

#endif
