/* int8 average and maximum pooling. */
#ifndef KERNELS_POOL_H
#define KERNELS_POOL_H

#include <stdint.h>

#include "kernels/int.h"
#include "kernels/window.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  kernels_window window; /* dilations are 1; every window holds at least one element of the input */
  kernels_int channels;
  kernels_int minimum; /* of the fused activation, within -128..127 */
  kernels_int maximum;
} kernels_pool_params;

/* input: NHWC [batches][input_height][input_width][channels]; output: NHWC. They must not overlap, unless
 * the output starts so far before the input that nothing is overwritten before it was read: pixel by pixel in order,
 * channel by channel. The average counts
 * only elements of the input and is rounded to nearest, ties away from zero. A window holds fewer than 2^23 elements.
 */
void kernels_average_pool_s8(const kernels_pool_params *params, const int8_t *input, int8_t *output);
void kernels_max_pool_s8(const kernels_pool_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
