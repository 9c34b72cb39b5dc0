/* Dense layers and convolutions with int4 weights on the Cortex-M4's DSP extension. */
#ifndef KERNELS_CORTEX_M4_INT4_H
#define KERNELS_CORTEX_M4_INT4_H

#include "kernels/coded.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The stream is that of kernels/coded.h for positions "all" and signed values of 4 bits.
 *
 * Eight weights are a word. Its even nibbles, shifted into the upper halves of their bytes, are 16 times the weights,
 * and so are its odd nibbles where they lie: two AND, and SXTB16 makes pairs of halfwords of them, of inputs (0, 4),
 * (2, 6), (1, 5) and (3, 7). Inputs are copied as the same pairs, so that SMLAD multiplies them; a sum is 16 times the
 * layer's, and fits 32 bits as the depth is below 2^17. What the word of an incomplete group has below its weights is
 * masked.
 *
 * Scratch, word-aligned: pixels * 16 * groups + depth bytes rounded up to a word, with groups = (depth + 7) / 8 and
 * pixels = 1 for kernels_m4_int4_row_s8, which takes one row, and 4 for the others. A row, or four rows or windows, are
 * copied before the first byte of their output is written. */
void kernels_m4_int4_row_s8(const kernels_coded_matmul_params *params, const int8_t *input, int8_t *scratch,
                            int8_t *output);
void kernels_m4_int4_matmul_s8(const kernels_coded_matmul_params *params, const int8_t *input, int8_t *scratch,
                               int8_t *output);
void kernels_m4_int4_conv_s8(const kernels_coded_conv_params *params, const int8_t *input, int8_t *scratch,
                             int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
