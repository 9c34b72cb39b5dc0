/* int8 two-dimensional convolution, grouped or not. */
#ifndef KERNELS_CONV_H
#define KERNELS_CONV_H

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
  kernels_int output_channels;
  kernels_int groups;                  /* divides both numbers of channels; 1: an ordinary convolution */
  kernels_int input_zero_point;        /* what padding reads */
  const KERNELS_FLASH int8_t *weights; /* OHWI: [output_channels][height][width][input_channels / groups] */
  kernels_output_stage stage;
} kernels_conv_params;

/* The bias holds -(input zero point) * (sum of the channel's weights) besides the layer's own.
 * input: NHWC [batches][input_height][input_width][input_channels]; output: NHWC; scratch: two windows, that is
 * 2 * height * width * input_channels / groups bytes. A window holds fewer than 2^17 elements. Any alignment.
 * None may overlap another, except that without groups the output may start so far before the input that nothing is
 * overwritten before it was read: two output pixels at a time, in order. */
void kernels_conv_s8(const kernels_conv_params *params, const int8_t *input, int8_t *scratch, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
