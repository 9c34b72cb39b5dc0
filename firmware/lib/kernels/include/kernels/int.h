/* The integer for sizes, indices and the arithmetic of 8-bit values. */
#ifndef KERNELS_INT_H
#define KERNELS_INT_H

#include <stdint.h>

/* On AVR, where no tensor has 32 KB and arithmetic of 32 bits takes four instructions for one of 8, it has 16 bits:
 * products of two int8, also with a zero point taken off one of them, fit; sums do not. */
#if defined(__AVR__)
typedef int16_t kernels_int;
#else
typedef int32_t kernels_int;
#endif

#endif
