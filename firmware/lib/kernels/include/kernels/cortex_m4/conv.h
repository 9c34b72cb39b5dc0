/* int8 convolution for Cortex-M processors with the DSP extension. */
#ifndef KERNELS_CORTEX_M4_CONV_H
#define KERNELS_CORTEX_M4_CONV_H

#include <stdint.h>

#include "kernels/cortex_m4/matmul.h"
#include "kernels/window.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  kernels_window window;
  int32_t input_channels;
  int32_t output_channels;  /* at least 2 */
  int32_t input_zero_point; /* what padding reads */
  int32_t minimum;          /* of the fused activation, within -128..127 */
  int32_t maximum;
  /* How a window's row is widened: words and, 0 to 3, bytes after them; together the row's bytes or, without such
   * bytes, up to three more, whose weights are 0. Only windows that are followed by as many bytes of the image are read
   * from it. */
  int32_t words;
  int32_t rest;
  /* Output lines and columns, from the first on and how many, whose windows lie inside of the image in that direction;
   * no columns where windows are dilated horizontally. All other windows are copied before they are widened. */
  int32_t first_line;
  int32_t lines;
  int32_t first_column;
  int32_t columns;
  int32_t copies; /* where in scratch the three copied windows lie */
  /* Where in scratch a padded copy of the whole image goes, 0 for none; then `window` is that of the padded image, of
   * which there is one, without padding of its own. */
  int32_t padded;
  struct {
    int32_t at;    /* of the image's first element in the padded one, bytes */
    int32_t lines; /* how many are copied */
    int32_t line;  /* bytes that are copied of each */
    int32_t pitch; /* bytes from one to the next */
  } image;
  /* The stream of kernels/cortex_m4/matmul.h. The tile's order is that of kernels_m4_widen_s8 for a window of
   * `window.height` rows of 4 * words + rest bytes; blocks = (height * (4 * words + rest) + 3) / 4. */
  const int32_t *weights;
} kernels_m4_conv_params;

/* The bias holds -(input zero point) * (sum of the channel's weights) besides the layer's own; relu: of an output with
 * zero point -128. input, output: NHWC, any alignment. scratch: word-aligned; a tile of 24 * blocks bytes and, from
 * `copies` on, three windows if any is copied. The copies may begin within the tile where each is read before the tile
 * reaches it: with rows of whole words, `row` bytes each, from 3 * height * row + 2 * row on.
 * The windows of three output pixels are read before these are written; pixels of all lines and images follow each
 * other. A padded image is read before anything is written. */
void kernels_m4_conv_relu_s8(const kernels_m4_conv_params *params, const int8_t *input, int8_t *scratch,
                             int8_t *output);
void kernels_m4_conv_linear_s8(const kernels_m4_conv_params *params, const int8_t *input, int8_t *scratch,
                               int8_t *output);

/* The same from a wide stream: faster, with more memory for the weights. */
void kernels_m4_conv_wide_relu_s8(const kernels_m4_conv_params *params, const int8_t *input, int8_t *scratch,
                                  int8_t *output);
void kernels_m4_conv_wide_linear_s8(const kernels_m4_conv_params *params, const int8_t *input, int8_t *scratch,
                                    int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
