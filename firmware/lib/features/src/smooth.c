#include "features/smooth.h"

void features_smooth_reset(features_smooth_t *state) { state->started = 0; }

uint16_t features_smooth(features_smooth_t *state, const int8_t *output) {
  uint16_t best = 0;
  for (uint16_t c = 0; c < state->count; c++) {
    const int16_t next = (int16_t)(output[c] * 128);
    const int16_t score = state->scores[c];
    state->scores[c] = state->started == 0 ? next : (int16_t)(score + (((int32_t)next - score) >> state->shift));
    if (state->scores[c] > state->scores[best]) best = c;
  }
  state->started = 1;
  return best;
}
