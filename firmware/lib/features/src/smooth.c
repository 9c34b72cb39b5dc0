#include "features/smooth.h"

void features_smooth_reset(features_smooth_t *state) { state->started = 0; }

uint16_t features_smooth(features_smooth_t *state, const int8_t *output) {
  uint16_t best = 0;
  for (uint16_t c = 0; c < state->count; c++) {
    const int32_t next = (int32_t)output[c] * 128;
    const int32_t score = state->started == 0 ? next : state->scores[c];
    state->scores[c] = (int16_t)(score + ((next - score) >> state->shift));
    if (state->scores[c] > state->scores[best]) best = c;
  }
  state->started = 1;
  return best;
}
