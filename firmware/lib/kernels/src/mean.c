#include "kernels/mean.h"

#include "kernels/fixed_point.h"

void kernels_mean_s8(const kernels_mean_params *params, const int8_t *input, int8_t *output) {
  const kernels_mean_params *p = params;
  const int32_t inner = p->reduced[1] * p->kept[2];
  const int32_t outer = p->kept[1] * inner;
  for (int32_t a = 0; a < p->kept[0]; a++) {
    for (int32_t b = 0; b < p->kept[1]; b++) {
      for (int32_t c = 0; c < p->kept[2]; c++) {
        const int8_t *x = input + b * inner + c;
        int32_t sum = p->offset;
        for (int32_t i = 0; i < p->reduced[0]; i++) {
          for (int32_t j = 0; j < p->reduced[1]; j++) {
            sum += x[j * p->kept[2]];
          }
          x += outer;
        }
        sum = fixed_add(fixed_multiply(sum, p->multiplier, p->shift), p->zero_point);
        *output++ = (int8_t)fixed_clamp(sum, INT8_MIN, INT8_MAX);
      }
    }
    input += p->reduced[0] * outer;
  }
}
