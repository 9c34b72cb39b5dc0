#include "kernels/cortex_m4/matmul.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#include "kernels/cortex_m4/clamp.h"

enum { DEPTH = 8, BLOCK = 32 };

typedef void narrow_kernel(const int16_t *, const int32_t *, int8_t *, int32_t);

static inline __attribute__((always_inline)) void narrow(const kernels_m4_matmul_params *p, const int8_t *input,
                                                         int8_t *scratch, int8_t *output, narrow_kernel *kernel) {
  int16_t *tile = (int16_t *)(void *)scratch;
  int8_t *out = output;
  for (int32_t left = p->rows; left > 0; left -= BLOCK) {
    const int32_t rows = left < BLOCK ? left : BLOCK;
    kernels_m4_narrow_widen_s8(input, tile, rows);
    kernel(tile, p->weights, out, rows);
    input += rows * DEPTH;
    out += rows * p->channels;
  }
  if (p->minimum > -128 || p->maximum < 127) {
    kernels_m4_clamp_s8(output, p->rows * p->channels, p->minimum, p->maximum);
  }
}

#define DEFINE(channels, variant)                                                                          \
  void kernels_m4_matmul8x##channels##_##variant##_s8(const kernels_m4_matmul_params *p, const int8_t *in, \
                                                      int8_t *scratch, int8_t *out) {                      \
    narrow(p, in, scratch, out, kernels_m4_narrow_##channels##_##variant##_s8);                            \
  }

DEFINE(16, relu)
DEFINE(32, relu)
DEFINE(64, relu)
DEFINE(16, linear)
DEFINE(32, linear)
DEFINE(64, linear)

#else
typedef int kernels_m4_matmul_narrow_is_for_cortex_m4; /* C99 has no empty translation unit */
#endif
