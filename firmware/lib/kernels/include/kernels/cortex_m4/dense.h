/* Dense layers with the Cortex-M4's DSP extension: int8 in and out, weights as raw words. */
#ifndef KERNELS_CORTEX_M4_DENSE_H
#define KERNELS_CORTEX_M4_DENSE_H

#include <stdint.h>

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t rows;
  int32_t depth;          /* elements of an input row */
  int32_t channels;       /* elements of an output row */
  const int32_t *weights; /* the stream of dense_blocks.S: a block for four channels, depth and channels filled up with
                             zeros to multiples of 8 and 4 */
  int32_t multiplier;     /* for all channels; the "channel" variants find these three in the stream */
  int32_t rounding;       /* see kernels_m4_channel */
  int32_t shift;          /* the same */
  int32_t minimum;        /* of the fused activation, within -128..127 */
  int32_t maximum;
} kernels_m4_dense_params;

/* output[r][c] = clamp((sum over d of input[r][d] * w[c][d] + bias[c]) * multiplier * 2^(-31 - shift) + zero point), as
 * kernels_matmul_s8. "tensor": one multiplier for all channels; "relu": see requantize.inc.
 *
 * Of the input nothing is read but its rows * depth bytes. Any alignment.
 * scratch: 2 * (depth rounded up to 8) bytes, aligned to 4; every row is widened there before its first output is
 * written: with one row the output may lie anywhere on the input, with several each output row may lie on input rows up
 * to its own. */
void kernels_m4_dense_tensor_s8(const kernels_m4_dense_params *params, const int8_t *input, int8_t *scratch,
                                int8_t *output);
void kernels_m4_dense_tensor_relu_s8(const kernels_m4_dense_params *params, const int8_t *input, int8_t *scratch,
                                     int8_t *output);
void kernels_m4_dense_channel_s8(const kernels_m4_dense_params *params, const int8_t *input, int8_t *scratch,
                                 int8_t *output);
void kernels_m4_dense_channel_relu_s8(const kernels_m4_dense_params *params, const int8_t *input, int8_t *scratch,
                                      int8_t *output);

/* The same without scratch. depth is a multiple of 8 and the input aligned to 4 bytes. An output row must not overlap
 * its own or later input rows. */
void kernels_m4_dense_direct_tensor_s8(const kernels_m4_dense_params *params, const int8_t *input, int8_t *output);
void kernels_m4_dense_direct_tensor_relu_s8(const kernels_m4_dense_params *params, const int8_t *input, int8_t *output);
void kernels_m4_dense_direct_channel_s8(const kernels_m4_dense_params *params, const int8_t *input, int8_t *output);
void kernels_m4_dense_direct_channel_relu_s8(const kernels_m4_dense_params *params, const int8_t *input,
                                             int8_t *output);

/* The same for rows whose sums are too large for one pass: sums over the first depth - n inputs with bias and over the
 * last n, n = depth / 64 * 32, stay within 24 bits each. depth is at least 64. */
void kernels_m4_dense_long_tensor_s8(const kernels_m4_dense_params *params, const int8_t *input, int8_t *output);
void kernels_m4_dense_long_tensor_relu_s8(const kernels_m4_dense_params *params, const int8_t *input, int8_t *output);
void kernels_m4_dense_long_channel_s8(const kernels_m4_dense_params *params, const int8_t *input, int8_t *output);
void kernels_m4_dense_long_channel_relu_s8(const kernels_m4_dense_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif

#endif
