/* int16 softmax, in integers only. */
#ifndef KERNELS_SOFTMAX16_H
#define KERNELS_SOFTMAX16_H

#include <stdint.h>

#include "kernels/flash.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t rows;
  int32_t depth;      /* elements of a row, fewer than 65,536 */
  int32_t multiplier; /* from a difference to steps of 10 / 65,535; in [0, 2^31) */
  int32_t shift;      /* -31 to 14 */
  /* Each 513 values of a function over the int16 range, every 128th argument, between which is interpolated: */
  const KERNELS_FLASH int16_t *exponential; /* exp(x) for x from -10 to 0, as Q0.15 */
  const KERNELS_FLASH int16_t *reciprocal;  /* 1 / (1 + x) for x from 0 to 1, as Q0.15 */
} kernels_softmax_s16_params;

/* input, output: [rows][depth], different memory; zero points are 0, the output's scale is 2^-15. */
void kernels_softmax_s16(const kernels_softmax_s16_params *params, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif
