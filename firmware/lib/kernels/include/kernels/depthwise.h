/* int8 depthwise convolution. */
#ifndef KERNELS_DEPTHWISE_H
#define KERNELS_DEPTHWISE_H

#include <stdint.h>

#include "kernels/flash.h"
#include "kernels/int.h"
#include "kernels/output_stage.h"
#include "kernels/window.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  kernels_window window;
  kernels_int input_channels;
  kernels_int multiplier; /* output channels an input channel; output channel c reads input channel c / multiplier */
  kernels_int lines;      /* 1: works on three copied lines, see scratch */
  kernels_int input_zero_point;        /* taken from every input before it is multiplied */
  const KERNELS_FLASH int8_t *weights; /* [height][width][input_channels * multiplier] */
  kernels_output_stage stage;
} kernels_depthwise_params;

/* input: NHWC [batches][input_height][input_width][input_channels]; output: NHWC with input_channels * multiplier
 * channels. Any alignment.
 *
 * Without `lines`, scratch is not used. Input and output must not overlap, unless the output starts so far before the
 * input that nothing is overwritten before it was read: pixel by pixel in order, channel by channel.
 *
 * With `lines` the window is 3x3 without dilation, the multiplier 1, the output two pixels wide or wider and the
 * padding at most the window. scratch: 3 * ((output_width - 1) * stride_width + 3) * input_channels bytes. Rows of the
 * input are copied before the first row of the output that needs them is written, and not read again. */
void kernels_depthwise_s8(const kernels_depthwise_params *params, const int8_t *input, int8_t *scratch, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
