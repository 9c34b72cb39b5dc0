/* Convolutions and dense layers of int16 activations and int8 weights ("int16x8"). */
#ifndef KERNELS_CONV16_H
#define KERNELS_CONV16_H

#include <stdint.h>

#include "kernels/fixed_point.h"
#include "kernels/flash.h"
#include "kernels/window.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Arrays have one entry an output channel. With channel_step 0, multiplier and shift have a single entry that serves
 * all channels. All zero points are 0. */
typedef struct {
  const KERNELS_FLASH int64_t *bias;
  /* wide: the multiplier's upper 16 bits, 0 to 32,767, and shift -31 to 7: (x * multiplier) / 2^(15 - shift), rounded
   * once, ties up; otherwise multiplier in [0, 2^31) and shift -31 to 30, rounded twice. */
  const KERNELS_FLASH int32_t *multiplier;
  const KERNELS_FLASH int8_t *shift;
  int32_t channel_step; /* 1: per channel, 0: per tensor */
  int32_t wide;         /* 1: sums of 64 bits, 0: of 32 bits, which wrap */
  int32_t minimum;      /* of the fused activation, within -32,768..32,767 */
  int32_t maximum;
} kernels_output_stage_s16;

/* The int16 output for the sum `sum` of channel `channel`. */
static inline int16_t kernels_output_s16(const kernels_output_stage_s16 *stage, int32_t channel, int64_t sum) {
  const int32_t i = channel * stage->channel_step;
  const int32_t multiplier = stage->multiplier[i];
  const int shift = stage->shift[i];
  int32_t x;
  sum += stage->bias[channel];
  if (stage->wide) {
    x = (int32_t)((sum * multiplier + ((int64_t)1 << (14 - shift))) >> (15 - shift));
  } else {
    x = fixed_multiply((int32_t)(uint32_t)(uint64_t)sum, multiplier, shift);
  }
  return (int16_t)fixed_clamp(x, stage->minimum, stage->maximum);
}

typedef struct {
  kernels_window window;
  int32_t input_channels;
  int32_t output_channels;
  int32_t groups; /* divides both numbers of channels; as many as input channels: a depthwise convolution */
  const KERNELS_FLASH int8_t *weights; /* OHWI: [output_channels][height][width][input_channels / groups] */
  kernels_output_stage_s16 stage;
} kernels_conv_s16_params;

/* input: NHWC [batches][input_height][input_width][input_channels]; output: NHWC. They must not overlap; both aligned
 * to 2 bytes. A dense layer is a window of one pixel over an image of one pixel, with a batch for each row. Sums with
 * their bias are below 2^47 in magnitude. */
void kernels_conv_s16(const kernels_conv_s16_params *params, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif
