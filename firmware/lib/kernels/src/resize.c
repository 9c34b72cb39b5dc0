#include "kernels/resize.h"

/* Two neighbouring pixels of a direction and the weight of the second, in 1/1024; the first has the rest. */
typedef struct {
  int32_t first;
  int32_t second;
  int32_t weight;
} pair;

static pair neighbours(const kernels_resize_direction *d, int32_t i) {
  const int32_t place = i * d->step + d->start;
  pair p;
  p.first = place > 0 ? place >> 10 : 0;
  p.second = (place + 1023) >> 10;
  if (p.second > d->input - 1) p.second = d->input - 1;
  p.weight = place - (p.first << 10);
  return p;
}

void kernels_resize_bilinear_s8(const kernels_resize_bilinear_params *params, const int8_t *input, int8_t *output) {
  const int32_t half = (int32_t)1 << 19;
  const int32_t channels = params->channels;
  const int32_t line = params->horizontal.input * channels;
  for (int32_t n = 0; n < params->batches; n++) {
    for (int32_t i = 0; i < params->vertical.output; i++) {
      const pair y = neighbours(&params->vertical, i);
      for (int32_t j = 0; j < params->horizontal.output; j++) {
        const pair x = neighbours(&params->horizontal, j);
        const int8_t *a = input + y.first * line + x.first * channels,
                     *b = input + y.first * line + x.second * channels;
        const int8_t *c = input + y.second * line + x.first * channels;
        const int8_t *d = input + y.second * line + x.second * channels;
        for (int32_t k = 0; k < channels; k++) {
          const int32_t above = a[k] * (1024 - x.weight) + b[k] * x.weight;
          const int32_t below = c[k] * (1024 - x.weight) + d[k] * x.weight;
          const int32_t sum = above * (1024 - y.weight) + below * y.weight;
          output[k] = (int8_t)((sum + (sum > 0 ? half : -half)) / (2 * half));
        }
        output += channels;
      }
    }
    input += params->vertical.input * line;
  }
}
