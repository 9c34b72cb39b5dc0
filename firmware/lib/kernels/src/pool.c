#include "kernels/pool.h"

#include "kernels/fixed_point.h"

/* The part of a window that lies within the image. */
typedef struct {
  int32_t height;
  int32_t width;
  int32_t row_step; /* elements from a row of the image to the next */
  int32_t channels;
} part;

static int8_t average(const part *a, const int8_t *x, const kernels_pool_params *p) {
  const int32_t count = a->height * a->width;
  int32_t sum = 0;
  for (int32_t i = 0; i < a->height; i++) {
    for (int32_t j = 0; j < a->width; j++) {
      sum += x[j * a->channels];
    }
    x += a->row_step;
  }
  sum = (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
  return (int8_t)fixed_clamp(sum, p->minimum, p->maximum);
}

static int8_t maximum(const part *a, const int8_t *x, const kernels_pool_params *p) {
  int32_t best = INT8_MIN;
  for (int32_t i = 0; i < a->height; i++) {
    for (int32_t j = 0; j < a->width; j++) {
      if (x[j * a->channels] > best) best = x[j * a->channels];
    }
    x += a->row_step;
  }
  return (int8_t)fixed_clamp(best, p->minimum, p->maximum);
}

/* Clips [start, start + length) to [0, size): returns the clipped length and moves `start` up. */
static int32_t clip(int32_t *start, int32_t length, int32_t size) {
  const int32_t end = *start + length < size ? *start + length : size;
  if (*start < 0) *start = 0;
  return end - *start;
}

static void pool(const kernels_pool_params *p, const int8_t *input, int8_t *output,
                 int8_t (*reduce)(const part *, const int8_t *, const kernels_pool_params *)) {
  const kernels_window *w = &p->window;
  part a = {0, 0, w->input_width * p->channels, p->channels};
  for (int32_t n = 0; n < w->batches; n++) {
    for (int32_t i = 0; i < w->output_height; i++) {
      int32_t y = i * w->stride_height - w->pad_top;
      a.height = clip(&y, w->height, w->input_height);
      for (int32_t j = 0; j < w->output_width; j++) {
        int32_t x = j * w->stride_width - w->pad_left;
        a.width = clip(&x, w->width, w->input_width);
        const int8_t *first = input + y * a.row_step + x * p->channels;
        for (int32_t c = 0; c < p->channels; c++) {
          *output++ = reduce(&a, first + c, p);
        }
      }
    }
    input += w->input_height * a.row_step;
  }
}

void kernels_average_pool_s8(const kernels_pool_params *params, const int8_t *input, int8_t *output) {
  pool(params, input, output, average);
}

void kernels_max_pool_s8(const kernels_pool_params *params, const int8_t *input, int8_t *output) {
  pool(params, input, output, maximum);
}
