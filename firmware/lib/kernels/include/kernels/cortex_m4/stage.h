/* Output stage of the Cortex-M4 kernels: what a channel's accumulator needs to become an int8 output. */
#ifndef KERNELS_CORTEX_M4_STAGE_H
#define KERNELS_CORTEX_M4_STAGE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One output channel. With x = 2 * (sum + bias), |sum + bias| < 2^30, the output is
 * clamp((y + rounding + (x < 0 ? -1 : 0)) >> shift, -128, 127), y = (x * multiplier + 2^31) >> 32.
 * The term of the sign is left out (variant relu) where the output's zero point is -128. Why that is gemmlowp's double
 * rounding stands in src/cortex_m4/requantize.inc. */
typedef struct {
  int32_t bias2;      /* 2 * bias */
  int32_t multiplier; /* 0 or [2^30, 2^31) */
  int32_t rounding;   /* (1 << (shift - 1)) + (zero point << shift); zero point if shift is 0 */
  int32_t shift;      /* to the right, 0 to 22; at least 1 with the sign's term */
} kernels_m4_channel;

/* One output channel with zero point -128, by constants that were fitted to it. With x = 256 * sum + bias the output is
 * clamp((floor(x * multiplier / 2^32) + rounding) >> 10, -128, 127). */
typedef struct {
  int32_t bias;
  int32_t multiplier;
  int32_t rounding;
} kernels_m4_fitted;

#ifdef __cplusplus
}
#endif

#endif
