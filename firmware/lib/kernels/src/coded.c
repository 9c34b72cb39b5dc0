#include "kernels/coded.h"

/* The stride of a tile is a constant, with which the store steps on by itself. */
static inline void spread(const int8_t *from, const int8_t *end, kernels_int lanes, kernels_int wide, int8_t *to) {
  if (wide) {
    for (int16_t *out = (int16_t *)(void *)to; from != end; out += lanes) *out = *from++;
  } else {
    for (; from != end; to += lanes) *to = *from++;
  }
}

void kernels_coded_spread(const int8_t *from, kernels_int count, kernels_int lanes, kernels_int wide, int8_t *to) {
  if (lanes == KERNELS_CODED_TILE) {
    spread(from, from + count, KERNELS_CODED_TILE, wide, to);
  } else {
    spread(from, from + count, lanes, wide, to);
  }
}

static void fill(int8_t value, kernels_int count, kernels_int lanes, kernels_int wide, int8_t *to) {
  for (; count > 0; count--) {
    kernels_coded_spread(&value, 1, lanes, wide, to);
    to += lanes << wide;
  }
}

void kernels_coded_gather(const kernels_coded_conv_params *params, const int8_t *image, kernels_int y, kernels_int x,
                          kernels_int lanes, kernels_int wide, int8_t *to) {
  const kernels_window *w = &params->window;
  const kernels_int channels = params->input_channels;
  const kernels_int tap = (channels * lanes) << wide;
  const int8_t zero = (int8_t)params->input_zero_point;
  kernels_int row = y * w->stride_height - w->pad_top;
  for (kernels_int i = 0; i < w->height; i++, row += w->dilation_height) {
    const int8_t *line = image + row * w->input_width * channels;
    kernels_int column = x * w->stride_width - w->pad_left;
    const int inside = row >= 0 && row < w->input_height;
    if (inside && w->dilation_width == 1 && column >= 0 && column + w->width <= w->input_width) {
      kernels_coded_spread(line + column * channels, w->width * channels, lanes, wide, to);
      to += w->width * tap;
      continue;
    }
    for (kernels_int j = 0; j < w->width; j++, column += w->dilation_width, to += tap) {
      if (inside && column >= 0 && column < w->input_width) {
        kernels_coded_spread(line + column * channels, channels, lanes, wide, to);
      } else {
        fill(zero, channels, lanes, wide, to);
      }
    }
  }
}
