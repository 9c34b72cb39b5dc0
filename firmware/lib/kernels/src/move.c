#include "kernels/move.h"

#include <string.h>

#include "kernels/fixed_point.h"

/* `count` runs that lie `stride` bytes apart, to a place where they lie together. */
static void copy_row(const uint8_t *from, int32_t stride, int32_t count, int32_t run, uint8_t *to) {
  if (run == 1) {
    for (int32_t i = 0; i < count; i++) {
      to[i] = from[i * stride];
    }
    return;
  }
  for (int32_t i = 0; i < count; i++) {
    memcpy(to + i * run, from + i * stride, (size_t)run);
  }
}

void kernels_move(const kernels_move_params *params, const void *input, void *output) {
  const int32_t *n = params->shape, *s = params->strides;
  uint8_t *to = (uint8_t *)output;
  const uint8_t *first = (const uint8_t *)input + params->offset;
  for (int32_t i = 0; i < n[0]; i++) {
    for (int32_t j = 0; j < n[1]; j++) {
      for (int32_t k = 0; k < n[2]; k++) {
        for (int32_t l = 0; l < n[3]; l++) {
          copy_row(first + (i * s[0] + j * s[1] + k * s[2] + l * s[3]), s[4], n[4], params->run, to);
          to += n[4] * params->run;
        }
      }
    }
  }
}

void kernels_move_from(const kernels_move_from_params *params, const void *input, void *output) {
  const int32_t *n = params->counts;
  const KERNELS_FLASH int32_t *a = params->offsets, *b = a + n[0], *c = b + n[1], *d = c + n[2];
  uint8_t *to = (uint8_t *)output;
  for (int32_t i = 0; i < n[0]; i++) {
    for (int32_t j = 0; j < n[1]; j++) {
      for (int32_t k = 0; k < n[2]; k++) {
        const uint8_t *from = (const uint8_t *)input + (a[i] + b[j] + c[k]);
        for (int32_t l = 0; l < n[3]; l++) {
          memcpy(to, from + d[l], (size_t)params->run);
          to += params->run;
        }
      }
    }
  }
}

void kernels_move_to(const kernels_move_to_params *params, const void *input, void *output) {
  const int32_t *n = params->counts;
  const KERNELS_FLASH int32_t *a = params->offsets, *b = a + n[0], *c = b + n[1], *d = c + n[2];
  const uint8_t *from = (const uint8_t *)input;
  memset(output, params->value, (size_t)params->output_bytes);
  for (int32_t i = 0; i < n[0]; i++) {
    for (int32_t j = 0; j < n[1]; j++) {
      for (int32_t k = 0; k < n[2]; k++) {
        uint8_t *to = (uint8_t *)output + (a[i] + b[j] + c[k]);
        for (int32_t l = 0; l < n[3]; l++) {
          memcpy(to + d[l], from, (size_t)params->run);
          from += params->run;
        }
      }
    }
  }
}

void kernels_gather(const kernels_gather_params *params, const void *input, const int32_t *indices, void *output) {
  const uint8_t *from = (const uint8_t *)input;
  uint8_t *to = (uint8_t *)output;
  for (int32_t b = 0; b < params->batches; b++) {
    for (int32_t o = 0; o < params->outer; o++) {
      for (int32_t i = 0; i < params->indices; i++) {
        const int32_t place = fixed_clamp(indices[i], 0, params->length - 1);
        memcpy(to, from + place * params->run, (size_t)params->run);
        to += params->run;
      }
      from += params->length * params->run;
    }
    indices += params->indices;
  }
}
