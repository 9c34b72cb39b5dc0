/* What happens to an int32 accumulator of a convolution or dense layer before it becomes an int8 output. */
#ifndef KERNELS_OUTPUT_STAGE_H
#define KERNELS_OUTPUT_STAGE_H

#include <stdint.h>

#include "kernels/fixed_point.h"
#include "kernels/flash.h"
#include "kernels/int.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Arrays have one entry an output channel. With channel_step 0, multiplier and shift have a single entry that serves
 * all channels. */
typedef struct {
  const KERNELS_FLASH int32_t *bias;
  const KERNELS_FLASH int32_t *multiplier; /* in [0, 2^31) */
  const KERNELS_FLASH int8_t *shift;       /* -31 to 30; negative is to the right */
  kernels_int channel_step;                /* 1: per channel, 0: per tensor */
  kernels_int zero_point;                  /* of the output */
  kernels_int minimum;                     /* of the fused activation, within -128..127 */
  kernels_int maximum;
} kernels_output_stage;

#if defined(__AVR__)

/* A function there, see src/avr/fixed_point_avr.c; what it does stands below. */
int8_t kernels_output(const kernels_output_stage *stage, kernels_int channel, int32_t sum);

#else

/* The int8 output for accumulator `sum` of channel `channel`. */
static inline int8_t kernels_output(const kernels_output_stage *stage, kernels_int channel, int32_t sum) {
  const kernels_int i = channel * stage->channel_step;
  const int32_t x = fixed_multiply(fixed_add(sum, stage->bias[channel]), stage->multiplier[i], stage->shift[i]);
  return (int8_t)fixed_clamp(fixed_add(x, stage->zero_point), stage->minimum, stage->maximum);
}

#endif

#ifdef __cplusplus
}
#endif

#endif
