/* Transposed two-dimensional convolution of int8 or int16, with int8 weights. */
#ifndef KERNELS_TRANSPOSE_CONV_H
#define KERNELS_TRANSPOSE_CONV_H

#include <stdint.h>

#include "kernels/conv16.h"
#include "kernels/flash.h"
#include "kernels/output_stage.h"
#include "kernels/window.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The window is that of the convolution which this one transposes: input (y, x) adds to output rows
 * y * stride_height - pad_top + i for i in 0..height), columns alike; what lies outside of the output is left out.
 * Dilations are 1. */
typedef struct {
  kernels_window window;
  int32_t input_channels;
  int32_t output_channels;
  int32_t input_zero_point;            /* taken from every input before it is multiplied */
  const KERNELS_FLASH int8_t *weights; /* [output_channels][height][width][input_channels] */
  kernels_output_stage stage;
} kernels_transpose_conv_params;

/* input: NHWC [batches][input_height][input_width][input_channels]; output: NHWC. They must not overlap. Fewer than
 * 2^17 products make an output. Any alignment. */
void kernels_transpose_conv_s8(const kernels_transpose_conv_params *params, const int8_t *input, int8_t *output);

typedef struct {
  kernels_window window; /* as above */
  int32_t input_channels;
  int32_t output_channels;
  const KERNELS_FLASH int8_t *weights; /* [output_channels][height][width][input_channels] */
  kernels_output_stage_s16 stage;
} kernels_transpose_conv_s16_params;

/* The same of int16, with zero points of 0. */
void kernels_transpose_conv_s16(const kernels_transpose_conv_s16_params *params, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif
