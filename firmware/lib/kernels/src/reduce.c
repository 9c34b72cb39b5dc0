#include "kernels/reduce.h"

/* The largest sign * x, times sign; the sign is 1 or -1. */
static inline void reduce(const kernels_reduce_params *p, int32_t sign, const int8_t *input, int8_t *output) {
  const int32_t inner = p->reduced[1] * p->kept[2];
  const int32_t outer = p->kept[1] * inner;
  for (int32_t a = 0; a < p->kept[0]; a++) {
    for (int32_t b = 0; b < p->kept[1]; b++) {
      for (int32_t c = 0; c < p->kept[2]; c++) {
        const int8_t *x = input + b * inner + c;
        int32_t best = sign * x[0];
        for (int32_t i = 0; i < p->reduced[0]; i++) {
          for (int32_t j = 0; j < p->reduced[1]; j++) {
            const int32_t value = sign * x[i * outer + j * p->kept[2]];
            if (value > best) best = value;
          }
        }
        *output++ = (int8_t)(sign * best);
      }
    }
    input += p->reduced[0] * outer;
  }
}

void kernels_reduce_max_s8(const kernels_reduce_params *params, const int8_t *input, int8_t *output) {
  reduce(params, 1, input, output);
}

void kernels_reduce_min_s8(const kernels_reduce_params *params, const int8_t *input, int8_t *output) {
  reduce(params, -1, input, output);
}

static inline void find(const kernels_arg_params *p, int32_t sign, const int8_t *input, int32_t *output) {
  for (int32_t o = 0; o < p->outer; o++) {
    for (int32_t i = 0; i < p->inner; i++) {
      int32_t best = sign * input[i], place = 0;
      for (int32_t k = 1; k < p->length; k++) {
        const int32_t value = sign * input[k * p->inner + i];
        if (value > best) {
          best = value;
          place = k;
        }
      }
      *output++ = place;
    }
    input += p->length * p->inner;
  }
}

void kernels_arg_max_s8(const kernels_arg_params *params, const int8_t *input, int32_t *output) {
  find(params, 1, input, output);
}

void kernels_arg_min_s8(const kernels_arg_params *params, const int8_t *input, int32_t *output) {
  find(params, -1, input, output);
}
