#include "kernels/depthwise.h"

/* The part of a window that lies within the image, and where its elements are. */
typedef struct {
  int32_t rows;
  int32_t columns;
  const int8_t *x; /* its first element, channel 0 */
  int32_t x_row_step;
  int32_t x_column_step;
  const int8_t *weights; /* of that element, output channel 0 */
  int32_t weights_row_step;
  int32_t weights_column_step;
} part;

/* Of `size` taps from `at` on, `step` apart: the first and one past the last that lie within [0, length). */
static void clip(int32_t at, int32_t size, int32_t step, int32_t length, int32_t *first, int32_t *end) {
  *first = at < 0 ? (step - 1 - at) / step : 0;
  *end = at + (size - 1) * step < length ? size : (length - at + step - 1) / step;
  if (*end < *first) *end = *first;
}

/* Four neighbouring output channels, multiplier 1: four independent sums keep the multiplier busy. */
static void four(const part *a, int32_t zero_point, const kernels_output_stage *stage, int32_t channel,
                 int8_t *output) {
  const int32_t x_step = a->x_column_step, weights_step = a->weights_column_step;
  int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (int32_t i = 0; i < a->rows; i++) {
    const int8_t *x = a->x + i * a->x_row_step + channel;
    const int8_t *w = a->weights + i * a->weights_row_step + channel;
    for (int32_t j = a->columns; j > 0; j--) {
      s0 += (x[0] - zero_point) * w[0];
      s1 += (x[1] - zero_point) * w[1];
      s2 += (x[2] - zero_point) * w[2];
      s3 += (x[3] - zero_point) * w[3];
      x += x_step;
      w += weights_step;
    }
  }
  output[0] = kernels_output(stage, channel, s0);
  output[1] = kernels_output(stage, channel + 1, s1);
  output[2] = kernels_output(stage, channel + 2, s2);
  output[3] = kernels_output(stage, channel + 3, s3);
}

/* The sum of one output channel that reads input channel `from`. */
static int32_t one(const part *a, int32_t zero_point, int32_t from, int32_t channel) {
  int32_t sum = 0;
  for (int32_t i = 0; i < a->rows; i++) {
    const int8_t *x = a->x + i * a->x_row_step + from;
    const int8_t *w = a->weights + i * a->weights_row_step + channel;
    for (int32_t j = 0; j < a->columns; j++) {
      sum += (x[j * a->x_column_step] - zero_point) * w[j * a->weights_column_step];
    }
  }
  return sum;
}

static void pixel(const kernels_depthwise_params *p, const part *a, int8_t *output) {
  const int32_t channels = p->input_channels * p->multiplier;
  /* A copy that no store of an int8 can change spares loads. */
  const kernels_output_stage stage = p->stage;
  int32_t c = 0;
  if (p->multiplier == 1) {
    for (; c + 3 < channels; c += 4) {
      four(a, p->input_zero_point, &stage, c, output + c);
    }
  }
  for (; c < channels; c++) {
    output[c] = kernels_output(&stage, c, one(a, p->input_zero_point, c / p->multiplier, c));
  }
}

void kernels_depthwise_s8(const kernels_depthwise_params *params, const int8_t *input, int8_t *output) {
  const kernels_window *w = &params->window;
  const int32_t in = params->input_channels, out = in * params->multiplier;
  const int32_t row = w->input_width * in;
  part a = {0, 0, input, w->dilation_height * row, w->dilation_width * in, params->weights, w->width * out, out};
  for (int32_t n = 0; n < w->batches; n++) {
    for (int32_t i = 0; i < w->output_height; i++) {
      const int32_t y = i * w->stride_height - w->pad_top;
      int32_t top, bottom;
      clip(y, w->height, w->dilation_height, w->input_height, &top, &bottom);
      for (int32_t j = 0; j < w->output_width; j++) {
        const int32_t x = j * w->stride_width - w->pad_left;
        int32_t left, right;
        clip(x, w->width, w->dilation_width, w->input_width, &left, &right);
        a.rows = bottom - top;
        a.columns = right - left;
        a.x = input + (y + top * w->dilation_height) * row + (x + left * w->dilation_width) * in;
        a.weights = params->weights + (top * w->width + left) * out;
        pixel(params, &a, output);
        output += out;
      }
    }
    input += w->input_height * row;
  }
}
