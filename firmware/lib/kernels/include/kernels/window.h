/* Geometry of a sliding window over an NHWC image: convolutions and pooling. */
#ifndef KERNELS_WINDOW_H
#define KERNELS_WINDOW_H

#include <stdint.h>

#include "kernels/int.h"

/* Output (y, x) reads input rows y * stride_height - pad_top + i * dilation_height for i in 0..height), columns alike.
 * What lies outside of the input counts as zero (convolutions) or is left out (pooling). */
typedef struct {
  kernels_int batches;
  kernels_int input_height;
  kernels_int input_width;
  kernels_int output_height;
  kernels_int output_width;
  kernels_int height;
  kernels_int width;
  kernels_int stride_height;
  kernels_int stride_width;
  kernels_int dilation_height;
  kernels_int dilation_width;
  kernels_int pad_top;
  kernels_int pad_left;
} kernels_window;

#endif
