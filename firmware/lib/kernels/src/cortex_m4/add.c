#include "kernels/cortex_m4/add.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#include "kernels/cortex_m4/clamp.h"

typedef void (*words)(const void *constants, const int8_t *x, const int8_t *y, int8_t *output, const int8_t *x_end);

void kernels_m4_add_words(const void *factors, const int8_t *x, const int8_t *y, int8_t *output, const int8_t *x_end);
void kernels_m4_add_words_ties(const void *factors, const int8_t *x, const int8_t *y, int8_t *output,
                               const int8_t *x_end);
void kernels_m4_add_words_table(const void *constants, const int8_t *x, const int8_t *y, int8_t *output,
                                const int8_t *x_end);

static __attribute__((noinline)) void add(words run, const void *constants, int32_t elements, const int8_t *x,
                                          const int8_t *y, int8_t *output) {
  const int32_t rest = elements & 3, whole = elements - rest;
  if (whole != 0) run(constants, x, y, output, x + whole);
  if (rest != 0) {
    int8_t u[4] = {0}, v[4] = {0};
    for (int32_t i = 0; i < rest; i++) {
      u[i] = x[whole + i];
      v[i] = y[whole + i];
    }
    run(constants, u, v, u, u + 4);
    for (int32_t i = 0; i < rest; i++) output[whole + i] = u[i];
  }
}

static void clamp(int8_t *values, int32_t elements, int32_t minimum, int32_t maximum) {
  if (minimum > INT8_MIN || maximum < INT8_MAX) kernels_m4_clamp_s8(values, elements, minimum, maximum);
}

void kernels_m4_add_s8(const kernels_m4_add_params *params, const int8_t *x, const int8_t *y, int8_t *output) {
  add(kernels_m4_add_words, params->factors, params->elements, x, y, output);
  clamp(output, params->elements, params->minimum, params->maximum);
}

void kernels_m4_add_ties_s8(const kernels_m4_add_params *params, const int8_t *x, const int8_t *y, int8_t *output) {
  add(kernels_m4_add_words_ties, params->factors, params->elements, x, y, output);
  clamp(output, params->elements, params->minimum, params->maximum);
}

void kernels_m4_add_table_s8(const kernels_m4_add_table_params *params, const int8_t *x, const int8_t *y,
                             int8_t *output) {
  add(kernels_m4_add_words_table, &params->factor, params->elements, x, y, output);
  clamp(output, params->elements, params->minimum, params->maximum);
}

#else
typedef int kernels_m4_add_is_for_cortex_m4; /* C99 has no empty translation unit */
#endif
