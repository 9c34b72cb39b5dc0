#include "kernels/conv16.h"

/* The taps of one dimension that lie within the image: the first, and how many. */
typedef struct {
  int32_t first;
  int32_t count;
} taps;

/* Of `size` taps from `at` on, `step` apart: those within [0, length). */
static taps within(int32_t at, int32_t size, int32_t step, int32_t length) {
  taps t;
  int32_t end = at + (size - 1) * step < length ? size : (length - at + step - 1) / step;
  t.first = at < 0 ? (step - 1 - at) / step : 0;
  t.count = end > t.first ? end - t.first : 0;
  return t;
}

/* The sum of one output channel; `from` is the first element within the image, `by` its weight. */
static int64_t window_sum(const kernels_conv_s16_params *p, const taps *y, const taps *x, const int16_t *from,
                          const KERNELS_FLASH int8_t *by) {
  const kernels_window *w = &p->window;
  const int32_t depth = p->input_channels / p->groups;
  const int32_t step = w->dilation_width * p->input_channels;
  int64_t sum = 0;
  for (int32_t i = 0; i < y->count; i++) {
    const int16_t *at = from;
    const KERNELS_FLASH int8_t *weights = by;
    for (int32_t j = 0; j < x->count; j++) {
      for (int32_t d = 0; d < depth; d++) sum += (int64_t)at[d] * weights[d];
      at += step;
      weights += depth;
    }
    from += w->dilation_height * w->input_width * p->input_channels;
    by += w->width * depth;
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
      const int32_t top = i * w->stride_height - w->pad_top;
      const taps y = within(top, w->height, w->dilation_height, w->input_height);
      for (int32_t j = 0; j < w->output_width; j++) {
        const int32_t left = j * w->stride_width - w->pad_left;
        const taps x = within(left, w->width, w->dilation_width, w->input_width);
        const int32_t row = top + y.first * w->dilation_height, column = left + x.first * w->dilation_width;
        const KERNELS_FLASH int8_t *weights = params->weights + (y.first * w->width + x.first) * depth;
        const int32_t at = (row * w->input_width + column) * params->input_channels;
        for (int32_t group = 0; group < params->groups; group++) {
          for (int32_t c = group * per_group; c < (group + 1) * per_group; c++) {
            /* Without a tap within the image nothing is read. */
            const int64_t sum = window_sum(params, &y, &x, input + at + group * depth, weights + c * size);
            *output++ = kernels_output_s16(&params->stage, c, sum);
          }
        }
      }
    }
    input += w->input_height * w->input_width * params->input_channels;
  }
}
