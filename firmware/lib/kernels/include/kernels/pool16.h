/* int16 average and maximum pooling, and means. */
#ifndef KERNELS_POOL16_H
#define KERNELS_POOL16_H

#include <stdint.h>

#include "kernels/mean.h"
#include "kernels/pool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As kernels_average_pool_s8, kernels_max_pool_s8 and kernels_mean_s8, with the range of int16 for minimum and maximum;
 * zero points are 0 and fewer than 2^16 elements make an output. Input and output must not overlap. */
void kernels_average_pool_s16(const kernels_pool_params *params, const int16_t *input, int16_t *output);
void kernels_max_pool_s16(const kernels_pool_params *params, const int16_t *input, int16_t *output);
void kernels_mean_s16(const kernels_mean_params *params, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif
