/* int8 depthwise convolution with 3x3 windows for Cortex-M processors with the DSP extension. */
#ifndef KERNELS_CORTEX_M4_DEPTHWISE_3X3_H
#define KERNELS_CORTEX_M4_DEPTHWISE_3X3_H

#include <stdint.h>

#include "kernels/output_stage.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One output channel an input channel; windows of 3x3, no dilation, the same stride (1 or 2) in both directions. */
typedef struct {
  int32_t batches;
  int32_t input_height;
  int32_t input_width;
  int32_t channels;
  int32_t output_height;
  int32_t output_width;
  int32_t pad_top;  /* 0 or 1 */
  int32_t pad_left; /* 0 or 1 */
  int32_t band;     /* output rows that are worked off at a time, all channels of them; even, or output_height */
  int32_t input_zero_point;
  int32_t minimum; /* of the fused activation, within -128..127 */
  int32_t maximum;
  /* For every channel its weights w(row)(column), then what its output stage needs, all words.
   * Variant relu: weights as bytes, the lowest first:
   *   stride 1: (w00, w01, w01, w02), (w10, w11, w11, w12), (w20, w21, w21, w22)
   *   stride 2: (w00, w10, w01, w11), (w20, w02, w21, w12), (0, w22, 0, 0)
   * then the scaled bias with the zero point folded in, multiplier, rounding.
   * Variant linear: doubled weights as pairs of halfwords, the first in the low half:
   *   stride 1: (w00, w01), (w01, w02), (w10, w11), (w11, w12), (w20, w21), (w21, w22)
   *   stride 2: (w00, w01), (w10, w11), (w20, w21), (w02, w12), (w22, 0)
   * then a kernels_m4_channel whose bias has the zero point folded in.
   * How they are made and what bounds hold stands in convert/compiled/cortex_m4/depthwise.py. */
  const int32_t *weights;
} kernels_m4_depthwise_3x3_params;

/* kernels_m4_depthwise_3x3_s<stride>_p<pitch>_<variant>_s8: input and output NHWC, any alignment. relu: for an output
 * with zero point -128. With r = (band - 1) * stride + 3 rows of the input in a plane, w = output_width / 2 * stride
 * and odd = output_width % 2, 4 * (w + odd + 1) <= pitch, and scratch, word-aligned, has pitch - 4 + (r - 1) * pitch +
 * 4 * (w + odd + 1) bytes. The rows of a band are copied channel by channel, each before an output of that channel is
 * stored: as long as an output lies on input of its own channel, only the rows that the next band reads again must not
 * be overwritten. */
#define KERNELS_M4_DEPTHWISE_3X3(name)                                                                          \
  void kernels_m4_depthwise_3x3_##name##_s8(const kernels_m4_depthwise_3x3_params *params, const int8_t *input, \
                                            int8_t *scratch, int8_t *output)
KERNELS_M4_DEPTHWISE_3X3(s1_p32_relu);
KERNELS_M4_DEPTHWISE_3X3(s1_p64_relu);
KERNELS_M4_DEPTHWISE_3X3(s1_p128_relu);
KERNELS_M4_DEPTHWISE_3X3(s1_p256_relu);
KERNELS_M4_DEPTHWISE_3X3(s2_p32_relu);
KERNELS_M4_DEPTHWISE_3X3(s2_p64_relu);
KERNELS_M4_DEPTHWISE_3X3(s2_p128_relu);
KERNELS_M4_DEPTHWISE_3X3(s2_p256_relu);
KERNELS_M4_DEPTHWISE_3X3(s1_p32_linear);
KERNELS_M4_DEPTHWISE_3X3(s1_p64_linear);
KERNELS_M4_DEPTHWISE_3X3(s1_p128_linear);
KERNELS_M4_DEPTHWISE_3X3(s1_p256_linear);
KERNELS_M4_DEPTHWISE_3X3(s2_p32_linear);
KERNELS_M4_DEPTHWISE_3X3(s2_p64_linear);
KERNELS_M4_DEPTHWISE_3X3(s2_p128_linear);
KERNELS_M4_DEPTHWISE_3X3(s2_p256_linear);

/* The same with constants in few bytes, 9 weights and what the output stage needs, from which a channel's words of
 * variant linear are made on the stack just before they are read. */
typedef struct {
  const int8_t *taps;         /* [channels][9] */
  kernels_output_stage stage; /* its bias has the input's zero point folded in */
} kernels_m4_depthwise_compact;

typedef struct {
  kernels_m4_depthwise_3x3_params layer; /* without weights */
  kernels_m4_depthwise_compact compact;
} kernels_m4_depthwise_compact_params;

#define KERNELS_M4_DEPTHWISE_COMPACT(name)                                                         \
  void kernels_m4_depthwise_compact_##name##_s8(const kernels_m4_depthwise_compact_params *params, \
                                                const int8_t *input, int8_t *scratch, int8_t *output)
KERNELS_M4_DEPTHWISE_COMPACT(s1_p32);
KERNELS_M4_DEPTHWISE_COMPACT(s1_p64);
KERNELS_M4_DEPTHWISE_COMPACT(s1_p128);
KERNELS_M4_DEPTHWISE_COMPACT(s1_p256);
KERNELS_M4_DEPTHWISE_COMPACT(s2_p32);
KERNELS_M4_DEPTHWISE_COMPACT(s2_p64);
KERNELS_M4_DEPTHWISE_COMPACT(s2_p128);
KERNELS_M4_DEPTHWISE_COMPACT(s2_p256);

/* Numbers of the code that copies a row: n = 0 to 7 elements, starting with a word; n = 1 to 8 elements of which the
 * first goes to the upper half of its word; groups and a tail, without and with such a first element before them. */
enum { KERNELS_M4_DEPTHWISE_LEAD = 7, KERNELS_M4_DEPTHWISE_GROUPS = 16, KERNELS_M4_DEPTHWISE_LEAD_GROUPS = 17 };

/* What the assembly works off: a band of one image. Steps in bytes. */
typedef struct {
  int32_t pixel;       /* from an output to its right neighbour, and from an input */
  int32_t row;         /* from an output to the one below it */
  int32_t plane_step;  /* from the end of a pair of output rows to the next pair, in the plane */
  int32_t output_step; /* likewise in the output */
  int8_t *output;      /* channel 0 */
  const int8_t *input; /* channel 0, the first element to copy */
  int32_t channels;
  const int32_t *stream;
  int16_t *plane; /* the first output's window; a row of blocks of outputs later the pitch divides the address */
  int32_t pairs;  /* 2 * (pairs of output rows - 1) + (1 if the output has an odd width); the width is at least 2 */
  int32_t left;   /* not used */
  int32_t odd_row;
  int16_t *target; /* where the first element is copied to */
  int32_t rows;    /* to copy, at least 1 */
  int32_t skip;    /* from the end of a copied row to the next; a word that is begun counts whole */
  int32_t code;    /* how a row is copied; KERNELS_M4_DEPTHWISE_LEAD and so on */
  int32_t tail;    /* 0 to 7: elements after the groups */
  int32_t groups;  /* of 8 elements */
} kernels_m4_depthwise_job;

#ifdef __cplusplus
}
#endif

#endif
