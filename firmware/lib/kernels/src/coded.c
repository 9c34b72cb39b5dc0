#include "kernels/coded.h"

/* The stride of a tile is a constant, with which the store steps on by itself. */
static inline void spread(const int8_t *from, const int8_t *end, kernels_int lanes, kernels_int wide, int8_t *to) {
  if (wide) {
    for (int16_t *out = (int16_t *)(void *)to; from != end; out += lanes) *out = *from++;
  } else {
    for (; from != end; to += lanes) *to = *from++;
  }
}

void kernels_coded_spread(const int8_t *from, kernels_int count, kernels_int lanes, kernels_int wide, int8_t *to) {
  if (lanes == KERNELS_CODED_TILE) {
    spread(from, from + count, KERNELS_CODED_TILE, wide, to);
  } else {
    spread(from, from + count, lanes, wide, to);
  }
}

static __attribute__((noinline)) void fill(int8_t value, kernels_int count, kernels_int lanes, kernels_int wide,
                                           int8_t *to) {
  for (; count > 0; count--) {
    kernels_coded_spread(&value, 1, lanes, wide, to);
    to += lanes << wide;
  }
}

void kernels_coded_gather(const kernels_coded_conv_params *params, const int8_t *image, kernels_int y, kernels_int x,
                          kernels_int lanes, kernels_int wide, int8_t *to) {
  const kernels_window *w = &params->window;
  const kernels_int channels = params->input_channels;
  const int8_t zero = (int8_t)params->input_zero_point;
  const kernels_int left = x * w->stride_width - w->pad_left;
  /* A row of a window that lies within the image is one run of bytes, otherwise every tap. */
  const int whole = w->dilation_width == 1 && left >= 0 && left + w->width <= w->input_width;
  const kernels_int run = whole ? w->width * channels : channels, step = whole ? w->width : 1;
  kernels_int row = y * w->stride_height - w->pad_top;
  for (kernels_int i = 0; i < w->height; i++, row += w->dilation_height) {
    kernels_int column = left;
    for (kernels_int j = 0; j < w->width; j += step, column += w->dilation_width) {
      if (row < 0 || row >= w->input_height || column < 0 || column >= w->input_width) {
        fill(zero, run, lanes, wide, to);
      } else {
        kernels_coded_spread(image + (row * w->input_width + column) * channels, run, lanes, wide, to);
      }
      to += (run * lanes) << wide;
    }
  }
}

/* All channels of one row (x is [depth]) or of the first `pixels` of a tile (x is [depth][4], word-aligned). */
KERNELS_CODED_INLINE void channels_of(int right, kernels_coded_decoder decode, const kernels_coded_weights *w,
                                      const int8_t *x, kernels_int pixels, int8_t *output) {
  const kernels_int channels = w->channels;
  kernels_coded_state state = {w->stream, w->table, {0, 0}, x, 0};
  if (w->stream != 0) state.stream += KERNELS_CODED_PAD; /* where all is symbols there is none */
  if (w->code != 0) kernels_rans_open(&state.symbols, w->code);
  for (kernels_int c = 0; c < channels; c++) {
    int32_t sums[KERNELS_CODED_TILE];
    decode(w, &state, sums);
    kernels_coded_outputs(right, &w->stage, c, sums, pixels, channels, output + c);
    if (w->table_step != 0) state.table += w->table_step;
  }
}

#define KERNELS(suffix, right)                                                                                       \
  static __attribute__((noinline)) void pixels##suffix(kernels_coded_decoder decode, const kernels_coded_weights *w, \
                                                       const int8_t *x, kernels_int pixels, int8_t *output) {        \
    channels_of(right, decode, w, x, pixels, output);                                                                \
  }                                                                                                                  \
                                                                                                                     \
  void kernels_coded_row##suffix(const kernels_coded_matmul_params *params, const int8_t *input, int8_t *output,     \
                                 kernels_coded_decoder decode) {                                                     \
    pixels##suffix(decode, &params->weights, input, 1, output);                                                      \
  }                                                                                                                  \
                                                                                                                     \
  void kernels_coded_matmul##suffix(const kernels_coded_matmul_params *params, const int8_t *input, int8_t *scratch, \
                                    int8_t *output, kernels_coded_decoder decode, kernels_int wide) {                \
    const kernels_coded_weights *w = &params->weights;                                                               \
    for (kernels_int left = params->rows; left > 0; left -= KERNELS_CODED_TILE) {                                    \
      const kernels_int count = left < KERNELS_CODED_TILE ? left : KERNELS_CODED_TILE;                               \
      for (kernels_int p = 0; p < count; p++, input += w->depth) {                                                   \
        kernels_coded_spread(input, w->depth, KERNELS_CODED_TILE, wide, scratch + (p << wide));                      \
      }                                                                                                              \
      pixels##suffix(decode, w, scratch, count, output);                                                             \
      output += count * w->channels;                                                                                 \
    }                                                                                                                \
  }                                                                                                                  \
                                                                                                                     \
  void kernels_coded_conv##suffix(const kernels_coded_conv_params *params, const int8_t *input, int8_t *scratch,     \
                                  int8_t *output, kernels_coded_decoder decode, kernels_int wide) {                  \
    const kernels_coded_weights *w = &params->weights;                                                               \
    const kernels_window *win = &params->window;                                                                     \
    for (kernels_int n = 0; n < win->batches; n++) {                                                                 \
      kernels_int y = 0, x = 0;                                                                                      \
      for (kernels_int left = win->output_height * win->output_width; left > 0; left -= KERNELS_CODED_TILE) {        \
        const kernels_int count = left < KERNELS_CODED_TILE ? left : KERNELS_CODED_TILE;                             \
        for (kernels_int p = 0; p < count; p++) {                                                                    \
          kernels_coded_gather(params, input, y, x, KERNELS_CODED_TILE, wide, scratch + (p << wide));                \
          if (++x == win->output_width) {                                                                            \
            x = 0;                                                                                                   \
            y++;                                                                                                     \
          }                                                                                                          \
        }                                                                                                            \
        pixels##suffix(decode, w, scratch, count, output);                                                           \
        output += count * w->channels;                                                                               \
      }                                                                                                              \
      input += win->input_height * win->input_width * params->input_channels;                                        \
    }                                                                                                                \
  }

KERNELS(, 1)
KERNELS(_left, 0)
