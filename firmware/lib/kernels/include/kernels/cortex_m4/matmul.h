/* int8 matrix product for Cortex-M processors with the DSP extension: 1x1 convolutions, and what convolutions share. */
#ifndef KERNELS_CORTEX_M4_MATMUL_H
#define KERNELS_CORTEX_M4_MATMUL_H

#include <stdint.h>

#include "kernels/cortex_m4/stage.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Variants: linear for any output stage; relu for outputs with zero point -128, where the output stage has constants
 * fitted to each channel (kernels_m4_fitted).
 *
 * A linear stream holds, for every two output channels in turn, 2 * blocks words of weights and two kernels_m4_channel,
 * the last with the top bit of its shift set. A relu stream holds the first channel's bias, the sum of both biases,
 * 2 * blocks words of weights, and both channels' multiplier and rounding; the first channel's bias is added to the
 * plain sum, which shifts its output by 2. The second rounding is odd in the last pair and even in others. Block b's
 * two words belong to inputs (4b, 4b + 2) and (4b + 1, 4b + 3) of the tile's order; the first input of a word is in its
 * low half; a half is 256 * W1 + W0 of the two output channels, each in -127..127. Sums of the second channel, without
 * bias, stay below 2^23 in absolute value. With an odd number of output channels the last pair repeats the channel
 * before the last: (n - 2, n - 1), and the two last pairs are marked as such. Word-aligned. */
enum { KERNELS_M4_TILE_BLOCK = 2, KERNELS_M4_PAIR_LINEAR = 8, KERNELS_M4_PAIR_RELU = 6 }; /* words of both channels */

/* A wide stream holds any int8 weights, 16 bits each. For every two output channels in turn: both biases, 4 * blocks
 * words of weights, and what else both output stages need (linear: multiplier, rounding and shift of
 * kernels_m4_channel; relu: multiplier and rounding of kernels_m4_fitted). Inputs in the order above; each pair of
 * inputs has a word for the first channel and one for the second; a half is a weight times 2 (linear) or 256 (relu).
 * Last pairs are marked. */
enum { KERNELS_M4_WIDE_BLOCK = 4 };

typedef struct {
  int32_t rows;     /* of input and output: pixels */
  int32_t depth;    /* elements of an input row */
  int32_t channels; /* elements of an output row, at least 2 */
  int32_t minimum;  /* of the fused activation, within -128..127 */
  int32_t maximum;
  const int32_t *weights; /* the stream; blocks = (depth + 3) / 4 */
} kernels_m4_matmul_params;

/* output[r][c] = stage(sum over d of input[r][d] * weights[c][d]); relu: of an output with zero point -128.
 * input: [rows][depth]; output: [rows][channels], any alignment; scratch: 24 * blocks bytes, word-aligned.
 * Three rows are read before their outputs are written, so that the output may overlap the input: with
 * t = (rows - 1) / 3 and c = channels - depth it starts at least 3 * t * c bytes before the input if c > 0, and may
 * start -3 * c bytes after it otherwise. Up to three rows may lie anywhere. */
void kernels_m4_matmul_relu_s8(const kernels_m4_matmul_params *params, const int8_t *input, int8_t *scratch,
                               int8_t *output);
void kernels_m4_matmul_linear_s8(const kernels_m4_matmul_params *params, const int8_t *input, int8_t *scratch,
                                 int8_t *output);

/* The same from a wide stream: faster, with more memory for the weights. */
void kernels_m4_matmul_wide_relu_s8(const kernels_m4_matmul_params *params, const int8_t *input, int8_t *scratch,
                                    int8_t *output);
void kernels_m4_matmul_wide_linear_s8(const kernels_m4_matmul_params *params, const int8_t *input, int8_t *scratch,
                                      int8_t *output);

/* The same for depth 8 and 16, 32 or 64 channels, for any int8 weights. The stream holds a channel's weights times 2
 * (linear) or 256 (relu), two int16 a word, of inputs (0, 2), (1, 3), (4, 6) and (5, 7), and its output stage, four
 * words (kernels_m4_channel) or three (kernels_m4_fitted). scratch: 512 bytes, word-aligned. 32 rows are read before
 * their outputs are written. */
#define KERNELS_M4_MATMUL8(channels, variant)                                                                      \
  void kernels_m4_matmul8x##channels##_##variant##_s8(const kernels_m4_matmul_params *params, const int8_t *input, \
                                                      int8_t *scratch, int8_t *output)
KERNELS_M4_MATMUL8(16, relu);
KERNELS_M4_MATMUL8(32, relu);
KERNELS_M4_MATMUL8(64, relu);
KERNELS_M4_MATMUL8(16, linear);
KERNELS_M4_MATMUL8(32, linear);
KERNELS_M4_MATMUL8(64, linear);
#undef KERNELS_M4_MATMUL8

/* The parts, in assembly. */

/* Three pixels' inputs, each `rows` rows of 4 * words + rest bytes at any alignment. */
typedef struct {
  const int8_t *row[3]; /* first row of each pixel; pixels may repeat */
  int32_t skip[3];      /* from the end of a row's words to the next row, bytes */
  int32_t rows;
  int32_t words;
  int32_t rest; /* 0 to 3 */
} kernels_m4_windows;

/* tile: int16 [pair of inputs][pixel][2]. A word of a row gives the pairs (0, 2) and (1, 3); the rests of all rows
 * follow byte after byte. What is left of the last block stays as it was: its weights must be 0. Reads nothing but
 * the rows' bytes. */
void kernels_m4_widen_s8(const kernels_m4_windows *windows, int16_t *tile);

typedef struct {
  int32_t offset[2]; /* of pixels 1 and 2 from pixel 0 in the output; a pixel of a short block repeats another one */
  int32_t blocks;    /* of four inputs, at least 1 */
} kernels_m4_block;

/* The outputs of three pixels up to a pair that is marked as a last one. Word-aligned tile (24 * blocks bytes) and
 * stream. */
void kernels_m4_tile_relu_s8(const int16_t *tile, const int32_t *stream, int8_t *output, const kernels_m4_block *block);
void kernels_m4_tile_linear_s8(const int16_t *tile, const int32_t *stream, int8_t *output,
                               const kernels_m4_block *block);

/* The same from a wide stream. */
void kernels_m4_wide_relu_s8(const int16_t *tile, const int32_t *stream, int8_t *output, const kernels_m4_block *block);
void kernels_m4_wide_linear_s8(const int16_t *tile, const int32_t *stream, int8_t *output,
                               const kernels_m4_block *block);

/* Widens `rows` (at least 1) rows of 8 inputs at any alignment: tile int16 [row][4][2], pairs (0, 2), (1, 3), (4, 6)
 * and (5, 7). */
void kernels_m4_narrow_widen_s8(const int8_t *input, int16_t *tile, int32_t rows);

/* All outputs of `rows` (at least 1) rows of that tile, for 16, 32 or 64 channels. */
#define KERNELS_M4_NARROW(channels, variant)                                                                     \
  void kernels_m4_narrow_##channels##_##variant##_s8(const int16_t *tile, const int32_t *stream, int8_t *output, \
                                                     int32_t rows)
KERNELS_M4_NARROW(16, relu);
KERNELS_M4_NARROW(32, relu);
KERNELS_M4_NARROW(64, relu);
KERNELS_M4_NARROW(16, linear);
KERNELS_M4_NARROW(32, linear);
KERNELS_M4_NARROW(64, linear);
#undef KERNELS_M4_NARROW

#ifdef __cplusplus
}
#endif

#endif
