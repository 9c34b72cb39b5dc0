/* int8 depthwise convolution with any window for Cortex-M processors with the DSP extension. */
#ifndef KERNELS_CORTEX_M4_DEPTHWISE_H
#define KERNELS_CORTEX_M4_DEPTHWISE_H

#include <stdint.h>

#include "kernels/cortex_m4/stage.h"
#include "kernels/window.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  kernels_window window; /* width at most 16; dilation_width is 1 where stride_width is not */
  int32_t channels;      /* of the input */
  int32_t multiplier;    /* output channels an input channel; output channel c reads input channel c / multiplier */
  int32_t band;          /* output rows that are worked off at a time, all channels of them */
  int32_t line; /* halfwords of a row of one phase in the plane, even; a phase is every dilation_width-th column */
  int32_t input_zero_point;
  int32_t minimum; /* of the fused activation, within -128..127 */
  int32_t maximum;
  /* For every output channel: each row of its window as pairs of halfwords, the first in the low half, an odd last tap
   * with 0; then its kernels_m4_channel, whose bias has the zero point folded in and whose shift is at least 1. */
  const int32_t *weights;
} kernels_m4_depthwise_params;

/* input and output NHWC, any alignment; scratch, word-aligned, has 2 * line * dilation_width * rows bytes with
 * rows = (band - 1) * stride_height + (height - 1) * dilation_height + 1. With n outputs of a phase in a row
 * (output_width / dilation_width, rounded up) and n4 that rounded up to a multiple of 4,
 * line >= (n4 - 1) * stride_width + 2 * ((width + 1) / 2).
 * The rows of a band are copied channel by channel, each before an output of that channel is stored. */
void kernels_m4_depthwise_unit_s8(const kernels_m4_depthwise_params *params, const int8_t *input, int8_t *scratch,
                                  int8_t *output); /* stride_width 1 */
void kernels_m4_depthwise_any_s8(const kernels_m4_depthwise_params *params, const int8_t *input, int8_t *scratch,
                                 int8_t *output);

/* What the assembly works off: rows of outputs of one channel. Steps in bytes. */
typedef struct {
  const int32_t *stream; /* of the channel */
  int32_t window;        /* rows of the window */
  int32_t pairs;         /* of taps in a row of the window, 1 to 8 */
  int32_t skip;          /* from the end of a row of the window to its next row */
  int32_t step;          /* from an output's window to its right neighbour's */
  int32_t block_step;    /* four times that */
  const int16_t *plane;  /* the first output's window; halfword-aligned */
  int8_t *output;
  int32_t pixel;     /* from an output to its right neighbour */
  int32_t columns;   /* outputs in a row, 1 to 32767 */
  int32_t plane_row; /* from a row of outputs to the next, in the plane */
  int32_t output_row;
  int32_t rows; /* of outputs */
} kernels_m4_depthwise_lines_job;

/* Reads the windows of up to three outputs that do not exist, to the right of a row. */
void kernels_m4_depthwise_lines_unit(const kernels_m4_depthwise_lines_job *job); /* step 2 */
void kernels_m4_depthwise_lines_any(const kernels_m4_depthwise_lines_job *job);

#ifdef __cplusplus
}
#endif

#endif
