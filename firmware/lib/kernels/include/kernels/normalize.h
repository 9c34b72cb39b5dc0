/* int8 L2 normalisation, in integers only. */
#ifndef KERNELS_NORMALIZE_H
#define KERNELS_NORMALIZE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t rows;
  int32_t depth;  /* elements of a row, at most 33,025 */
  int32_t offset; /* minus the input's zero point */
} kernels_l2_normalize_params;

/* input, output: [rows][depth]; each row is divided by the root of the sum of its squares. The output, with scale 1/128
 * and zero point 0, may be the input's memory. */
void kernels_l2_normalize_s8(const kernels_l2_normalize_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
