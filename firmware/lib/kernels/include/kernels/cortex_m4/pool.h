/* int8 pooling and means with the Cortex-M4's DSP extension. */
#ifndef KERNELS_CORTEX_M4_POOL_H
#define KERNELS_CORTEX_M4_POOL_H

#include <stdint.h>

#include "kernels/mean.h"
#include "kernels/pool.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#ifdef __cplusplus
extern "C" {
#endif

/* As kernels_average_pool_s8 and kernels_max_pool_s8 for at least four channels, eight and four at a time and the last
 * in that order within a pixel; windows of the average hold at most 255 elements. Any alignment. */
void kernels_m4_average_pool_s8(const kernels_pool_params *params, const int8_t *input, int8_t *output);
void kernels_m4_max_pool_s8(const kernels_pool_params *params, const int8_t *input, int8_t *output);

/* As kernels_mean_s8 over one group of axes: reduced[1] is 1. At least four channels. Any alignment. */
void kernels_m4_mean_s8(const kernels_mean_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif

#endif
