#include "features/resample.h"

static int16_t mean(int32_t sum, uint16_t weight) {
  /* |sum| <= 2^15 * 32767; C's division goes towards zero, a floor is wanted. */
  const int32_t nudged = sum + (weight >> 1);
  const int32_t quotient = nudged / weight;
  return (int16_t)(nudged % weight < 0 ? quotient - 1 : quotient);
}

void features_resample_reset(features_resample_t *state) {
  state->sample = 0;
  state->filled = 0;
  state->left = 0;
  for (uint16_t c = 0; c < state->channels; c++) state->sums[c] = 0;
}

void features_resample_push(features_resample_t *state, const int16_t *sample) {
  state->sample = sample;
  state->left = state->out_rate;
}

int features_resample_pull(features_resample_t *state, int16_t *to) {
  const uint16_t needed = (uint16_t)(state->in_rate - state->filled);
  const uint16_t taken = state->left < needed ? state->left : needed;
  for (uint16_t c = 0; c < state->channels; c++) state->sums[c] += (int32_t)state->sample[c] * taken;
  state->left = (uint16_t)(state->left - taken);
  state->filled = (uint16_t)(state->filled + taken);
  if (state->filled < state->in_rate) return 0;
  for (uint16_t c = 0; c < state->channels; c++) {
    to[c] = mean(state->sums[c], state->in_rate);
    state->sums[c] = 0;
  }
  state->filled = 0;
  return 1;
}
