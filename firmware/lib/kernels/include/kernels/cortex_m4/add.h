/* int8 sum or difference of two tensors of one shape with the Cortex-M4's DSP extension. */
#ifndef KERNELS_CORTEX_M4_ADD_H
#define KERNELS_CORTEX_M4_ADD_H

#include <stdint.h>

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t elements;
  int32_t factors[4]; /* a and b in units of 2^-30 output steps; offset and zero_point in units of 2^-22 */
  int32_t minimum;    /* of the fused activation, within -128..127 */
  int32_t maximum;
} kernels_m4_add_params;

/* output[i] = clamp((offset + (a * x[i] >> 8) + (b * y[i] >> 8)) >> 22), with the zero point and what rounds to nearest
 * in `offset`; `zero_point` is not used. The arithmetic wraps. That this is kernels_add_s8 or kernels_sub_s8 is found
 * out when the factors are made, by trying all 65,536 pairs of inputs. The output may be the memory of x or y. Any
 * alignment. */
void kernels_m4_add_s8(const kernels_m4_add_params *params, const int8_t *x, const int8_t *y, int8_t *output);

/* The same where sums can lie halfway between two outputs, to be rounded away from the zero point on either side:
 * output[i] = clamp((t + (t < 0 ? -1 : 0) + zero_point) >> 22), t = offset + (a * x[i] >> 8) + (b * y[i] >> 8). */
void kernels_m4_add_ties_s8(const kernels_m4_add_params *params, const int8_t *x, const int8_t *y, int8_t *output);

typedef struct {
  int32_t elements;
  int32_t factor;
  const int32_t *table; /* 256 terms, indexed by y's byte taken as unsigned */
  int32_t multiplier;   /* this and the next two: see kernels_m4_channel */
  int32_t rounding;
  int32_t shift; /* 1 to 22 */
  int32_t minimum;
  int32_t maximum;
} kernels_m4_add_table_params;

/* The same step by step as kernels_add_s8 does it, right for any scales: half the sum of x[i] * factor and table[y[i]]
 * takes the place of an accumulator. */
void kernels_m4_add_table_s8(const kernels_m4_add_table_params *params, const int8_t *x, const int8_t *y,
                             int8_t *output);

#ifdef __cplusplus
}
#endif

#endif

#endif
