/* int8 softmax, in integers only. */
#ifndef KERNELS_SOFTMAX_H
#define KERNELS_SOFTMAX_H

#include <stdint.h>

#include "kernels/flash.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t rows;
  int32_t depth;              /* elements of a row, fewer than 4,096 */
  int32_t exponentials_count; /* 1 to 256 */
  /* exp(-beta * scale * d) as Q0.31 for d = 0, 1, ...; beyond the table they are 0. */
  const KERNELS_FLASH int32_t *exponentials;
} kernels_softmax_params;

/* input, output: [rows][depth]; the output, with scale 1/256 and zero point -128, may be the input's memory. */
void kernels_softmax_s8(const kernels_softmax_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
