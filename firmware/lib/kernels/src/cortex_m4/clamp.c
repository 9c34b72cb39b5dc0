#include "kernels/cortex_m4/clamp.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#include <arm_acle.h>
#include <string.h>

static int8x4_t repeat(int32_t x) { return (int8x4_t)((uint32_t)(uint8_t)x * 0x01010101u); }

/* The difference of two bytes sets the flag by which SEL chooses between them. */
void kernels_m4_clamp_s8(int8_t *values, int32_t count, int32_t minimum, int32_t maximum) {
  const int8x4_t low = repeat(minimum), high = repeat(maximum);
  int8_t *end = values + count;
  while (end - values >= 4) {
    int8x4_t x;
    memcpy(&x, values, sizeof x);
    (void)__ssub8(x, low);
    x = (int8x4_t)__sel((uint8x4_t)x, (uint8x4_t)low);
    (void)__ssub8(high, x);
    x = (int8x4_t)__sel((uint8x4_t)x, (uint8x4_t)high);
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
