/* Padding of int8 tensors. */
#ifndef KERNELS_PAD_H
#define KERNELS_PAD_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t input[5];  /* shape, outermost first; absent dimensions are 1 */
  int32_t output[5]; /* shape */
  int32_t before[5]; /* padding before each dimension; what is left of the output lies after it */
  int32_t value;     /* -128 to 127 */
} kernels_pad_params;

/* Input and output must not overlap. */
void kernels_pad_s8(const kernels_pad_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
