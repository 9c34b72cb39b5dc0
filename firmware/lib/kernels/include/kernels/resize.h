/* int8 bilinear resizing of images, in integers only. */
#ifndef KERNELS_RESIZE_H
#define KERNELS_RESIZE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Output pixel i of a direction lies at i * step + start of the input, in 1/1024 pixels. */
typedef struct {
  int32_t input;  /* pixels */
  int32_t output; /* pixels */
  int32_t step;
  int32_t start; /* -512 to 2^30; what lies before the first pixel or behind the last one takes their values */
} kernels_resize_direction;

typedef struct {
  int32_t batches;
  int32_t channels;
  kernels_resize_direction vertical;
  kernels_resize_direction horizontal;
} kernels_resize_bilinear_params;

/* input, output: NHWC. No output pixel lies a whole pixel or more behind the input's last one. They must not
 * overlap. */
void kernels_resize_bilinear_s8(const kernels_resize_bilinear_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
