/* int8 matrix product with requantisation: dense layers and 1x1 convolutions. */
#ifndef KERNELS_MATMUL_H
#define KERNELS_MATMUL_H

#include <stdint.h>

#include "kernels/flash.h"
#include "kernels/int.h"
#include "kernels/output_stage.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  kernels_int rows;                    /* of input and output: batch, or pixels of a 1x1 convolution */
  kernels_int depth;                   /* elements of an input row, below 2^17 */
  kernels_int channels;                /* elements of an output row */
  const KERNELS_FLASH int8_t *weights; /* [channels][depth] */
  kernels_output_stage stage;
} kernels_matmul_params;

/* output[r][c] = stage(sum over d of input[r][d] * weights[c][d]).
 * The bias holds -(input zero point) * (sum of the channel's weights) besides the layer's own.
 * input: [rows][depth]; output: [rows][channels]. Any alignment. They must not overlap, unless the output starts so far
 * before the input that no row is overwritten before it was read: two rows at a time, again for every two channels. */
void kernels_matmul_s8(const kernels_matmul_params *params, const int8_t *input, int8_t *output);

/* The same for two rows that lie anywhere, and `channels` channels from `first` on; out0 and out1 receive
 * out[0..channels). */
void kernels_two_rows_s8(const int8_t *row0, const int8_t *row1, kernels_int depth, const KERNELS_FLASH int8_t *weights,
                         const kernels_output_stage *stage, kernels_int first, kernels_int channels, int8_t *out0,
                         int8_t *out1);

/* The same for one row. */
void kernels_one_row_s8(const int8_t *row, kernels_int depth, const KERNELS_FLASH int8_t *weights,
                        const kernels_output_stage *stage, kernels_int first, kernels_int channels, int8_t *out);

#ifdef __cplusplus
}
#endif

#endif
