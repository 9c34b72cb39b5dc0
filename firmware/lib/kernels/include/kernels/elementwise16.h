/* Functions of one or two int16 tensors, element by element, and the crossings to and from int16. */
#ifndef KERNELS_ELEMENTWISE16_H
#define KERNELS_ELEMENTWISE16_H

#include <stdint.h>

#include "kernels/add.h"
#include "kernels/binary.h"
#include "kernels/elementwise.h"
#include "kernels/flash.h"

#ifdef __cplusplus
extern "C" {
#endif

/* a + b and a - b with 15 bits of headroom instead of 20, and a * b; offsets and zero points are 0. The output may be
 * the same memory as an input that is not repeated; otherwise they must not overlap. */
void kernels_add_s16(const kernels_add_params *params, const int16_t *a, const int16_t *b, int16_t *output);
void kernels_sub_s16(const kernels_add_params *params, const int16_t *a, const int16_t *b, int16_t *output);
void kernels_mul_s16(const kernels_mul_params *params, const int16_t *a, const int16_t *b, int16_t *output);

typedef struct {
  int32_t elements;
  int32_t multiplier;       /* of values from 0 on, in [0, 2^31) */
  int32_t shift;            /* -31 to 30 */
  int32_t below_multiplier; /* of those below */
  int32_t below_shift;
  int32_t below_sign; /* 1, or -1 where the product is negated */
  int32_t minimum;    /* of the output */
  int32_t maximum;
} kernels_slopes_s16_params;

/* A straight line on either side of 0; zero points are 0. The output may be the input's memory. */
void kernels_slopes_s16(const kernels_slopes_s16_params *params, const int16_t *input, int16_t *output);

typedef struct {
  int32_t elements;
  int32_t multiplier;                  /* 0 to 32,767: (x * multiplier) / 2^shift, rounded, are the table's steps */
  int32_t shift;                       /* 0 to 31 */
  const KERNELS_FLASH uint16_t *table; /* see sigmoid16.h */
} kernels_sigmoid_s16_params;

/* Zero points are 0, the output's scale is 2^-15. The output may be the input's memory. */
void kernels_logistic_s16(const kernels_sigmoid_s16_params *params, const int16_t *input, int16_t *output);
void kernels_tanh_s16(const kernels_sigmoid_s16_params *params, const int16_t *input, int16_t *output);

typedef struct {
  int32_t elements;
  int32_t input_zero_point;
  int32_t multiplier; /* in [0, 2^31) */
  int32_t shift;      /* -31 to 30 */
  int32_t zero_point; /* of the output */
} kernels_requantize_params;

/* They must not overlap, but int16 to int16 may be in place. */
void kernels_requantize_s8_s16(const kernels_requantize_params *params, const int8_t *input, int16_t *output);
void kernels_requantize_s16_s8(const kernels_requantize_params *params, const int16_t *input, int8_t *output);
void kernels_requantize_s16_s16(const kernels_requantize_params *params, const int16_t *input, int16_t *output);

/* As kernels_quantize_f32_s8 and kernels_dequantize_s8_f32. */
void kernels_quantize_f32_s16(const kernels_scale_params *params, const float *input, int16_t *output);
void kernels_dequantize_s16_f32(const kernels_scale_params *params, const int16_t *input, float *output);

#ifdef __cplusplus
}
#endif

#endif
