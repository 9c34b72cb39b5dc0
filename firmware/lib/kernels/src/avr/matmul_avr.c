/* kernels/matmul.h on AVR: a channel at a time, for its 32 registers hold no more. */
#if defined(__AVR__)

#include "kernels/avr.h"
#include "kernels/matmul.h"

/* The most channels that are summed up before the first of their outputs is written: outputs may lie over the rows, as
 * far as the portable kernels allow, which take two channels of two rows and four of one. */
enum { TWO_ROWS = 2, ONE_ROW = 4 };

/* One channel's weights by a row or two. */
static void dot(const int8_t *row0, const int8_t *row1, const KERNELS_FLASH int8_t *weights, uint16_t count,
                int32_t *sums) {
  if (row1) {
    kernels_avr_dot2(row0, row1, weights, count, sums);
  } else {
    sums[0] = kernels_avr_dot(row0, weights, count);
  }
}

/* The same for rows that are longer than a sum of 24 bits holds. */
static __attribute__((noinline)) void long_dot(const int8_t *row0, const int8_t *row1,
                                               const KERNELS_FLASH int8_t *weights, uint16_t depth, int32_t *sums) {
  sums[0] = sums[1] = 0;
  while (depth > 0) {
    const uint16_t count = depth < KERNELS_AVR_DOT ? depth : KERNELS_AVR_DOT;
    int32_t part[2] = {0, 0};
    dot(row0, row1, weights, count, part);
    sums[0] += part[0];
    sums[1] += part[1];
    row0 += count;
    if (row1) row1 += count;
    weights += count;
    depth -= count;
  }
}

void kernels_two_rows_s8(const int8_t *row0, const int8_t *row1, kernels_int depth, const KERNELS_FLASH int8_t *weights,
                         const kernels_output_stage *stage, kernels_int first, kernels_int channels, int8_t *out0,
                         int8_t *out1) {
  const uint16_t length = (uint16_t)depth;
  const uint8_t group = row1 ? TWO_ROWS : ONE_ROW;
  kernels_int channel = first, left = channels;
  weights += (uint16_t)channel * length;
  while (left > 0) {
    /* What does not make a whole group goes one by one. */
    const uint8_t together = left < group ? 1 : group;
    int8_t outputs[ONE_ROW][2];
    for (uint8_t c = 0; c < together; c++) {
      int32_t sums[2];
      if (length <= KERNELS_AVR_DOT) {
        dot(row0, row1, weights, length, sums);
      } else {
        long_dot(row0, row1, weights, length, sums);
      }
      outputs[c][0] = kernels_output(stage, channel, sums[0]);
      if (row1) outputs[c][1] = kernels_output(stage, channel, sums[1]);
      weights += length;
      channel++;
    }
    for (uint8_t c = 0; c < together; c++) {
      *out0++ = outputs[c][0];
      if (row1) *out1++ = outputs[c][1];
    }
    left -= together;
  }
}

void kernels_one_row_s8(const int8_t *row, kernels_int depth, const KERNELS_FLASH int8_t *weights,
                        const kernels_output_stage *stage, kernels_int first, kernels_int channels, int8_t *out) {
  kernels_two_rows_s8(row, 0, depth, weights, stage, first, channels, out, 0);
}

#endif
