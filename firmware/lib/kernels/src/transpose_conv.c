#include "kernels/transpose_conv.h"

/* The taps of one dimension that reach an output: tap, tap + stride, ... from inputs at, at - 1, ... */
typedef struct {
  int32_t tap;
  int32_t at;
  int32_t count;
} reach;

/* `place` is the output's index with the padding added, `size` the window's length. */
static reach reach_of(int32_t place, int32_t stride, int32_t size, int32_t length) {
  reach r = {place % stride, place / stride, 0};
  if (r.at >= length) {
    r.tap += (r.at - length + 1) * stride;
    r.at = length - 1;
  }
  if (r.tap < size) {
    r.count = (size - r.tap + stride - 1) / stride;
    if (r.count > r.at + 1) r.count = r.at + 1;
  }
  return r;
}

static int32_t sum_of(const kernels_transpose_conv_params *p, const reach *y, const reach *x, const int8_t *image,
                      const KERNELS_FLASH int8_t *weights) {
  const kernels_window *w = &p->window;
  const int32_t depth = p->input_channels, zero_point = p->input_zero_point;
  int32_t sum = 0;
  for (int32_t i = 0; i < y->count; i++) {
    const int8_t *from = image + ((y->at - i) * w->input_width + x->at) * depth;
    const KERNELS_FLASH int8_t *by = weights + ((y->tap + i * w->stride_height) * w->width + x->tap) * depth;
    for (int32_t j = 0; j < x->count; j++) {
      for (int32_t d = 0; d < depth; d++) {
        sum += (from[d] - zero_point) * by[d];
      }
      from -= depth;
      by += w->stride_width * depth;
    }
  }
  return sum;
}

void kernels_transpose_conv_s8(const kernels_transpose_conv_params *params, const int8_t *input, int8_t *output) {
  const kernels_window *w = &params->window;
  const int32_t size = w->height * w->width * params->input_channels;
  /* A copy that no store of an int8 can change spares loads. */
  const kernels_output_stage stage = params->stage;
  for (int32_t n = 0; n < w->batches; n++) {
    for (int32_t i = 0; i < w->output_height; i++) {
      const reach y = reach_of(i + w->pad_top, w->stride_height, w->height, w->input_height);
      for (int32_t j = 0; j < w->output_width; j++) {
        const reach x = reach_of(j + w->pad_left, w->stride_width, w->width, w->input_width);
        for (int32_t c = 0; c < params->output_channels; c++) {
          *output++ = kernels_output(&stage, c, sum_of(params, &y, &x, input, params->weights + c * size));
        }
      }
    }
    input += w->input_height * w->input_width * params->input_channels;
  }
}

static int64_t sum_of_s16(const kernels_transpose_conv_s16_params *p, const reach *y, const reach *x,
                          const int16_t *image, const KERNELS_FLASH int8_t *weights) {
  const kernels_window *w = &p->window;
  const int32_t depth = p->input_channels;
  int64_t sum = 0;
  for (int32_t i = 0; i < y->count; i++) {
    const int16_t *from = image + ((y->at - i) * w->input_width + x->at) * depth;
    const KERNELS_FLASH int8_t *by = weights + ((y->tap + i * w->stride_height) * w->width + x->tap) * depth;
    for (int32_t j = 0; j < x->count; j++) {
      for (int32_t d = 0; d < depth; d++) sum += (int32_t)from[d] * by[d];
      from -= depth;
      by += w->stride_width * depth;
    }
  }
  return sum;
}

void kernels_transpose_conv_s16(const kernels_transpose_conv_s16_params *params, const int16_t *input,
                                int16_t *output) {
  const kernels_window *w = &params->window;
  const int32_t size = w->height * w->width * params->input_channels;
  for (int32_t n = 0; n < w->batches; n++) {
    for (int32_t i = 0; i < w->output_height; i++) {
      const reach y = reach_of(i + w->pad_top, w->stride_height, w->height, w->input_height);
      for (int32_t j = 0; j < w->output_width; j++) {
        const reach x = reach_of(j + w->pad_left, w->stride_width, w->width, w->input_width);
        for (int32_t c = 0; c < params->output_channels; c++) {
          const int64_t sum = sum_of_s16(params, &y, &x, input, params->weights + c * size);
          *output++ = kernels_output_s16(&params->stage, c, sum);
        }
      }
    }
    input += w->input_height * w->input_width * params->input_channels;
  }
}
