#include "kernels/svdf.h"

#include "kernels/fixed_point.h"

/* A filter's newest value, without the state's zero point. */
static int32_t feature(const kernels_svdf_params *p, const int8_t *input, const KERNELS_FLASH int8_t *weights) {
  uint32_t sum = 0;
  for (int32_t i = 0; i < p->inputs; i++) {
    sum += (uint32_t)((input[i] - p->input_zero_point) * weights[i]);
  }
  return fixed_multiply((int32_t)sum, p->feature_multiplier, p->feature_shift);
}

static int8_t stage(const kernels_svdf_params *p, uint32_t sum) {
  const int32_t x = fixed_multiply((int32_t)sum, p->multiplier, p->shift);
  return (int8_t)fixed_clamp(fixed_add(x, p->zero_point), INT8_MIN, INT8_MAX);
}

/* Forgets the oldest value, takes in the newest, and returns the filter's sum over time. */
static uint32_t remember_s8(const kernels_svdf_params *p, int32_t newest, int8_t *state,
                            const KERNELS_FLASH int8_t *weights) {
  uint32_t sum = 0;
  for (int32_t i = 0; i < p->memory; i++) {
    state[i] =
        i + 1 < p->memory ? state[i + 1] : (int8_t)(fixed_clamp(newest, INT8_MIN, INT8_MAX) + p->state_zero_point);
    sum += (uint32_t)(weights[i] * (state[i] - p->state_zero_point));
  }
  return sum;
}

static uint32_t remember_s16(const kernels_svdf_params *p, int32_t newest, int16_t *state,
                             const KERNELS_FLASH int16_t *weights) {
  uint32_t sum = 0;
  for (int32_t i = 0; i < p->memory; i++) {
    state[i] =
        i + 1 < p->memory ? state[i + 1] : (int16_t)(fixed_clamp(newest, INT16_MIN, INT16_MAX) + p->state_zero_point);
    sum += (uint32_t)weights[i] * (uint32_t)(state[i] - p->state_zero_point);
  }
  return sum;
}

void kernels_svdf_s8(const kernels_svdf_params *params, const int8_t *input, int8_t *state, int8_t *output) {
  for (int32_t n = 0; n < params->batches; n++) {
    const KERNELS_FLASH int8_t *features = params->features, *time = params->time;
    for (int32_t u = 0; u < params->units; u++) {
      uint32_t sum = (uint32_t)params->bias[u];
      for (int32_t r = 0; r < params->rank; r++) {
        sum += remember_s8(params, feature(params, input, features), state, time);
        features += params->inputs;
        time += params->memory;
        state += params->memory;
      }
      *output++ = stage(params, sum);
    }
    input += params->inputs;
  }
}

void kernels_svdf_s16(const kernels_svdf_params *params, const int8_t *input, int16_t *state, int8_t *output) {
  for (int32_t n = 0; n < params->batches; n++) {
    const KERNELS_FLASH int8_t *features = params->features;
    const KERNELS_FLASH int16_t *time = params->time;
    for (int32_t u = 0; u < params->units; u++) {
      uint32_t sum = (uint32_t)params->bias[u];
      for (int32_t r = 0; r < params->rank; r++) {
        sum += remember_s16(params, feature(params, input, features), state, time);
        features += params->inputs;
        time += params->memory;
        state += params->memory;
      }
      *output++ = stage(params, sum);
    }
    input += params->inputs;
  }
}
