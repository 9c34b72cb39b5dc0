#include "kernels/cortex_m4/pool.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#include <string.h>

#include "kernels/cortex_m4/clamp.h"
#include "kernels/cortex_m4/dsp.h"
#include "kernels/fixed_point.h"

/* The part of a window that lies within the image. */
typedef struct {
  const int8_t *x; /* its first element, channel 0 */
  int32_t rows;
  int32_t columns;
  int32_t channels; /* bytes from a pixel to the next */
  int32_t row_gap;  /* bytes from the pixel behind a row's last to the next row's first */
} part;

static inline uint32_t load(const int8_t *p) {
  uint32_t x;
  memcpy(&x, p, sizeof x);
  return x;
}

/* The largest values of four or eight channels from `channel` on. */
static inline void maxima(const part *a, int32_t channel, int8_t *output, int eight) {
  const int8_t *x = a->x + channel;
  const int32_t step = a->channels, gap = a->row_gap;
  uint32_t best = 0x80808080u, best4 = 0x80808080u;
  for (int32_t i = a->rows; i > 0; i--) {
    for (int32_t j = a->columns; j > 0; j--) {
      best = kernels_m4_max_s8x4(best, load(x));
      if (eight) best4 = kernels_m4_max_s8x4(best4, load(x + 4));
      x += step;
    }
    x += gap;
  }
  memcpy(output, &best, 4);
  if (eight) memcpy(output + 4, &best4, 4);
}

/* Up to three channels behind the last four: they are computed with those before them, whose results are left out,
 * since their inputs may have been overwritten by their outputs. */
static void store_last(const int8_t from[4], int32_t count, int8_t *to) {
  for (int32_t i = 0; i < count; i++) to[i] = from[4 - count + i];
}

static int is_two_by_two(const part *a) { return a->rows == 2 && a->columns == 2; }

/* Windows of 2x2, the commonest ones, without loops over rows and columns. */
static inline uint32_t largest_of_four(const int8_t *x, int32_t step, int32_t row) {
  return kernels_m4_max_s8x4(kernels_m4_max_s8x4(load(x), load(x + step)),
                             kernels_m4_max_s8x4(load(x + row), load(x + row + step)));
}

static void maximum_two_by_two(const part *a, int8_t *output) {
  const int32_t step = a->channels, row = 2 * step + a->row_gap;
  const int8_t *x = a->x, *end = x + (step & ~3);
  for (; x != end; x += 4) {
    const uint32_t best = largest_of_four(x, step, row);
    memcpy(output, &best, 4);
    output += 4;
  }
  if (step & 3) {
    const uint32_t best = largest_of_four(a->x + step - 4, step, row);
    int8_t last[4];
    memcpy(last, &best, 4);
    store_last(last, step & 3, output);
  }
}

static __attribute__((noinline)) void maximum_of_pixel(const part *a, int8_t *output) {
  if (is_two_by_two(a)) {
    maximum_two_by_two(a, output);
    return;
  }
  int32_t c = 0;
  for (; c + 8 <= a->channels; c += 8) maxima(a, c, output + c, 1);
  if (c + 4 <= a->channels) {
    maxima(a, c, output + c, 0);
    c += 4;
  }
  if (c < a->channels) {
    int8_t last[4];
    maxima(a, a->channels - 4, last, 0);
    store_last(last, a->channels - c, output + c);
  }
}

/* Sums of up to 255 values of four channels each: halfwords of channels 0 and 2, 1 and 3, 4 and 6, 5 and 7. */
static inline void sums(const part *a, int32_t channel, int32_t to[4], int eight) {
  const int8_t *x = a->x + channel;
  const int32_t step = a->channels, gap = a->row_gap;
  int32_t s02 = 0, s13 = 0, s46 = 0, s57 = 0;
  for (int32_t i = a->rows; i > 0; i--) {
    for (int32_t j = a->columns; j > 0; j--) {
      const uint32_t u = load(x);
      s02 = kernels_m4_add_even(s02, u);
      s13 = kernels_m4_add_odd(s13, u);
      if (eight) {
        const uint32_t v = load(x + 4);
        s46 = kernels_m4_add_even(s46, v);
        s57 = kernels_m4_add_odd(s57, v);
      }
      x += step;
    }
    x += gap;
  }
  to[0] = s02;
  to[1] = s13;
  to[2] = s46;
  to[3] = s57;
}

/* With r = floor(2^30 / n) + 1 the shifted sum below is sum / n, rounded to nearest, ties away from zero: r is a little
 * too large, which moves ties of either sign outwards, and not enough to move anything else (tried for all sums of up
 * to 255 int8, tests/convert/compiled/cortex_m4/test_pool.py). */
#define HALF (1 << 13)

static inline void four_averages(const int32_t s[2], int32_t r, int8_t *output) {
  output[0] = (int8_t)(kernels_m4_smlawb(r, s[0], HALF) >> 14);
  output[1] = (int8_t)(kernels_m4_smlawb(r, s[1], HALF) >> 14);
  output[2] = (int8_t)(kernels_m4_smlawt(r, s[0], HALF) >> 14);
  output[3] = (int8_t)(kernels_m4_smlawt(r, s[1], HALF) >> 14);
}

static inline void average_of_four(const int8_t *x, int32_t step, int32_t row, int8_t *output) {
  const uint32_t x0 = load(x), x1 = load(x + step), x2 = load(x + row), x3 = load(x + row + step);
  int32_t s[2];
  s[0] = kernels_m4_add_even(kernels_m4_add_even(kernels_m4_add_even(kernels_m4_sxtb16(x0), x1), x2), x3);
  s[1] = kernels_m4_add_odd(kernels_m4_add_odd(kernels_m4_add_odd(kernels_m4_add_odd(0, x0), x1), x2), x3);
  four_averages(s, (1 << 30) / 4 + 1, output);
}

static void average_two_by_two(const part *a, int8_t *output) {
  const int32_t step = a->channels, row = 2 * step + a->row_gap;
  const int8_t *x = a->x, *end = x + (step & ~3);
  for (; x != end; x += 4) {
    average_of_four(x, step, row, output);
    output += 4;
  }
  if (step & 3) {
    int8_t last[4];
    average_of_four(a->x + step - 4, step, row, last);
    store_last(last, step & 3, output);
  }
}

static __attribute__((noinline)) void average_of_pixel(const part *a, int8_t *output) {
  if (is_two_by_two(a)) {
    average_two_by_two(a, output);
    return;
  }
  const int32_t r = (1 << 30) / (a->rows * a->columns) + 1;
  int32_t s[4];
  int32_t c = 0;
  for (; c + 8 <= a->channels; c += 8) {
    sums(a, c, s, 1);
    four_averages(s, r, output + c);
    four_averages(s + 2, r, output + c + 4);
  }
  if (c + 4 <= a->channels) {
    sums(a, c, s, 0);
    four_averages(s, r, output + c);
    c += 4;
  }
  if (c < a->channels) {
    int8_t last[4];
    sums(a, a->channels - 4, s, 0);
    four_averages(s, r, last);
    store_last(last, a->channels - c, output + c);
  }
}

/* Clips [start, start + length) to [0, size): returns the clipped length and moves `start` up. */
static int32_t clip(int32_t *start, int32_t length, int32_t size) {
  const int32_t end = *start + length < size ? *start + length : size;
  if (*start < 0) *start = 0;
  return end - *start;
}

static inline void pool(const kernels_pool_params *p, const int8_t *input, int8_t *output,
                        void (*pixel)(const part *, int8_t *)) {
  const kernels_window *w = &p->window;
  const int32_t row = w->input_width * p->channels;
  int8_t *at = output;
  part a = {input, 0, 0, p->channels, 0};
  for (int32_t n = w->batches; n > 0; n--) {
    int32_t top = -w->pad_top;
    for (int32_t i = w->output_height; i > 0; i--) {
      int32_t y = top, left = -w->pad_left;
      a.rows = clip(&y, w->height, w->input_height);
      for (int32_t j = w->output_width; j > 0; j--) {
        int32_t x = left;
        a.columns = clip(&x, w->width, w->input_width);
        a.x = input + y * row + x * p->channels;
        a.row_gap = row - a.columns * p->channels;
        pixel(&a, at);
        at += p->channels;
        left += w->stride_width;
      }
      top += w->stride_height;
    }
    input += w->input_height * row;
  }
  if (p->minimum > INT8_MIN || p->maximum < INT8_MAX) {
    kernels_m4_clamp_s8(output, (int32_t)(at - output), p->minimum, p->maximum);
  }
}

void kernels_m4_average_pool_s8(const kernels_pool_params *params, const int8_t *input, int8_t *output) {
  pool(params, input, output, average_of_pixel);
}

void kernels_m4_max_pool_s8(const kernels_pool_params *params, const int8_t *input, int8_t *output) {
  pool(params, input, output, maximum_of_pixel);
}

static inline int8_t mean_of(const kernels_mean_params *p, int32_t sum) {
  sum = fixed_add(fixed_multiply(sum + p->offset, p->multiplier, p->shift), p->zero_point);
  return (int8_t)fixed_clamp(sum, INT8_MIN, INT8_MAX);
}

/* Means of four or eight channels; halfwords hold 255 values, so that longer sums are taken in pieces. */
static inline void means(const kernels_mean_params *p, const part *whole, int32_t channel, int8_t *output, int eight) {
  part a = *whole;
  int32_t total[8] = {0};
  for (int32_t left = whole->columns; left > 0; left -= a.columns) {
    int32_t s[4];
    a.columns = left < 255 ? left : 255;
    sums(&a, channel, s, eight);
    a.x += a.columns * a.channels;
    for (int k = 0; k < (eight ? 4 : 2); k++) {
      const int first = (k & 1) + (k & 2) * 2;
      total[first] += (int16_t)s[k];
      total[first + 2] += s[k] >> 16;
    }
  }
  for (int k = 0; k < (eight ? 8 : 4); k++) output[k] = mean_of(p, total[k]);
}

void kernels_m4_mean_s8(const kernels_mean_params *params, const int8_t *input, int8_t *output) {
  const kernels_mean_params p = *params;
  part a = {input, 1, p.reduced[0], p.kept[1] * p.kept[2], 0};
  for (int32_t n = p.kept[0]; n > 0; n--) {
    int32_t c = 0;
    for (; c + 8 <= a.channels; c += 8) means(&p, &a, c, output + c, 1);
    if (c + 4 <= a.channels) {
      means(&p, &a, c, output + c, 0);
      c += 4;
    }
    if (c < a.channels) {
      int8_t last[4];
      means(&p, &a, a.channels - 4, last, 0);
      store_last(last, a.channels - c, output + c);
    }
    a.x += a.columns * a.channels;
    output += a.channels;
  }
}

#else
typedef int kernels_m4_pool_is_for_cortex_m4; /* C99 has no empty translation unit */
#endif
