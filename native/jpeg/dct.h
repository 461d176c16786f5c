/* The factors of the transforms, which dct.c says more of. */
#ifndef HEADRACE_DCT_H
#define HEADRACE_DCT_H

#include "baseline.h"

/* Factors have 13 bits behind the point; what the columns become keeps 2 of them. */
enum { FACTOR_BITS = 13, KEPT_BITS = 2, SIDE = 8 };

/* Above this the ways in which libjpeg-turbo transforms a block of but one row differ. No image has so large ones. */
enum { MOST_IN_ROW = 1 << 13 };

/* Sums of c(k) * sqrt(2) * cos(k * pi / 16), named by their values. */
enum {
    F_0_298 = 2446, F_0_390 = 3196, F_0_541 = 4433, F_0_765 = 6270, F_0_899 = 7373, F_1_175 = 9633, F_1_501 = 12299,
    F_1_847 = 15137, F_1_961 = 16069, F_2_053 = 16819, F_2_562 = 20995, F_3_072 = 25172
};

/* Those of the transforms to four and two samples. */
enum {
    F_0_211 = 1730, F_0_509 = 4176, F_0_601 = 4926, F_0_720 = 5906, F_0_850 = 6967, F_1_061 = 8697, F_1_272 = 10426,
    F_1_451 = 11893, F_2_172 = 17799, F_3_624 = 29692
};

#ifdef HAS_AVX2
/* headrace_transform where there is AVX2. */
int headrace_transform_avx2(const headrace_block blocks[2], int size);
#endif

#endif
