#include "kernels/lstm.h"

#include <string.h>

#include "kernels/fixed_point.h"
#include "kernels/sigmoid16.h"

static int32_t clamp16(int32_t x) { return fixed_clamp(x, INT16_MIN, INT16_MAX); }

static int32_t dot(const int8_t *a, const KERNELS_FLASH int8_t *b, int32_t count) {
  int32_t sum = 0;
  for (int32_t i = 0; i < count; i++) sum += a[i] * b[i];
  return sum;
}

/* A gate's sum for one unit, times three: the table's steps. */
static int32_t gate(const kernels_lstm_params *p, const kernels_lstm_gate *g, int32_t unit, const int8_t *input,
                    const int8_t *hidden) {
  const int32_t from_input = fixed_add(dot(input, g->weights + unit * p->inputs, p->inputs), g->bias[unit]);
  const int32_t from_state = fixed_add(dot(hidden, g->recurrent + unit * p->units, p->units), g->recurrent_bias[unit]);
  return 3 * clamp16(clamp16(fixed_multiply(from_input, g->multiplier, g->shift)) +
                     clamp16(fixed_multiply(from_state, g->recurrent_multiplier, g->recurrent_shift)));
}

/* One step of one batch: `output` receives the hidden state that follows `hidden`. */
static void step(const kernels_lstm_params *p, const int8_t *input, const int8_t *hidden, int16_t *cell,
                 int8_t *output) {
  const int32_t half = p->tanh_shift > 0 ? (int32_t)1 << (p->tanh_shift - 1) : 0;
  for (int32_t u = 0; u < p->units; u++) {
    const int32_t forget = kernels_logistic_q15(p->table, gate(p, &p->forget_gate, u, input, hidden));
    const int32_t in = kernels_logistic_q15(p->table, gate(p, &p->input_gate, u, input, hidden));
    const int32_t value = kernels_tanh_q15(p->table, gate(p, &p->cell_gate, u, input, hidden));
    const int32_t out = kernels_logistic_q15(p->table, gate(p, &p->output_gate, u, input, hidden));
    int32_t c = clamp16(clamp16(fixed_multiply(forget * cell[u], p->forget_multiplier, p->forget_shift)) +
                        clamp16(fixed_multiply(in * value, p->update_multiplier, p->update_shift)));
    if (p->clip > 0) c = fixed_clamp(c, -p->clip, p->clip);
    cell[u] = (int16_t)c;
    c = kernels_tanh_q15(p->table, (c * p->tanh_multiplier + half) >> p->tanh_shift);
    c = fixed_add(fixed_multiply(c * out, p->hidden_multiplier, p->hidden_shift), p->hidden_zero_point);
    output[u] = (int8_t)fixed_clamp(c, INT8_MIN, INT8_MAX);
  }
}

void kernels_lstm_s8(const kernels_lstm_params *params, const int8_t *input, int8_t *hidden, int16_t *cell,
                     int8_t *output) {
  for (int32_t n = 0; n < params->batches; n++) {
    const int8_t *before = hidden; /* what a step wrote is what the next one reads */
    for (int32_t t = 0; t < params->steps; t++) {
      const int32_t row = n * params->batch_step + t * params->time_step;
      int8_t *after = output + row * params->units;
      step(params, input + row * params->inputs, before, cell, after);
      before = after;
    }
    memcpy(hidden, before, (size_t)params->units);
    hidden += params->units;
    cell += params->units;
  }
}
