#include "kernels/cortex_m4/clamp.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#include <string.h>

#include "kernels/cortex_m4/dsp.h"

static uint32_t repeat(int32_t x) { return (uint32_t)(uint8_t)x * 0x01010101u; }

void kernels_m4_clamp_s8(int8_t *values, int32_t count, int32_t minimum, int32_t maximum) {
  const uint32_t low = repeat(minimum), high = repeat(maximum);
  int8_t *end = values + count;
  while (end - values >= 4) {
    uint32_t x;
    memcpy(&x, values, sizeof x);
    x = kernels_m4_min_s8x4(kernels_m4_max_s8x4(x, low), high);
    memcpy(values, &x, sizeof x);
    values += 4;
  }
  while (values < end) {
    *values = (int8_t)(*values < minimum ? minimum : *values > maximum ? maximum : *values);
    values++;
  }
}

#else
typedef int kernels_m4_clamp_is_for_cortex_m4; /* C99 has no empty translation unit */
#endif
