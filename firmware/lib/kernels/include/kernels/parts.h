/* Tensors put together, and taken apart, along an axis; elements of any size. */
#ifndef KERNELS_PARTS_H
#define KERNELS_PARTS_H

#include <stdint.h>

#include "kernels/flash.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The whole is `outer` times a run of each part, one after the other. */
typedef struct {
  int32_t outer;
  int32_t count;                      /* of parts */
  const KERNELS_FLASH int32_t *bytes; /* of a run of each part */
} kernels_parts_params;

/* inputs: the parts; outputs: the whole. The output must not overlap an input. */
void kernels_join(const kernels_parts_params *params, const void *const *inputs, void *const *outputs);

/* inputs: the whole; outputs: the parts. None must overlap another. */
void kernels_divide(const kernels_parts_params *params, const void *const *inputs, void *const *outputs);

#ifdef __cplusplus
}
#endif

#endif
