#include "kernels/parts.h"

#include <string.h>

void kernels_join(const kernels_parts_params *params, const void *const *inputs, void *const *outputs) {
  uint8_t *to = (uint8_t *)outputs[0];
  for (int32_t o = 0; o < params->outer; o++) {
    for (int32_t i = 0; i < params->count; i++) {
      const int32_t run = params->bytes[i];
      memcpy(to, (const uint8_t *)inputs[i] + o * run, (size_t)run);
      to += run;
    }
  }
}

void kernels_divide(const kernels_parts_params *params, const void *const *inputs, void *const *outputs) {
  const uint8_t *from = (const uint8_t *)inputs[0];
  for (int32_t o = 0; o < params->outer; o++) {
    for (int32_t i = 0; i < params->count; i++) {
      const int32_t run = params->bytes[i];
      memcpy((uint8_t *)outputs[i] + o * run, from, (size_t)run);
      from += run;
    }
  }
}
