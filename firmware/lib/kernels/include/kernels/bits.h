/* Networks whose activations are bits: 1 for +1, 0 for -1. Weights are bits, too, or ternary (-1, 0, +1).
 *
 * A map is NHWC with a position's channels packed into 32-bit words, channel 0 lowest; bits beyond the last channel are
 * 0. Beyond the edge of a map lie 0 bits.
 *
 * The arithmetic. Over taps with input bits x and weight bits w, the sum of products of +-1 is
 *   4*A - 2*W - 2*n + taps,   A = taps with x = 1 and w = 1, W = ones of w, n = ones of x.
 * Only A depends on both. So the words of 32 output channels that belong to the SET input bits are added to 32 counters
 * at once, which lie bit-sliced: plane i of the counters is a word that holds bit i of each. A carry-save adder of five
 * operations takes two more words, eight words take seven; nothing multiplies and nothing counts bits. With about half
 * of the inputs set that is 0.12 instructions a multiply-accumulate on a Cortex-M4. A population count of an XNOR, for
 * which there is no instruction either, takes some 15 operations a word, 0.5 a multiply-accumulate.
 *
 * Ternary weights put two words for each set bit behind each other, the +1s and the complement of the -1s; their count
 * B gives the sum as 2*(B - n) - (ones - minus ones).
 *
 * Batch normalisation and sign are a comparison of the sum with a threshold a channel, which is folded to
 *   2*count - listed >= 2*q + v,   listed = words added, v = 0 or 1
 * and made on the planes: start - (listed >> 1) + count >= Q + (v | listed & 1), Q = q + start. Channels that fall with
 * the sum are stored with negated weights. */
#ifndef KERNELS_BITS_H
#define KERNELS_BITS_H

#include <stdint.h>

#include "kernels/flash.h"
#include "kernels/int.h"
#include "kernels/window.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KERNELS_BITS_WORD 32
/* Shifted and not divided: a division of signed integers also rounds negative ones. */
#define KERNELS_BITS_WORDS(channels) (((channels) + 31) >> 5)
#define KERNELS_BITS_PLANES 24 /* at most */

/* Offset of a word of weights in bytes. */
#if defined(__AVR__)
typedef uint16_t kernels_bits_offset;
#else
typedef uint32_t kernels_bits_offset;
#endif

typedef struct {
  kernels_window window; /* one batch, dilations 1 */
  kernels_int channels;  /* of the input */
  kernels_int outputs;
  kernels_int rows;   /* words that a set bit adds for 32 outputs: 1 binary weights, 2 ternary ones */
  kernels_int planes; /* of the counters, 4 to KERNELS_BITS_PLANES: start + rows * taps / 2 + 1 < 2^planes */
  kernels_int stored; /* lower planes of Q that are stored; the others are the same for all channels: */
  int32_t high;       /* Q >> stored */
  int32_t start;      /* of the counters; at least rows * taps / 2 */
} kernels_bits_params;

/* Convolution and threshold, bits to bits; a dense layer is a window of the whole map.
 *
 * weights: [outputs / 32, rounded up][width][height][channels][rows] words, output 0 lowest; bits without an output 0.
 * Columns come first, so that the set bits of all columns are listed once for a row of outputs: a window is a part of
 * that list.
 * limits: [outputs / 32, rounded up][1 + stored] words: v, then Q's planes, lowest first.
 * list: scratch of input_width * (rows * height * channels + 1) + 1 offsets. Nothing may overlap. */
void kernels_bits_conv(const kernels_bits_params *params, const uint32_t *input, const KERNELS_FLASH uint32_t *weights,
                       const KERNELS_FLASH uint32_t *limits, uint32_t *output, kernels_bits_offset *list);

typedef struct {
  kernels_bits_params
      bits;           /* rows is 1; start is at least half of 255 * taps, and start + 255 * taps / 2 + 1 < 2^planes */
  kernels_int offset; /* minus the zero point: what an input stands for is input + offset, 0 to 255 */
} kernels_bits_image_params;

/* The first layer: an int8 image times weights of +-1, and threshold, to bits. Beyond the edge lie zeros.
 *
 * The counters add up the inputs whose weight is +1, a word for each set bit of an input from that bit's plane on; what
 * is "listed" is the sum of all inputs.
 * weights: [outputs / 32, rounded up][height][width][channels] words; limits as in kernels_bits_conv().
 * scratch: 2 * height * width * channels. Nothing may overlap. */
void kernels_bits_image_conv(const kernels_bits_image_params *params, const int8_t *input,
                             const KERNELS_FLASH uint32_t *weights, const KERNELS_FLASH uint32_t *limits,
                             uint32_t *output, int16_t *scratch);

/* Maximum pooling of what lies before the threshold: OR of the bits, AND in channels that fall with the sum.
 *
 * Windows lie within the map. falling: [channels / 32, rounded up] words, or NULL where no channel falls. The output
 * may be the same memory as the input where windows do not overlap. */
void kernels_bits_max_pool(const kernels_window *window, kernels_int channels, const uint32_t *input,
                           const KERNELS_FLASH uint32_t *falling, uint32_t *output);

typedef struct {
  kernels_int words; /* of the input */
  kernels_int taps;  /* bits of the input that stand for something */
  kernels_int classes;
} kernels_bits_scores_params;

/* The last layer: scores[i] = sum * factors[i] + offsets[i], sum of taps products of +-1; 32 bits must hold all of it.
 *
 * weights: [classes][words], as the input lies: with few outputs, words of 32 of them would mostly be empty, and a
 * population count is cheap enough. */
void kernels_bits_scores(const kernels_bits_scores_params *params, const uint32_t *input,
                         const KERNELS_FLASH uint32_t *weights, const KERNELS_FLASH int16_t *factors,
                         const KERNELS_FLASH int32_t *offsets, int32_t *scores);

#ifdef __cplusplus
}
#endif

#endif
