#include "features/fft.h"

#include "features/flash.h"
#include "features/multiply.h"

static void reverse_bits(int32_t *data, uint16_t points) {
  uint16_t reversed = 0;
  for (uint16_t k = 1; k < points; k++) {
    uint16_t bit = (uint16_t)(points >> 1);
    while ((reversed & bit) != 0) {
      reversed = (uint16_t)(reversed ^ bit);
      bit = (uint16_t)(bit >> 1);
    }
    reversed = (uint16_t)(reversed | bit);
    if (reversed > k) {
      int32_t *a = data + 2 * k, *b = data + 2 * reversed;
      const int32_t re = a[0], im = a[1];
      a[0] = b[0];
      a[1] = b[1];
      b[0] = re;
      b[1] = im;
    }
  }
}

/* a, b = a + w, a - w for w in place of b. */
static inline void butterfly(int32_t *a, int32_t *b, int32_t re, int32_t im) {
  b[0] = a[0] - re;
  b[1] = a[1] - im;
  a[0] += re;
  a[1] += im;
}

/* Stage of blocks of `length` points, at least 4. The twiddle factors of a block's second quarter are those of its
 * first one times -i; `step` is their distance in the table. */
static void stage(int32_t *data, uint16_t points, uint16_t length, const uint16_t *sine, uint16_t quarter) {
  const uint16_t part = (uint16_t)(length >> 2);
  const uint16_t step = (uint16_t)(quarter / part);
  for (uint16_t j = 0; j < part; j++) {
    const uint16_t s = features_u16(sine + j * step), c = features_u16(sine + (quarter - j * step));
    for (uint16_t k = j; k < points; k = (uint16_t)(k + length)) {
      int32_t *a = data + 2 * k, *b = a + 2 * part, *d = b + 2 * part, *e = d + 2 * part;
      if (j == 0) {
        butterfly(a, d, d[0], d[1]);
        butterfly(b, e, e[1], -e[0]);
      } else {
        butterfly(a, d, features_multiply_add(d[0], c, d[1], s), features_multiply_sub(d[1], c, d[0], s));
        butterfly(b, e, features_multiply_sub(e[1], c, e[0], s), -features_multiply_add(e[0], c, e[1], s));
      }
    }
  }
}

/* From the transform Z of x[2n] + i x[2n + 1] to that of x:
 * 2 X[k] = Z[k] + conj Z[M - k] - i w^k (Z[k] - conj Z[M - k]), w = e^(-2 pi i / N), M = N / 2. */
static void split(int32_t *data, uint16_t points, const uint16_t *sine, uint16_t quarter) {
  const int32_t re0 = data[0], im0 = data[1];
  data[0] = re0 + im0;
  data[1] = re0 - im0;
  for (uint16_t k = 1; k < (points >> 1); k++) {
    int32_t *a = data + 2 * k, *b = data + 2 * (points - k);
    const uint16_t s = features_u16(sine + k), c = features_u16(sine + (quarter - k));
    const int32_t sum_re = a[0] + b[0], sum_im = a[1] - b[1];
    /* -i * (Z[k] - conj Z[M - k]) */
    const int32_t odd_re = a[1] + b[1], odd_im = b[0] - a[0];
    const int32_t re = features_multiply_add(odd_re, c, odd_im, s), im = features_multiply_sub(odd_im, c, odd_re, s);
    a[0] = (sum_re + re + 1) >> 1;
    a[1] = (sum_im + im + 1) >> 1;
    b[0] = (sum_re - re + 1) >> 1;
    b[1] = (im - sum_im + 1) >> 1;
  }
  /* k = M / 2, where w^k = -i: X is Z's conjugate. */
  data[points + 1] = -data[points + 1];
}

void features_fft(int32_t *data, uint8_t log2_size, const uint16_t *sine) {
  const uint16_t points = (uint16_t)(1u << (log2_size - 1));
  const uint16_t quarter = (uint16_t)(points >> 1);
  reverse_bits(data, points);
  for (uint16_t k = 0; k < points; k = (uint16_t)(k + 2)) {
    int32_t *a = data + 2 * k;
    butterfly(a, a + 2, a[2], a[3]);
  }
  for (uint16_t length = 4; length <= points; length = (uint16_t)(length << 1)) {
    stage(data, points, length, sine, quarter);
  }
  split(data, points, sine, quarter);
}
