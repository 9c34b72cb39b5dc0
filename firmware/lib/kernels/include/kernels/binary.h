/* int8 functions of two tensors, element by element, with broadcasting: product, squared difference, maximum,
 * minimum, PReLU. */
#ifndef KERNELS_BINARY_H
#define KERNELS_BINARY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t shape[4];     /* of the output, outermost first; absent dimensions are 1 */
  int32_t a_strides[4]; /* elements from one index of a dimension to the next; 0 where the input is repeated */
  int32_t b_strides[4];
} kernels_broadcast;

/* In all of these the output may be the same memory as an input that is not repeated, or start before an input as long
 * as no element is overwritten before it was read for the last time; outputs are made in order. Otherwise they must not
 * overlap. */

typedef struct {
  kernels_broadcast broadcast;
  int32_t a_offset; /* minus the zero points */
  int32_t b_offset;
  int32_t multiplier; /* of the product, in [0, 2^31) */
  int32_t shift;      /* -31 to 30 */
  int32_t zero_point; /* of the output */
  int32_t minimum;    /* of the fused activation, within -128..127 */
  int32_t maximum;
} kernels_mul_params;

void kernels_mul_s8(const kernels_mul_params *params, const int8_t *a, const int8_t *b, int8_t *output);

typedef struct {
  kernels_broadcast broadcast;
  int32_t a_offset;     /* minus the zero point */
  int32_t a_multiplier; /* to a common scale */
  int32_t a_shift;      /* -31 to 0 */
  int32_t b_offset;
  int32_t b_multiplier;
  int32_t b_shift;
  int32_t multiplier; /* of the square, in [0, 2^31) */
  int32_t shift;      /* -31 to 30 */
  int32_t zero_point; /* of the output */
} kernels_squared_difference_params;

/* (a - b)^2, with (x + offset) * 2^7 rescaled for a and b. */
void kernels_squared_difference_s8(const kernels_squared_difference_params *params, const int8_t *a, const int8_t *b,
                                   int8_t *output);

/* The larger and the smaller of two bytes. */
void kernels_maximum_s8(const kernels_broadcast *params, const int8_t *a, const int8_t *b, int8_t *output);
void kernels_minimum_s8(const kernels_broadcast *params, const int8_t *a, const int8_t *b, int8_t *output);

typedef struct {
  kernels_broadcast broadcast; /* a is the input, b the slope */
  int32_t offset;              /* minus the input's zero point */
  int32_t slope_offset;        /* minus the slope's zero point */
  int32_t multiplier;          /* of what is not negative, in [0, 2^31) */
  int32_t shift;               /* -31 to 30 */
  int32_t slope_multiplier;    /* of a negative input times its slope */
  int32_t slope_shift;
  int32_t zero_point; /* of the output */
} kernels_prelu_params;

void kernels_prelu_s8(const kernels_prelu_params *params, const int8_t *input, const int8_t *slope, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
