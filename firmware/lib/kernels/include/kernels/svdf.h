/* int8 SVDF: a dense layer of rank-one filters, each a weighting of the input followed by one of the filter's last
 * values, which are kept from one call to the next. */
#ifndef KERNELS_SVDF_H
#define KERNELS_SVDF_H

#include <stdint.h>

#include "kernels/flash.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t batches;
  int32_t inputs; /* elements of an input row */
  int32_t units;  /* elements of an output row */
  int32_t rank;   /* filters a unit */
  int32_t memory; /* values that each filter keeps */
  int32_t input_zero_point;
  int32_t state_zero_point;
  int32_t zero_point;         /* of the output */
  int32_t feature_multiplier; /* from the first sum to the state; in [0, 2^31) */
  int32_t feature_shift;      /* -31 to 30 */
  int32_t multiplier;         /* from the second sum to the output */
  int32_t shift;
  const KERNELS_FLASH int8_t *features; /* [units * rank][inputs] */
  const KERNELS_FLASH int32_t *bias;    /* [units] */
  const KERNELS_FLASH void *time;       /* [units * rank][memory], of the state's type */
} kernels_svdf_params;

/* input: [batches][inputs]; state: [batches][units * rank][memory], oldest value first, aligned to its type; output:
 * [batches][units]. None may overlap another. Sums wrap. */
void kernels_svdf_s8(const kernels_svdf_params *params, const int8_t *input, int8_t *state, int8_t *output);
void kernels_svdf_s16(const kernels_svdf_params *params, const int8_t *input, int16_t *state, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
