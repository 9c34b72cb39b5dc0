#include "kernels/depthwise.h"

/* A window's place in an image. */
typedef struct {
  int32_t first;    /* offset of its first element; outside of the image where the window reaches beyond it */
  int32_t row_step; /* bytes from a row of the window to the next */
  int32_t column_step;
  int32_t y; /* coordinates of the first element */
  int32_t x;
} place;

static int inside(const kernels_window *w, const place *at, int32_t i, int32_t j) {
  const int32_t y = at->y + i * w->dilation_height;
  const int32_t x = at->x + j * w->dilation_width;
  return y >= 0 && y < w->input_height && x >= 0 && x < w->input_width;
}

/* Four neighbouring output channels of a window that lies within the image, multiplier 1. */
static inline void interior4(const kernels_depthwise_params *p, const kernels_output_stage *stage, const int8_t *x,
                             const place *at, int32_t channel, int8_t *output) {
  const int32_t channels = p->input_channels, width = p->window.width;
  const int32_t column_step = at->column_step, row_step = at->row_step - width * column_step;
  const int8_t *weights = p->weights + channel;
  int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (int32_t i = p->window.height; i > 0; i--) {
    for (int32_t j = width; j > 0; j--) {
      s0 += x[0] * weights[0];
      s1 += x[1] * weights[1];
      s2 += x[2] * weights[2];
      s3 += x[3] * weights[3];
      x += column_step;
      weights += channels;
    }
    x += row_step;
  }
  output[0] = kernels_output(stage, channel, s0);
  output[1] = kernels_output(stage, channel + 1, s1);
  output[2] = kernels_output(stage, channel + 2, s2);
  output[3] = kernels_output(stage, channel + 3, s3);
}

/* The same for a window that reaches beyond it: there the zero point is read. */
static void border4(const kernels_depthwise_params *p, const int8_t *image, const place *at, int32_t channel,
                    int8_t *output) {
  const int8_t zero = (int8_t)p->input_zero_point;
  const int8_t padding[4] = {zero, zero, zero, zero};
  const int8_t *weights = p->weights + channel;
  int32_t offset = at->first + channel;
  int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (int32_t i = 0; i < p->window.height; i++) {
    for (int32_t j = 0; j < p->window.width; j++) {
      const int8_t *x = inside(&p->window, at, i, j) ? image + offset + j * at->column_step : padding;
      s0 += x[0] * weights[0];
      s1 += x[1] * weights[1];
      s2 += x[2] * weights[2];
      s3 += x[3] * weights[3];
      weights += p->input_channels;
    }
    offset += at->row_step;
  }
  output[0] = kernels_output(&p->stage, channel, s0);
  output[1] = kernels_output(&p->stage, channel + 1, s1);
  output[2] = kernels_output(&p->stage, channel + 2, s2);
  output[3] = kernels_output(&p->stage, channel + 3, s3);
}

/* Sum of one output channel, for any window and multiplier. */
static int32_t one(const kernels_depthwise_params *p, const int8_t *image, const place *at, int32_t channel,
                   int interior) {
  const int8_t *weights = p->weights + channel;
  int32_t offset = at->first + channel / p->multiplier;
  int32_t sum = 0;
  for (int32_t i = 0; i < p->window.height; i++) {
    for (int32_t j = 0; j < p->window.width; j++) {
      const int read = interior || inside(&p->window, at, i, j);
      const int32_t x = read ? image[offset + j * at->column_step] : p->input_zero_point;
      sum += x * weights[0];
      weights += p->input_channels * p->multiplier;
    }
    offset += at->row_step;
  }
  return sum;
}

static void pixel(const kernels_depthwise_params *p, const int8_t *image, const place *at, int interior,
                  int8_t *output) {
  const int32_t channels = p->input_channels * p->multiplier;
  int32_t c = 0;
  if (p->multiplier == 1) {
    /* A copy that no store of an int8 can change spares loads. */
    const kernels_output_stage stage = p->stage;
    const int32_t end = channels & ~3;
    if (interior) {
      for (; c < end; c += 4) {
        interior4(p, &stage, image + at->first + c, at, c, output + c);
      }
    } else {
      for (; c < end; c += 4) {
        border4(p, image, at, c, output + c);
      }
    }
  }
  for (; c < channels; c++) {
    output[c] = kernels_output(&p->stage, c, one(p, image, at, c, interior));
  }
}

void kernels_depthwise_s8(const kernels_depthwise_params *params, const int8_t *input, int8_t *output) {
  const kernels_window *w = &params->window;
  const int32_t row = w->input_width * params->input_channels;
  const int32_t last_y = (w->height - 1) * w->dilation_height;
  const int32_t last_x = (w->width - 1) * w->dilation_width;
  place at = {0, w->dilation_height * row, w->dilation_width * params->input_channels, 0, 0};
  for (int32_t n = 0; n < w->batches; n++) {
    for (int32_t y = 0; y < w->output_height; y++) {
      at.y = y * w->stride_height - w->pad_top;
      for (int32_t x = 0; x < w->output_width; x++) {
        at.x = x * w->stride_width - w->pad_left;
        at.first = at.y * row + at.x * params->input_channels;
        const int interior =
            at.y >= 0 && at.x >= 0 && at.y + last_y < w->input_height && at.x + last_x < w->input_width;
        pixel(params, input, &at, interior, output);
        output += params->input_channels * params->multiplier;
      }
    }
    input += w->input_height * row;
  }
}
