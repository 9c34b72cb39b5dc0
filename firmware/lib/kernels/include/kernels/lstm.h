/* int8 LSTM over a sequence, with an int16 cell state; both states are kept from one call to the next. */
#ifndef KERNELS_LSTM_H
#define KERNELS_LSTM_H

#include <stdint.h>

#include "kernels/flash.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The sum before a gate's function, as Q3.12: both products are rescaled and clamped to int16, then added. */
typedef struct {
  const KERNELS_FLASH int8_t *weights;   /* [units][inputs] */
  const KERNELS_FLASH int8_t *recurrent; /* [units][units] */
  const KERNELS_FLASH int32_t *bias;     /* [units], with -(input zero point) * (sum of the unit's weights) */
  const KERNELS_FLASH int32_t
      *recurrent_bias; /* [units]: -(hidden state's zero point) * (sum of the unit's recurrent weights) */
  int32_t multiplier;  /* in [0, 2^31) */
  int32_t shift;       /* -31 to 30 */
  int32_t recurrent_multiplier;
  int32_t recurrent_shift;
} kernels_lstm_gate;

typedef struct {
  int32_t batches;
  int32_t steps;
  int32_t inputs;     /* elements of an input row */
  int32_t units;      /* elements of an output row */
  int32_t batch_step; /* rows from one batch to the next, in input and output */
  int32_t time_step;  /* rows from one step to the next */
  kernels_lstm_gate input_gate;
  kernels_lstm_gate forget_gate;
  kernels_lstm_gate cell_gate;
  kernels_lstm_gate output_gate;
  int32_t forget_multiplier; /* forget gate * cell state -> cell state */
  int32_t forget_shift;
  int32_t update_multiplier; /* input gate * cell gate -> cell state */
  int32_t update_shift;
  int32_t hidden_multiplier; /* output gate * tanh(cell state) -> hidden state */
  int32_t hidden_shift;
  int32_t hidden_zero_point;
  int32_t tanh_multiplier; /* cell state to the table's steps: (cell * tanh_multiplier) / 2^tanh_shift, rounded */
  int32_t tanh_shift;      /* 0 to 30 */
  int32_t clip;            /* largest magnitude of the cell state; 0: any */
  const KERNELS_FLASH uint16_t *table; /* see sigmoid16.h */
} kernels_lstm_params;

/* input: rows of [inputs]; hidden: [batches][units]; cell: [batches][units]; output: rows of [units], the hidden state
 * after each step. None may overlap another. Sums of products fit 32 bits. */
void kernels_lstm_s8(const kernels_lstm_params *params, const int8_t *input, int8_t *hidden, int16_t *cell,
                     int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
