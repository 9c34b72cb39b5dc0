#include "kernels/cortex_m4/matmul.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#include "kernels/cortex_m4/clamp.h"

typedef void tile_kernel(const int16_t *, const int32_t *, int8_t *, const kernels_m4_block *);

static __attribute__((noinline)) void matmul(const kernels_m4_matmul_params *p, const int8_t *input, int8_t *scratch,
                                             int8_t *output, tile_kernel *kernel, int32_t pair_words) {
  const int32_t depth = p->depth, channels = p->channels;
  int16_t *tile = (int16_t *)(void *)scratch;
  kernels_m4_windows windows = {{input, input, input}, {0, 0, 0}, 1, depth / 4, depth % 4};
  kernels_m4_block block = {{0, 0}, (depth + 3) / 4, channels / 2};
  kernels_m4_block last = block;
  const int32_t *end = p->weights + block.pairs * pair_words;
  int8_t *out = output;
  last.pairs = 1;
  for (int32_t left = p->rows; left > 0; left -= 3) {
    /* A short tile repeats its last row. */
    const int32_t row1 = left > 1 ? 1 : 0, row2 = left > 2 ? 2 : row1;
    windows.row[0] = input;
    windows.row[1] = input + row1 * depth;
    windows.row[2] = input + row2 * depth;
    last.offset[0] = block.offset[0] = row1 * channels;
    last.offset[1] = block.offset[1] = row2 * channels;
    kernels_m4_widen_s8(&windows, tile);
    kernel(tile, p->weights, out, &block);
    if ((channels & 1) != 0) kernel(tile, end, out + channels - 2, &last);
    input += 3 * depth;
    out += 3 * channels;
  }
  if (p->minimum > -128 || p->maximum < 127) {
    kernels_m4_clamp_s8(output, p->rows * channels, p->minimum, p->maximum);
  }
}

#define DEFINE(name, kernel, words)                                                                         \
  void name(const kernels_m4_matmul_params *params, const int8_t *input, int8_t *scratch, int8_t *output) { \
    matmul(params, input, scratch, output, kernel, words((params->depth + 3) / 4));                         \
  }

DEFINE(kernels_m4_matmul_relu_s8, kernels_m4_tile_relu_s8, KERNELS_M4_TILE_WORDS)
DEFINE(kernels_m4_matmul_linear_s8, kernels_m4_tile_linear_s8, KERNELS_M4_TILE_WORDS)
DEFINE(kernels_m4_matmul_wide_relu_s8, kernels_m4_wide_relu_s8, KERNELS_M4_WIDE_WORDS)
DEFINE(kernels_m4_matmul_wide_linear_s8, kernels_m4_wide_linear_s8, KERNELS_M4_WIDE_WORDS)

#else
typedef int kernels_m4_matmul_is_for_cortex_m4; /* C99 has no empty translation unit */
#endif
