#include "headrace.h"

int headrace_abi(void) { return HEADRACE_ABI; }
