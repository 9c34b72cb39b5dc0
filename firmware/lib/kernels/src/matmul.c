#include "kernels/matmul.h"

#if !defined(__AVR__) /* see src/avr/matmul_avr.c */

/* Two rows by two channels: four products a pair of loads, and still few enough registers for a Cortex-M. */
void kernels_two_rows_s8(const int8_t *row0, const int8_t *row1, kernels_int depth, const KERNELS_FLASH int8_t *weights,
                         const kernels_output_stage *stage, kernels_int first, kernels_int channels, int8_t *out0,
                         int8_t *out1) {
  const KERNELS_FLASH int8_t *w0 = weights + first * depth;
  kernels_int c = 0;
  for (; c + 1 < channels; c += 2) {
    const KERNELS_FLASH int8_t *w1 = w0 + depth;
    int32_t s00 = 0, s01 = 0, s10 = 0, s11 = 0;
    const int8_t *x0 = row0, *x1 = row1;
    for (const KERNELS_FLASH int8_t *end = w1; w0 != end;) {
      const int32_t a0 = *x0++, a1 = *x1++;
      const int32_t b0 = *w0++, b1 = *w1++;
      s00 += a0 * b0;
      s01 += a0 * b1;
      s10 += a1 * b0;
      s11 += a1 * b1;
    }
    out0[c] = kernels_output(stage, first + c, s00);
    out0[c + 1] = kernels_output(stage, first + c + 1, s01);
    out1[c] = kernels_output(stage, first + c, s10);
    out1[c + 1] = kernels_output(stage, first + c + 1, s11);
    w0 = w1;
  }
  if (c < channels) {
    int32_t s0 = 0, s1 = 0;
    for (kernels_int d = 0; d < depth; d++) {
      s0 += row0[d] * w0[d];
      s1 += row1[d] * w0[d];
    }
    out0[c] = kernels_output(stage, first + c, s0);
    out1[c] = kernels_output(stage, first + c, s1);
  }
}

/* One row by four channels: every input that is loaded serves four products. */
void kernels_one_row_s8(const int8_t *row, kernels_int depth, const KERNELS_FLASH int8_t *weights,
                        const kernels_output_stage *stage, kernels_int first, kernels_int channels, int8_t *out) {
  const KERNELS_FLASH int8_t *w = weights + first * depth;
  kernels_int c = 0;
  for (; c + 3 < channels; c += 4) {
    const KERNELS_FLASH int8_t *w1 = w + depth, *w2 = w1 + depth, *w3 = w2 + depth;
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (kernels_int d = 0; d < depth; d++) {
      const int32_t a = row[d];
      s0 += a * w[d];
      s1 += a * w1[d];
      s2 += a * w2[d];
      s3 += a * w3[d];
    }
    out[c] = kernels_output(stage, first + c, s0);
    out[c + 1] = kernels_output(stage, first + c + 1, s1);
    out[c + 2] = kernels_output(stage, first + c + 2, s2);
    out[c + 3] = kernels_output(stage, first + c + 3, s3);
    w = w3 + depth;
  }
  for (; c < channels; c++) {
    int32_t sum = 0;
    for (kernels_int d = 0; d < depth; d++) {
      sum += row[d] * w[d];
    }
    out[c] = kernels_output(stage, first + c, sum);
    w += depth;
  }
}

#endif

void kernels_matmul_s8(const kernels_matmul_params *params, const int8_t *input, int8_t *output) {
  const kernels_int depth = params->depth;
  const kernels_int channels = params->channels;
  kernels_int rows = params->rows;
  for (; rows >= 2; rows -= 2) {
    kernels_two_rows_s8(input, input + depth, depth, params->weights, &params->stage, 0, channels, output,
                        output + channels);
    input += 2 * depth;
    output += 2 * channels;
  }
  if (rows != 0) {
    kernels_one_row_s8(input, depth, params->weights, &params->stage, 0, channels, output);
  }
}
