/* Geometry of a sliding window over an NHWC image: convolutions and pooling. */
#ifndef KERNELS_WINDOW_H
#define KERNELS_WINDOW_H

#include <stdint.h>

/* Output (y, x) reads input rows y * stride_height - pad_top + i * dilation_height for i in 0..height), columns alike.
 * What lies outside of the input counts as zero (convolutions) or is left out (pooling). */
typedef struct {
  int32_t batches;
  int32_t input_height;
  int32_t input_width;
  int32_t output_height;
  int32_t output_width;
  int32_t height;
  int32_t width;
  int32_t stride_height;
  int32_t stride_width;
  int32_t dilation_height;
  int32_t dilation_width;
  int32_t pad_top;
  int32_t pad_left;
} kernels_window;

#endif
