#include "kernels/coded.h"

void kernels_coded_spread(const int8_t *from, kernels_int count, int8_t *to) {
  for (const int8_t *end = from + count; from != end; to += KERNELS_CODED_TILE) *to = *from++;
}

static int8_t *fill(int8_t value, kernels_int count, int8_t *to) {
  for (; count > 0; count--, to += KERNELS_CODED_TILE) *to = value;
  return to;
}

void kernels_coded_gather(const kernels_coded_conv_params *params, const int8_t *image, kernels_int y, kernels_int x,
                          int8_t *to) {
  const kernels_window *w = &params->window;
  const kernels_int channels = params->input_channels;
  const int8_t zero = (int8_t)params->input_zero_point;
  kernels_int row = y * w->stride_height - w->pad_top;
  for (kernels_int i = 0; i < w->height; i++, row += w->dilation_height) {
    kernels_int column = x * w->stride_width - w->pad_left;
    if (row < 0 || row >= w->input_height) {
      to = fill(zero, w->width * channels, to);
      continue;
    }
    const int8_t *line = image + row * w->input_width * channels;
    for (kernels_int j = 0; j < w->width; j++, column += w->dilation_width) {
      if (column < 0 || column >= w->input_width) {
        to = fill(zero, channels, to);
      } else {
        kernels_coded_spread(line + column * channels, channels, to);
        to += channels * KERNELS_CODED_TILE;
      }
    }
  }
}
