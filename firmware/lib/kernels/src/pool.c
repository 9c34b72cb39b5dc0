#include "kernels/pool.h"

#include "kernels/fixed_point.h"

/* Inlined into the loops over pixels, these would find no free registers. */
#if defined(__GNUC__)
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE
#endif

/* The part of a window that lies within the image. */
typedef struct {
  kernels_int height;
  kernels_int width;
  kernels_int row_step; /* elements from a row of the image to the next */
  kernels_int channels;
} part;

/* Rounded to nearest, ties away from zero. */
static inline int8_t divide(int32_t sum, kernels_int count) {
  return (int8_t)((sum > 0 ? sum + count / 2 : sum - count / 2) / count);
}

/* Averages of four channels at `x`: four sums a pass share its loops. */
static NOINLINE void four_averages(const part *a, const int8_t *x, int8_t *output) {
  const kernels_int count = a->height * a->width, gap = a->row_step - a->width * a->channels;
  int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (kernels_int i = a->height; i > 0; i--) {
    for (kernels_int j = a->width; j > 0; j--) {
      s0 += x[0];
      s1 += x[1];
      s2 += x[2];
      s3 += x[3];
      x += a->channels;
    }
    x += gap;
  }
  output[0] = divide(s0, count);
  output[1] = divide(s1, count);
  output[2] = divide(s2, count);
  output[3] = divide(s3, count);
}

static NOINLINE void one_average(const part *a, const int8_t *x, int8_t *output) {
  const kernels_int gap = a->row_step - a->width * a->channels;
  int32_t sum = 0;
  for (kernels_int i = a->height; i > 0; i--) {
    for (kernels_int j = a->width; j > 0; j--) {
      sum += *x;
      x += a->channels;
    }
    x += gap;
  }
  *output = divide(sum, a->height * a->width);
}

/* The largest values of four channels. */
static NOINLINE void four_maxima(const part *a, const int8_t *x, int8_t *output) {
  const kernels_int gap = a->row_step - a->width * a->channels;
  kernels_int m0 = INT8_MIN, m1 = INT8_MIN, m2 = INT8_MIN, m3 = INT8_MIN;
  for (kernels_int i = a->height; i > 0; i--) {
    for (kernels_int j = a->width; j > 0; j--) {
      if (x[0] > m0) m0 = x[0];
      if (x[1] > m1) m1 = x[1];
      if (x[2] > m2) m2 = x[2];
      if (x[3] > m3) m3 = x[3];
      x += a->channels;
    }
    x += gap;
  }
  output[0] = (int8_t)m0;
  output[1] = (int8_t)m1;
  output[2] = (int8_t)m2;
  output[3] = (int8_t)m3;
}

static NOINLINE void one_maximum(const part *a, const int8_t *x, int8_t *output) {
  const kernels_int gap = a->row_step - a->width * a->channels;
  kernels_int best = INT8_MIN;
  for (kernels_int i = a->height; i > 0; i--) {
    for (kernels_int j = a->width; j > 0; j--) {
      if (*x > best) best = *x;
      x += a->channels;
    }
    x += gap;
  }
  *output = (int8_t)best;
}

/* Clips [start, start + length) to [0, size): returns the clipped length and moves `start` up. */
static kernels_int clip(kernels_int *start, kernels_int length, kernels_int size) {
  const kernels_int end = *start + length < size ? *start + length : size;
  if (*start < 0) *start = 0;
  return end - *start;
}

typedef void (*reducer)(const part *, const int8_t *, int8_t *);

static inline void pool(const kernels_pool_params *p, const int8_t *input, int8_t *output, reducer four, reducer one) {
  const kernels_window *w = &p->window;
  const int narrow = p->minimum > INT8_MIN || p->maximum < INT8_MAX;
  part a = {0, 0, w->input_width * p->channels, p->channels};
  for (kernels_int n = 0; n < w->batches; n++) {
    for (kernels_int i = 0; i < w->output_height; i++) {
      kernels_int y = i * w->stride_height - w->pad_top;
      a.height = clip(&y, w->height, w->input_height);
      for (kernels_int j = 0; j < w->output_width; j++) {
        kernels_int x = j * w->stride_width - w->pad_left;
        a.width = clip(&x, w->width, w->input_width);
        const int8_t *first = input + y * a.row_step + x * p->channels;
        kernels_int c = 0;
        for (; c + 4 <= p->channels; c += 4) four(&a, first + c, output + c);
        for (; c < p->channels; c++) one(&a, first + c, output + c);
        if (narrow) {
          for (c = 0; c < p->channels; c++) output[c] = (int8_t)fixed_clamp(output[c], p->minimum, p->maximum);
        }
        output += p->channels;
      }
    }
    input += w->input_height * a.row_step;
  }
}

void kernels_average_pool_s8(const kernels_pool_params *params, const int8_t *input, int8_t *output) {
  pool(params, input, output, four_averages, one_average);
}

void kernels_max_pool_s8(const kernels_pool_params *params, const int8_t *input, int8_t *output) {
  pool(params, input, output, four_maxima, one_maximum);
}
