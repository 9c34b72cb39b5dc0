#include "kernels/conv.h"

#include <string.h>

#include "kernels/matmul.h"

/* Columns `left` to `left + width` of a window's row, of all input channels and without dilation: one copy, with the
 * zero point on either side. */
static void gather_row(const kernels_conv_params *p, const int8_t *row, kernels_int x, int8_t *to) {
  const kernels_int channels = p->input_channels;
  kernels_int before = x < 0 ? -x : 0;
  kernels_int end = p->window.input_width - x;
  if (before > p->window.width) before = p->window.width;
  if (end > p->window.width) end = p->window.width;
  if (end < before) end = before;
  memset(to, p->input_zero_point, (size_t)(before * channels));
  memcpy(to + before * channels, row + (x + before) * channels, (size_t)((end - before) * channels));
  memset(to + end * channels, p->input_zero_point, (size_t)((p->window.width - end) * channels));
}

/* The same one column at a time: dilated windows, and groups. */
static void gather_columns(const kernels_conv_params *p, const int8_t *row, kernels_int x, kernels_int channels,
                           int8_t *to) {
  for (kernels_int i = 0; i < p->window.width; i++) {
    if (x >= 0 && x < p->window.input_width) {
      memcpy(to, row + x * p->input_channels, (size_t)channels);
    } else {
      memset(to, p->input_zero_point, (size_t)channels);
    }
    to += channels;
    x += p->window.dilation_width;
  }
}

/* Copies the window whose first element is (y, x) of one image, in the order of the weights. `image` points to the
 * group's first channel. */
static void gather(const kernels_conv_params *p, const int8_t *image, kernels_int y, kernels_int x, int8_t *to) {
  const kernels_window *w = &p->window;
  const kernels_int channels = p->input_channels / p->groups;
  const int simple = p->groups == 1 && w->dilation_width == 1;
  for (kernels_int i = 0; i < w->height; i++) {
    if (y < 0 || y >= w->input_height) {
      memset(to, p->input_zero_point, (size_t)(w->width * channels));
    } else if (simple) {
      gather_row(p, image + y * w->input_width * channels, x, to);
    } else {
      gather_columns(p, image + y * w->input_width * p->input_channels, x, channels, to);
    }
    to += w->width * channels;
    y += w->dilation_height;
  }
}

/* One group of one image. Windows are gathered in pairs, so that every weight that is read serves two pixels. */
static void convolve(const kernels_conv_params *p, kernels_int group, const int8_t *image, int8_t *scratch,
                     int8_t *output) {
  const kernels_window *w = &p->window;
  const kernels_int depth = w->height * w->width * (p->input_channels / p->groups);
  const kernels_int channels = p->output_channels / p->groups;
  const kernels_int first = group * channels;
  int8_t *pending = 0;
  image += group * (p->input_channels / p->groups);
  output += first;
  for (kernels_int y = 0; y < w->output_height; y++) {
    for (kernels_int x = 0; x < w->output_width; x++) {
      gather(p, image, y * w->stride_height - w->pad_top, x * w->stride_width - w->pad_left,
             pending ? scratch + depth : scratch);
      if (pending) {
        kernels_two_rows_s8(scratch, scratch + depth, depth, p->weights, &p->stage, first, channels, pending, output);
        pending = 0;
      } else {
        pending = output;
      }
      output += p->output_channels;
    }
  }
  if (pending) {
    kernels_one_row_s8(scratch, depth, p->weights, &p->stage, first, channels, pending);
  }
}

void kernels_conv_s8(const kernels_conv_params *params, const int8_t *input, int8_t *scratch, int8_t *output) {
  const kernels_window *w = &params->window;
  for (kernels_int n = 0; n < w->batches; n++) {
    for (kernels_int group = 0; group < params->groups; group++) {
      convolve(params, group, input, scratch, output);
    }
    input += w->input_height * w->input_width * params->input_channels;
    output += w->output_height * w->output_width * params->output_channels;
  }
}
