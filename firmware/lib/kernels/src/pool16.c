#include "kernels/pool16.h"

#include "kernels/fixed_point.h"

/* The part of a window that lies within the image. */
typedef struct {
  int32_t height;
  int32_t width;
  int32_t row_step; /* elements from a row of the image to the next */
  int32_t channels;
} part;

static int32_t average(const part *a, const int16_t *x) {
  const int32_t count = a->height * a->width;
  int32_t sum = 0;
  for (int32_t i = 0; i < a->height; i++) {
    for (int32_t j = 0; j < a->width; j++) sum += x[i * a->row_step + j * a->channels];
  }
  return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
}

static int32_t maximum(const part *a, const int16_t *x) {
  int32_t best = INT16_MIN;
  for (int32_t i = 0; i < a->height; i++) {
    for (int32_t j = 0; j < a->width; j++) {
      const int32_t value = x[i * a->row_step + j * a->channels];
      if (value > best) best = value;
    }
  }
  return best;
}

/* Clips [start, start + length) to [0, size): returns the clipped length and moves `start` up. */
static int32_t clip(int32_t *start, int32_t length, int32_t size) {
  const int32_t end = *start + length < size ? *start + length : size;
  if (*start < 0) *start = 0;
  return end - *start;
}

static void pool(const kernels_pool_params *p, const int16_t *input, int16_t *output,
                 int32_t (*reduce)(const part *, const int16_t *)) {
  const kernels_window *w = &p->window;
  part a = {0, 0, w->input_width * p->channels, p->channels};
  for (int32_t n = 0; n < w->batches; n++) {
    for (int32_t i = 0; i < w->output_height; i++) {
      int32_t y = i * w->stride_height - w->pad_top;
      a.height = clip(&y, w->height, w->input_height);
      for (int32_t j = 0; j < w->output_width; j++) {
        int32_t x = j * w->stride_width - w->pad_left;
        a.width = clip(&x, w->width, w->input_width);
        const int16_t *first = input + y * a.row_step + x * p->channels;
        for (int32_t c = 0; c < p->channels; c++) {
          *output++ = (int16_t)fixed_clamp(reduce(&a, first + c), p->minimum, p->maximum);
        }
      }
    }
    input += w->input_height * a.row_step;
  }
}

void kernels_average_pool_s16(const kernels_pool_params *params, const int16_t *input, int16_t *output) {
  pool(params, input, output, average);
}

void kernels_max_pool_s16(const kernels_pool_params *params, const int16_t *input, int16_t *output) {
  pool(params, input, output, maximum);
}

void kernels_mean_s16(const kernels_mean_params *params, const int16_t *input, int16_t *output) {
  const kernels_mean_params *p = params;
  const int32_t inner = p->reduced[1] * p->kept[2];
  const int32_t outer = p->kept[1] * inner;
  for (int32_t a = 0; a < p->kept[0]; a++) {
    for (int32_t b = 0; b < p->kept[1]; b++) {
      for (int32_t c = 0; c < p->kept[2]; c++) {
        int32_t sum = p->offset;
        for (int32_t i = 0; i < p->reduced[0]; i++) {
          for (int32_t j = 0; j < p->reduced[1]; j++) sum += input[i * outer + b * inner + j * p->kept[2] + c];
        }
        sum = fixed_add(fixed_multiply(sum, p->multiplier, p->shift), p->zero_point);
        *output++ = (int16_t)fixed_clamp(sum, INT16_MIN, INT16_MAX);
      }
    }
    input += p->reduced[0] * outer;
  }
}
