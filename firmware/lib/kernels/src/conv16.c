#include "kernels/conv16.h"

/* The sum of one output channel over the window at (y, x); `image` points to the group's first channel. */
static int64_t window_sum(const kernels_conv_s16_params *p, const int16_t *image, int32_t y, int32_t x,
                          const int8_t *weights) {
  const kernels_window *w = &p->window;
  const int32_t depth = p->input_channels / p->groups;
  int64_t sum = 0;
  for (int32_t i = 0; i < w->height; i++) {
    const int32_t row = y + i * w->dilation_height;
    if (row < 0 || row >= w->input_height) continue;
    for (int32_t j = 0; j < w->width; j++) {
      const int32_t column = x + j * w->dilation_width;
      if (column < 0 || column >= w->input_width) continue;
      const int16_t *from = image + (row * w->input_width + column) * p->input_channels;
      const int8_t *by = weights + (i * w->width + j) * depth;
      for (int32_t d = 0; d < depth; d++) sum += from[d] * by[d];
    }
  }
  return sum;
}

void kernels_conv_s16(const kernels_conv_s16_params *params, const int16_t *input, int16_t *output) {
  const kernels_window *w = &params->window;
  const int32_t depth = params->input_channels / params->groups;
  const int32_t per_group = params->output_channels / params->groups;
  const int32_t size = w->height * w->width * depth;
  for (int32_t n = 0; n < w->batches; n++) {
    for (int32_t i = 0; i < w->output_height; i++) {
      const int32_t y = i * w->stride_height - w->pad_top;
      for (int32_t j = 0; j < w->output_width; j++) {
        const int32_t x = j * w->stride_width - w->pad_left;
        for (int32_t c = 0; c < params->output_channels; c++) {
          const int64_t sum = window_sum(params, input + c / per_group * depth, y, x, params->weights + c * size);
          *output++ = kernels_output_s16(&params->stage, c, sum);
        }
      }
    }
    input += w->input_height * w->input_width * params->input_channels;
  }
}
