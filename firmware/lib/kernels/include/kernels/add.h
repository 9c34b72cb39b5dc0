/* int8 addition and subtraction of two tensors of different quantisations, with broadcasting. */
#ifndef KERNELS_ADD_H
#define KERNELS_ADD_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A rescaled input: (x + offset) * 2^20 * multiplier * 2^(shift - 31). */
typedef struct {
  int32_t offset; /* minus the zero point */
  int32_t multiplier;
  int32_t shift;      /* -31 to 0 */
  int32_t strides[4]; /* elements from one index of a dimension to the next; 0 where the input is repeated */
} kernels_add_input;

typedef struct {
  int32_t shape[4]; /* of the output, outermost first; absent dimensions are 1 */
  kernels_add_input a;
  kernels_add_input b;
  int32_t multiplier; /* of the sum */
  int32_t shift;      /* -31 to 0 */
  int32_t zero_point; /* of the output */
  int32_t minimum;    /* of the fused activation, within -128..127 */
  int32_t maximum;
} kernels_add_params;

/* The output may be the same memory as an input that is not repeated, or start before an input as long as no element is
 * overwritten before it was read for the last time; outputs are made in order. Otherwise they must not overlap. */
void kernels_add_s8(const kernels_add_params *params, const int8_t *a, const int8_t *b, int8_t *output);

/* a - b; as above. */
void kernels_sub_s8(const kernels_add_params *params, const int8_t *a, const int8_t *b, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
