/* Parts of the kernels for AVR processors, where int has 16 bits, a product of two bytes takes one instruction, and one
 * of two int32 a call. */
#ifndef KERNELS_AVR_H
#define KERNELS_AVR_H

#if defined(__AVR__)

#include <stdint.h>

#include "kernels/flash.h"

/* The sum of x[i] * w[i] for i below count, 1 to KERNELS_AVR_DOT. */
#define KERNELS_AVR_DOT 511
int32_t kernels_avr_dot(const int8_t *x, const KERNELS_FLASH int8_t *w, uint16_t count);

/* The same for two rows: sums[0] of x0, sums[1] of x1. */
void kernels_avr_dot2(const int8_t *x0, const int8_t *x1, const KERNELS_FLASH int8_t *w, uint16_t count, int32_t *sums);

#endif

#endif
