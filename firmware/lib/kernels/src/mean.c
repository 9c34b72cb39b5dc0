#include "kernels/mean.h"

#include "kernels/fixed_point.h"

/* A grid of elements. */
typedef struct {
  int32_t rows;
  int32_t columns;
  int32_t row_step;
  int32_t column_step;
} grid;

static int32_t sum_of(const int8_t *x, const grid *g) {
  int32_t sum = 0;
  for (int32_t i = g->rows; i > 0; i--) {
    const int8_t *at = x;
    for (int32_t j = g->columns; j > 0; j--) {
      sum += *at;
      at += g->column_step;
    }
    x += g->row_step;
  }
  return sum;
}

void kernels_mean_s8(const kernels_mean_params *params, const int8_t *input, int8_t *output) {
  const kernels_mean_params p = *params;
  const int32_t inner = p.reduced[1] * p.kept[2];
  const int32_t outer = p.kept[1] * inner;
  grid g = {p.reduced[0], p.reduced[1], outer, p.kept[2]};
  if (g.columns == 1) { /* one loop is cheaper than two */
    g.columns = g.rows;
    g.column_step = g.row_step;
    g.rows = 1;
  }
  for (int32_t a = 0; a < p.kept[0]; a++) {
    for (int32_t b = 0; b < p.kept[1]; b++) {
      for (int32_t c = 0; c < p.kept[2]; c++) {
        const int32_t sum = sum_of(input + b * inner + c, &g) + p.offset;
        const int32_t x = fixed_add(fixed_multiply(sum, p.multiplier, p.shift), p.zero_point);
        *output++ = (int8_t)fixed_clamp(x, INT8_MIN, INT8_MAX);
      }
    }
    input += p.reduced[0] * outer;
  }
}
