#include "kernels/depthwise.h"

#include <string.h>

/* The part of a window that lies within the image, and where its elements are. */
typedef struct {
  kernels_int rows;
  kernels_int columns;
  const int8_t *x; /* its first element, channel 0 */
  kernels_int x_row_step;
  kernels_int x_column_step;
  const KERNELS_FLASH int8_t *weights; /* of that element, output channel 0 */
  kernels_int weights_row_step;
  kernels_int weights_column_step;
} part;

/* Of `size` taps from `at` on, `step` apart: the first and one past the last that lie within [0, length). */
static void clip(kernels_int at, kernels_int size, kernels_int step, kernels_int length, kernels_int *first,
                 kernels_int *end) {
  *first = at < 0 ? (step - 1 - at) / step : 0;
  *end = at + (size - 1) * step < length ? size : (length - at + step - 1) / step;
  if (*end < *first) *end = *first;
}

/* Four neighbouring output channels, multiplier 1: four independent sums keep the multiplier busy. */
static void four(const part *a, kernels_int zero_point, const kernels_output_stage *stage, kernels_int channel,
                 int8_t *output) {
  const kernels_int x_step = a->x_column_step, weights_step = a->weights_column_step;
  int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (kernels_int i = 0; i < a->rows; i++) {
    const int8_t *x = a->x + i * a->x_row_step + channel;
    const KERNELS_FLASH int8_t *w = a->weights + i * a->weights_row_step + channel;
    for (kernels_int j = a->columns; j > 0; j--) {
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
static int32_t one(const part *a, kernels_int zero_point, kernels_int from, kernels_int channel) {
  int32_t sum = 0;
  for (kernels_int i = 0; i < a->rows; i++) {
    const int8_t *x = a->x + i * a->x_row_step + from;
    const KERNELS_FLASH int8_t *w = a->weights + i * a->weights_row_step + channel;
    for (kernels_int j = 0; j < a->columns; j++) {
      sum += (x[j * a->x_column_step] - zero_point) * w[j * a->weights_column_step];
    }
  }
  return sum;
}

static void pixel(const kernels_depthwise_params *p, const part *a, int8_t *output) {
  const kernels_int channels = p->input_channels * p->multiplier;
  /* A copy that no store of an int8 can change spares loads. */
  const kernels_output_stage stage = p->stage;
  kernels_int c = 0;
  if (p->multiplier == 1) {
    for (; c + 3 < channels; c += 4) {
      four(a, p->input_zero_point, &stage, c, output + c);
    }
  }
  for (; c < channels; c++) {
    output[c] = kernels_output(&stage, c, one(a, p->input_zero_point, c / p->multiplier, c));
  }
}

/* Any window: reads the image itself. */
static void convolve(const kernels_depthwise_params *params, const int8_t *input, int8_t *output) {
  const kernels_window *w = &params->window;
  const kernels_int in = params->input_channels, out = in * params->multiplier;
  const kernels_int row = w->input_width * in;
  part a = {0, 0, input, w->dilation_height * row, w->dilation_width * in, params->weights, w->width * out, out};
  for (kernels_int i = 0; i < w->output_height; i++) {
    const kernels_int y = i * w->stride_height - w->pad_top;
    kernels_int top, bottom;
    clip(y, w->height, w->dilation_height, w->input_height, &top, &bottom);
    for (kernels_int j = 0; j < w->output_width; j++) {
      const kernels_int x = j * w->stride_width - w->pad_left;
      kernels_int left, right;
      clip(x, w->width, w->dilation_width, w->input_width, &left, &right);
      a.rows = bottom - top;
      a.columns = right - left;
      a.x = input + (y + top * w->dilation_height) * row + (x + left * w->dilation_width) * in;
      a.weights = params->weights + (top * w->width + left) * out;
      pixel(params, &a, output);
      output += out;
    }
  }
}

/* Copies row `y` of the image to a line: `columns` pixels from column -pad_left on, the zero point outside. */
static void copy_row(const kernels_depthwise_params *p, const int8_t *image, kernels_int y, kernels_int columns,
                     int8_t *line) {
  const kernels_window *w = &p->window;
  const kernels_int channels = p->input_channels;
  kernels_int inside = columns - w->pad_left;
  if (inside > w->input_width) inside = w->input_width;
  if (y < 0 || y >= w->input_height) y = inside = 0;
  const kernels_int before = w->pad_left * channels, middle = inside * channels;
  memset(line, p->input_zero_point, (size_t)before);
  memcpy(line + before, image + y * w->input_width * channels, (size_t)middle);
  memset(line + before + middle, p->input_zero_point, (size_t)(columns * channels - before - middle));
}

/* Two neighbouring pixels at stride 1, which share two of three inputs: three lines by three weights. */
static inline void neighbours(const int8_t *x, kernels_int line, kernels_int step, const kernels_int *k, int32_t *a,
                              int32_t *b) {
  int32_t s = *a, t = *b;
  for (const kernels_int *end = k + 9; k != end; k += 3) {
    const kernels_int k0 = k[0], x1 = x[step], x2 = x[2 * step];
    s += x[0] * k0;
    t += x1 * k0;
    const kernels_int k1 = k[1];
    s += x1 * k1;
    t += x2 * k1;
    const kernels_int k2 = k[2];
    s += x2 * k2;
    t += x[3 * step] * k2;
    x += line;
  }
  *a = s;
  *b = t;
}

/* The same at any stride. */
static inline void apart(const int8_t *x, const int8_t *y, kernels_int line, kernels_int step, const kernels_int *k,
                         int32_t *a, int32_t *b) {
  int32_t s = *a, t = *b;
  for (const kernels_int *end = k + 9; k != end; k += 3) {
    s += x[0] * k[0];
    t += y[0] * k[0];
    s += x[step] * k[1];
    t += y[step] * k[1];
    s += x[2 * step] * k[2];
    t += y[2 * step] * k[2];
    x += line;
    y += line;
  }
  *a = s;
  *b = t;
}

/* A row of outputs from the three lines that its windows lie in, `line` bytes apart, the top one being number `top`.
 * `next` is the distance of neighbouring windows. A channel at a time: its weights and its output stage serve the whole
 * row. An odd last pixel is done with the one before it, again. The zero point goes into the bias. */
__attribute__((noinline)) static void output_row(const kernels_depthwise_params *p, const int8_t *lines,
                                                 kernels_int line, kernels_int top, int8_t *output) {
  const kernels_int channels = p->input_channels, next = p->window.stride_width * channels;
  const kernels_output_stage *stage = &p->stage;
  const kernels_int zero_point = stage->zero_point, minimum = stage->minimum, maximum = stage->maximum;
  const kernels_int pairs = (p->window.output_width + 1) / 2, odd = p->window.output_width % 2;
  for (kernels_int c = 0; c < channels; c++) {
    kernels_int k[9];
    int32_t sum = 0;
    const KERNELS_FLASH int8_t *weights = p->weights + c;
    kernels_int *row = k + 3 * top;
    for (kernels_int i = 3; i > 0; i--) {
      const kernels_int k0 = weights[0], k1 = weights[channels], k2 = weights[2 * channels];
      row[0] = k0;
      row[1] = k1;
      row[2] = k2;
      sum += k0 + k1 + k2;
      weights += 3 * channels;
      row = row == k + 6 ? k : row + 3;
    }
    const kernels_int s = c * stage->channel_step;
    const int32_t multiplier = stage->multiplier[s], left_over = -2 - stage->shift[s];
    const int32_t bias = fixed_add(stage->bias[c], -sum * p->input_zero_point);
    const int8_t *x = lines + c;
    int8_t *to = output + c;
    for (kernels_int i = pairs; i > 0; i--) {
      if (i == odd) {
        x -= next;
        to -= channels;
      }
      int32_t a = bias, b = bias;
      if (next == channels) {
        neighbours(x, line, channels, k, &a, &b);
      } else {
        apart(x, x + next, line, channels, k, &a, &b);
      }
      x += 2 * next;
      if (left_over >= 0) {
        a = fixed_multiply_right(a, multiplier, (unsigned)left_over);
        b = fixed_multiply_right(b, multiplier, (unsigned)left_over);
      } else {
        a = fixed_multiply(a, multiplier, -2 - left_over);
        b = fixed_multiply(b, multiplier, -2 - left_over);
      }
      to[0] = (int8_t)fixed_clamp(fixed_add(a, zero_point), minimum, maximum);
      to[channels] = (int8_t)fixed_clamp(fixed_add(b, zero_point), minimum, maximum);
      to += 2 * channels;
    }
  }
}

/* Windows of 3x3: rows are copied to three lines in turn, with the image's border around them. */
static void convolve_3x3(const kernels_depthwise_params *p, const int8_t *input, int8_t *scratch, int8_t *output) {
  const kernels_window *w = &p->window;
  const kernels_int columns = (w->output_width - 1) * w->stride_width + 3;
  const kernels_int line = columns * p->input_channels;
  kernels_int copied = 0; /* rows, from pad_top before the image on */
  for (kernels_int i = 0; i < w->output_height; i++) {
    const kernels_int first = i * w->stride_height;
    if (copied < first) copied = first;
    for (; copied < first + 3; copied++) {
      copy_row(p, input, copied - w->pad_top, columns, scratch + copied % 3 * line);
    }
    output_row(p, scratch, line, first % 3, output);
    output += w->output_width * p->input_channels;
  }
}

void kernels_depthwise_s8(const kernels_depthwise_params *params, const int8_t *input, int8_t *scratch,
                          int8_t *output) {
  const kernels_window *w = &params->window;
  for (kernels_int n = 0; n < w->batches; n++) {
    if (params->lines) {
      convolve_3x3(params, input, scratch, output);
    } else {
      convolve(params, input, output);
    }
    input += w->input_height * w->input_width * params->input_channels;
    output += w->output_height * w->output_width * params->input_channels * params->multiplier;
  }
}
