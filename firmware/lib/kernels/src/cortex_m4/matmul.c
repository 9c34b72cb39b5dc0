#include "kernels/cortex_m4/matmul.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#include "kernels/cortex_m4/clamp.h"

typedef void tile_kernel(const int16_t *, const int32_t *, int8_t *, const kernels_m4_block *);

static __attribute__((noinline)) void matmul(const kernels_m4_matmul_params *p, const int8_t *input, int8_t *scratch,
                                             int8_t *output, tile_kernel *kernel, int32_t pair_words) {
  const int32_t depth = p->depth, channels = p->channels;
  int16_t *tile = (int16_t *)(void *)scratch;
  kernels_m4_windows windows = {{input, input + depth, input + 2 * depth}, {0, 0, 0}, 1, depth / 4, depth % 4};
  kernels_m4_block block = {{channels, 2 * channels}, (depth + 3) / 4};
  int8_t *out = output;
  for (int32_t left = p->rows; left > 0; left -= 3) {
    if (left < 3) {
      /* A short tile repeats its last row. */
      windows.row[2] = windows.row[left - 1];
      block.offset[1] = (left - 1) * channels;
      if (left == 1) {
        windows.row[1] = windows.row[0];
        block.offset[0] = 0;
      }
    }
    kernels_m4_widen_s8(&windows, tile);
    kernel(tile, p->weights, out, &block);
    if ((channels & 1) != 0) {
      kernel(tile, p->weights + channels / 2 * pair_words, out + channels - 2, &block);
    }
    for (int i = 0; i < 3; i++) windows.row[i] += 3 * depth;
    out += 3 * channels;
  }
  if (p->minimum > -128 || p->maximum < 127) {
    kernels_m4_clamp_s8(output, p->rows * channels, p->minimum, p->maximum);
  }
}

#define DEFINE(name, kernel, block, pair)                                                                   \
  void name(const kernels_m4_matmul_params *params, const int8_t *input, int8_t *scratch, int8_t *output) { \
    matmul(params, input, scratch, output, kernel, (block) * ((params->depth + 3) / 4) + (pair));           \
  }

DEFINE(kernels_m4_matmul_relu_s8, kernels_m4_tile_relu_s8, KERNELS_M4_TILE_BLOCK, KERNELS_M4_PAIR_RELU)
DEFINE(kernels_m4_matmul_linear_s8, kernels_m4_tile_linear_s8, KERNELS_M4_TILE_BLOCK, KERNELS_M4_PAIR_LINEAR)
DEFINE(kernels_m4_matmul_wide_relu_s8, kernels_m4_wide_relu_s8, KERNELS_M4_WIDE_BLOCK, KERNELS_M4_PAIR_RELU)
DEFINE(kernels_m4_matmul_wide_linear_s8, kernels_m4_wide_linear_s8, KERNELS_M4_WIDE_BLOCK, KERNELS_M4_PAIR_LINEAR)

#else
typedef int kernels_m4_matmul_is_for_cortex_m4; /* C99 has no empty translation unit */
#endif
