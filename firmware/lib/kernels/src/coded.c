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

static __attribute__((noinline)) void fill(int8_t value, kernels_int count, kernels_int lanes, kernels_int wide,
                                           int8_t *to) {
  for (; count > 0; count--) {
    kernels_coded_spread(&value, 1, lanes, wide, to);
    to += lanes << wide;
  }
}

void kernels_coded_gather(const kernels_coded_conv_params *params, const int8_t *image, kernels_int y, kernels_int x,
                          kernels_int lanes, kernels_int wide, int8_t *to) {
  const kernels_window *w = &params->window;
  const kernels_int channels = params->input_channels;
  const int8_t zero = (int8_t)params->input_zero_point;
  const kernels_int left = x * w->stride_width - w->pad_left;
  /* A row of a window that lies within the image is one run of bytes, otherwise every tap. */
  const int whole = w->dilation_width == 1 && left >= 0 && left + w->width <= w->input_width;
  const kernels_int run = whole ? w->width * channels : channels, step = whole ? w->width : 1;
  kernels_int row = y * w->stride_height - w->pad_top;
  for (kernels_int i = 0; i < w->height; i++, row += w->dilation_height) {
    kernels_int column = left;
    for (kernels_int j = 0; j < w->width; j += step, column += w->dilation_width) {
      if (row < 0 || row >= w->input_height || column < 0 || column >= w->input_width) {
        fill(zero, run, lanes, wide, to);
      } else {
        kernels_coded_spread(image + (row * w->input_width + column) * channels, run, lanes, wide, to);
      }
      to += (run * lanes) << wide;
    }
  }
}
