/* int8 depthwise convolution. */
#ifndef KERNELS_DEPTHWISE_H
#define KERNELS_DEPTHWISE_H

#include <stdint.h>

#include "kernels/output_stage.h"
#include "kernels/window.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  kernels_window window;
  int32_t input_channels;
  int32_t multiplier;       /* output channels an input channel; output channel c reads input channel c / multiplier */
  int32_t input_zero_point; /* taken from every input before it is multiplied */
  const int8_t *weights;    /* [height][width][input_channels * multiplier] */
  kernels_output_stage stage;
} kernels_depthwise_params;

/* input: NHWC [batches][input_height][input_width][input_channels]; output: NHWC with input_channels * multiplier
 * channels. Any alignment. They must not overlap, unless the output starts so far before the input that
 * nothing is overwritten before it was read: pixel by pixel in order, channel by channel. */
void kernels_depthwise_s8(const kernels_depthwise_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
