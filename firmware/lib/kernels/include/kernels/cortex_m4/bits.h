/* Networks of bits on processors with Arm's DSP extension: what kernels/bits.h says, with the counters in assembly. */
#ifndef KERNELS_CORTEX_M4_BITS_H
#define KERNELS_CORTEX_M4_BITS_H

#include "kernels/bits.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As kernels_bits_conv(). */
void kernels_m4_bits_conv(const kernels_bits_params *params, const uint32_t *input, const uint32_t *weights,
                          const uint32_t *limits, uint32_t *output, kernels_bits_offset *list);

/* As kernels_bits_image_conv() for windows of 3x3 of one channel with strides of 1.
 * scratch: aligned to 4 bytes, 384 halfwords for each 32 outputs and (output_height + 2) rows of
 * 2 * ((output_width + 3) / 2) more. */
void kernels_m4_bits_image_conv(const kernels_bits_image_params *params, const int8_t *input, const uint32_t *weights,
                                const uint32_t *limits, uint32_t *output, int16_t *scratch);

#ifdef __cplusplus
}
#endif

#endif
