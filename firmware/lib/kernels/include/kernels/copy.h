/* A tensor's bytes as they are. */
#ifndef KERNELS_COPY_H
#define KERNELS_COPY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t bytes;
} kernels_copy_params;

/* They must not overlap. */
void kernels_copy(const kernels_copy_params *params, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
