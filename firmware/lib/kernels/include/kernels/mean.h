/* int8 mean over any axes. */
#ifndef KERNELS_MEAN_H
#define KERNELS_MEAN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The input seen as [kept[0]][reduced[0]][kept[1]][reduced[1]][kept[2]]: neighbouring axes of one kind are merged,
 * absent ones are 1. The output is [kept[0]][kept[1]][kept[2]]. */
typedef struct {
  int32_t kept[3];
  int32_t reduced[2];
  int32_t offset;     /* -(input zero point) * (number of reduced elements) */
  int32_t multiplier; /* the rescaling, divided by the number of reduced elements; in [0, 2^31) */
  int32_t shift;      /* -31 to 30 */
  int32_t zero_point; /* of the output */
} kernels_mean_params;

/* Input and output must not overlap, unless the output starts so far before the input that nothing is overwritten
 * before it was read: outputs are made in order. Fewer than 2^23 elements are reduced to one. */
void kernels_mean_s8(const kernels_mean_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
