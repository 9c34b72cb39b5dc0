#include "kernels/cortex_m4/bits.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#define TAPS 9
#define TABLE 6 /* words an output */

/* See bits_add.S and bits_image.S. */
void kernels_m4_bits_count(uint32_t *planes, uintptr_t weights, const kernels_bits_offset *list, int32_t count,
                           uint32_t start, int32_t depth);
kernels_bits_offset *kernels_m4_bits_list(uint32_t word, kernels_bits_offset at, uint32_t step,
                                          kernels_bits_offset *list);
kernels_bits_offset *kernels_m4_bits_list_pairs(uint32_t word, kernels_bits_offset at, uint32_t step,
                                                kernels_bits_offset *list);
void kernels_m4_bits_image_row(const int16_t *image, int32_t row, const int32_t *table, uint32_t *output, int32_t count,
                               int32_t step, uint32_t blank);

static inline kernels_bits_offset *bits_list(uint32_t word, kernels_bits_offset at, kernels_int rows,
                                             kernels_bits_offset *list) {
  return rows == 1 ? kernels_m4_bits_list(word, at, 4, list) : kernels_m4_bits_list_pairs(word, at, 8, list);
}

static inline void bits_count(uint32_t *planes, int32_t depth, uint32_t start, const uint32_t *weights,
                              const kernels_bits_offset *list, int32_t count, kernels_bits_offset shift) {
  kernels_m4_bits_count(planes, (uintptr_t)weights - shift, list, count, start, depth);
}

#include "../bits.inc"

void kernels_m4_bits_conv(const kernels_bits_params *params, const uint32_t *input, const uint32_t *weights,
                          const uint32_t *limits, uint32_t *output, kernels_bits_offset *list) {
  bits_conv(params, input, weights, limits, output, list);
}

/* Where tap 3 * row + column stands among the halfwords behind an output's limit. */
static const uint8_t place[TAPS] = {0, 1, 6, 2, 3, 7, 4, 5, 8};

/* Minus the limit of output c of a block's 32: what thresholds say of 2 * count - total is said of the sum. */
static int32_t minus_limit(const kernels_bits_params *p, const uint32_t *limits, int32_t c) {
  int32_t q = p->high;
  for (int32_t n = p->stored; n > 0; n--) q = 2 * q + (int32_t)(limits[n] >> c & 1);
  return -(2 * (q - p->start) + (int32_t)(limits[0] >> c & 1));
}

/* The table of 32 outputs, of which `count` exist. */
static void expand(const kernels_bits_params *p, const uint32_t *weights, const uint32_t *limits, int32_t count,
                   int32_t *table) {
  for (int32_t c = 31; c >= 0; c--, table += TABLE) {
    int16_t *pairs = (int16_t *)(table + 1);
    table[0] = c < count ? minus_limit(p, limits, c) : -1;
    pairs[TAPS] = 0;
    for (int32_t k = 0; k < TAPS; k++) {
      pairs[place[k]] = (int16_t)(c >= count ? 0 : weights[k] >> c & 1 ? 1 : -1);
    }
  }
}

/* The image as int16 with its zero point taken off, in a frame of zeros. */
static void widen(const kernels_bits_image_params *p, const int8_t *input, int32_t row, int16_t *image) {
  const kernels_window *w = &p->bits.window;
  for (int32_t i = -w->pad_top; i < w->output_height + 2 - w->pad_top; i++, image += row) {
    for (int32_t j = 0; j < row; j++) image[j] = 0;
    if (i < 0 || i >= w->input_height) continue;
    for (int32_t j = 0; j < w->input_width; j++) image[j + w->pad_left] = (int16_t)(*input++ + p->offset);
  }
}

/* The word of a window of zeros. */
static uint32_t blank_word(const int32_t *table) {
  uint32_t word = 0;
  for (int32_t c = 0; c < 32; c++, table += TABLE) word = word << 1 | (uint32_t)(table[0] >= 0);
  return word;
}

void kernels_m4_bits_image_conv(const kernels_bits_image_params *params, const int8_t *input, const uint32_t *weights,
                                const uint32_t *limits, uint32_t *output, int16_t *scratch) {
  const kernels_bits_params *p = &params->bits;
  const kernels_window *w = &p->window;
  const int32_t blocks = KERNELS_BITS_WORDS(p->outputs), row = (w->output_width + 3) / 2 * 2;
  int32_t *table = (int32_t *)(void *)scratch;
  int16_t *image = scratch + blocks * 32 * TABLE * 2;
  widen(params, input, row, image);
  for (int32_t k = 0; k < blocks; k++) {
    expand(p, weights + k * TAPS, limits + k * (1 + p->stored), p->outputs - k * 32, table + k * 32 * TABLE);
  }
  for (int32_t k = 0; k < blocks; k++) {
    const int32_t *own = table + k * 32 * TABLE;
    const uint32_t blank = blank_word(own);
    for (int32_t i = 0; i < w->output_height; i++) {
      kernels_m4_bits_image_row(image + i * row, 2 * row, own, output + i * w->output_width * blocks + k,
                                w->output_width, 4 * blocks, blank);
    }
  }
}

#endif
