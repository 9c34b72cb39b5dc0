#include "kernels/cortex_m4/int4.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* Bytes of a group of eight inputs of one pixel. */
#define GROUP 16
#define NIBBLES 0xF0F0F0F0u

/* Adds the products of a pixel's eight inputs, `at` bytes from `in` on, to `sum`. One piece of assembly, since
 * compilers load word by word. */
#define EIGHT(sum, in, at)                                                                                        \
  do {                                                                                                            \
    int32_t x, y;                                                                                                 \
    __asm__(                                                                                                      \
        "ldrd %1, %2, [%3, %8]\n\t"                                                                               \
        "smlad %0, %1, %4, %0\n\t"                                                                                \
        "smlad %0, %2, %5, %0\n\t"                                                                                \
        "ldrd %1, %2, [%3, %9]\n\t"                                                                               \
        "smlad %0, %1, %6, %0\n\t"                                                                                \
        "smlad %0, %2, %7, %0"                                                                                    \
        : "+&r"(sum), "=&r"(x), "=&r"(y)                                                                          \
        : "r"(in), "r"(w0), "r"(w1), "r"(w2), "r"(w3), "i"(at), "i"((at) + 8), "m"(*(const int32_t(*)[16])(in))); \
  } while (0)

/* The lower halfwords of two words, and the upper ones. */
INLINE int32_t lower(int32_t first, int32_t second) {
  int32_t result;
  __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(first), "r"(second));
  return result;
}

INLINE int32_t upper(int32_t first, int32_t second) {
  int32_t result;
  __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(result) : "r"(second), "r"(first));
  return result;
}

/* Eight inputs as four pairs. */
INLINE void pair(uint32_t first, uint32_t second, int32_t *to) {
  const int32_t a = kernels_m4_sxtb16(first), b = kernels_m4_sxtb16(second);
  const int32_t c = kernels_m4_sxtb16_odd(first), d = kernels_m4_sxtb16_odd(second);
  to[0] = lower(a, b);
  to[1] = upper(a, b);
  to[2] = lower(c, d);
  to[3] = upper(c, d);
}

/* A row as pairs, `pixels` of them side by side; the incomplete group comes first, filled up with zeros. */
static __attribute__((noinline)) void arrange(const int8_t *row, int32_t depth, int32_t pixels, int8_t *to) {
  const int32_t first = ((depth + 7) & 7) + 1;
  uint32_t words[2] = {0, 0};
  memcpy((int8_t *)words + 8 - first, row, (size_t)first);
  pair(words[0], words[1], (int32_t *)(void *)to);
  for (const int8_t *end = row + depth, *at = row + first; at != end; at += 8) {
    memcpy(words, at, 8);
    to += pixels * GROUP;
    pair(words[0], words[1], (int32_t *)(void *)to);
  }
}

/* All channels of `count` of the tile's pixels. */
INLINE void pixels_of(const kernels_coded_weights *w, int32_t tile, const int8_t *x, int32_t count, int8_t *output) {
  const int32_t depth = w->depth, channels = w->channels, groups = (depth + 7) >> 3;
  const int32_t first = ((depth + 7) & 7) + 1, bytes = (first * 4 + 7) >> 3;
  const uint8_t *stream = w->stream + KERNELS_CODED_PAD;
  for (int32_t c = 0; c < channels; c++) {
    const int32_t *in = (const int32_t *)(const void *)x;
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    uint32_t word = kernels_coded_word(stream + bytes - 4) & ~0u << (4 * (8 - first));
    stream += bytes;
    for (int32_t left = groups;;) {
      const uint32_t even = word << 4 & NIBBLES, odd = word & NIBBLES;
      const int32_t w0 = kernels_m4_sxtb16(even), w1 = kernels_m4_sxtb16_odd(even);
      const int32_t w2 = kernels_m4_sxtb16(odd), w3 = kernels_m4_sxtb16_odd(odd);
      EIGHT(s0, in, 0);
      if (tile > 1) {
        EIGHT(s1, in, 16);
        EIGHT(s2, in, 32);
        EIGHT(s3, in, 48);
      }
      in += 4 * tile;
      if (--left == 0) break;
      word = kernels_coded_word(stream);
      stream += 4;
    }
    {
      const int32_t sums[KERNELS_CODED_TILE] = {s0 >> 4, s1 >> 4, s2 >> 4, s3 >> 4};
      kernels_coded_outputs(0, &w->stage, c, sums, count, channels, output + c);
    }
  }
}

static __attribute__((noinline)) void four(const kernels_coded_weights *w, const int8_t *x, int32_t count,
                                           int8_t *output) {
  pixels_of(w, KERNELS_CODED_TILE, x, count, output);
}

void kernels_m4_int4_row_s8(const kernels_coded_matmul_params *params, const int8_t *input, int8_t *scratch,
                            int8_t *output) {
  arrange(input, params->weights.depth, 1, scratch);
  pixels_of(&params->weights, 1, scratch, 1, output);
}

void kernels_m4_int4_matmul_s8(const kernels_coded_matmul_params *params, const int8_t *input, int8_t *scratch,
                               int8_t *output) {
  const kernels_coded_weights *w = &params->weights;
  for (int32_t left = params->rows; left > 0; left -= KERNELS_CODED_TILE) {
    const int32_t count = left < KERNELS_CODED_TILE ? left : KERNELS_CODED_TILE;
    for (int32_t p = 0; p < count; p++, input += w->depth) {
      arrange(input, w->depth, KERNELS_CODED_TILE, scratch + p * GROUP);
    }
    four(w, scratch, count, output);
    output += count * w->channels;
  }
}

void kernels_m4_int4_conv_s8(const kernels_coded_conv_params *params, const int8_t *input, int8_t *scratch,
                             int8_t *output) {
  const kernels_coded_weights *w = &params->weights;
  const kernels_window *win = &params->window;
  int8_t *row = scratch + KERNELS_CODED_TILE * GROUP * ((w->depth + 7) >> 3);
  for (int32_t n = 0; n < win->batches; n++) {
    int32_t y = 0, x = 0;
    for (int32_t left = win->output_height * win->output_width; left > 0; left -= KERNELS_CODED_TILE) {
      const int32_t count = left < KERNELS_CODED_TILE ? left : KERNELS_CODED_TILE;
      for (int32_t p = 0; p < count; p++) {
        kernels_coded_gather(params, input, y, x, 1, 0, row);
        arrange(row, w->depth, KERNELS_CODED_TILE, scratch + p * GROUP);
        if (++x == win->output_width) {
          x = 0;
          y++;
        }
      }
      four(w, scratch, count, output);
      output += count * w->channels;
    }
    input += win->input_height * win->input_width * params->input_channels;
  }
}

#else
typedef int kernels_m4_int4_is_for_cortex_m4; /* C99 has no empty translation unit */
#endif
