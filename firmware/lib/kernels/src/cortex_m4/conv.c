#include "kernels/cortex_m4/conv.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#include <string.h>

#include "kernels/cortex_m4/clamp.h"

typedef void tile_kernel(const int16_t *, const int32_t *, int8_t *, const kernels_m4_block *);

/* Short runs: a call of the C library's function would take longer than the run. */
static inline void copy(int8_t *to, const int8_t *from, int32_t count) {
  for (; count >= 4; count -= 4) {
    memcpy(to, from, 4);
    to += 4;
    from += 4;
  }
  if ((count & 2) != 0) {
    memcpy(to, from, 2);
    to += 2;
    from += 2;
  }
  if ((count & 1) != 0) *to = *from;
}

static inline void fill(int8_t *to, uint32_t word, int32_t count) {
  for (; count >= 4; count -= 4) {
    memcpy(to, &word, 4);
    to += 4;
  }
  if ((count & 2) != 0) {
    memcpy(to, &word, 2);
    to += 2;
  }
  if ((count & 1) != 0) *to = (int8_t)word;
}

/* Copies the window whose first element is (y, x) of an image, with the zero point where there is no image. Rows lie
 * `pitch` bytes apart. Undilated rows are one run, clipped at the image's edges; dilated ones a run a column. */
static __attribute__((noinline)) void copy_window(const kernels_m4_conv_params *p, const int8_t *image, int32_t y,
                                                  int32_t x, int8_t *to, int32_t pitch) {
  const kernels_window *w = &p->window;
  const int32_t channels = p->input_channels, line = w->input_width * channels;
  const int32_t runs = w->dilation_width == 1 ? 1 : w->width, columns = w->dilation_width == 1 ? w->width : 1;
  const uint32_t zero = (uint32_t)(uint8_t)p->input_zero_point * 0x01010101u;
  const int32_t run = columns * channels;
  for (int32_t k = 0; k < runs; k++) {
    /* The run's columns x + before to x + end exist. */
    int32_t before = x < 0 ? -x : 0, end = w->input_width - x;
    if (end > columns) end = columns;
    const int32_t count = end > before ? (end - before) * channels : 0;
    const int8_t *from = image + y * line + (x + before) * channels;
    int8_t *at = to + k * run;
    int32_t row = y;
    for (int32_t i = 0; i < w->height; i++) {
      const int32_t present = (uint32_t)row < (uint32_t)w->input_height ? count : 0;
      if (present < run) fill(at, zero, run);
      copy(at + before * channels, from, present);
      at += pitch;
      from += w->dilation_height * line;
      row += w->dilation_height;
    }
    x += w->dilation_width;
  }
}

/* Copies the image into a frame of zero points, where no window leaves it. */
static __attribute__((noinline)) void pad_image(const kernels_m4_conv_params *p, const int8_t *from, int8_t *to) {
  const int32_t pitch = p->window.input_width * p->input_channels;
  fill(to, (uint32_t)(uint8_t)p->input_zero_point * 0x01010101u, p->window.input_height * pitch);
  to += p->image.at;
  for (int32_t i = 0; i < p->image.lines; i++) {
    copy(to, from, p->image.line);
    to += pitch;
    from += p->image.pitch;
  }
}

/* What a convolution keeps between its tiles. */
typedef struct {
  kernels_m4_windows windows;
  kernels_m4_block block;
  const kernels_m4_conv_params *params;
  tile_kernel *kernel;
  const int32_t *last; /* the stream's last pair, with an odd number of channels */
  int16_t *tile;
  int8_t *output;
} state;

static __attribute__((noinline)) void run_tile(state *s) {
  const kernels_m4_conv_params *p = s->params;
  kernels_m4_widen_s8(&s->windows, s->tile);
  s->kernel(s->tile, p->weights, s->output, &s->block);
  if ((p->output_channels & 1) != 0) {
    s->kernel(s->tile, s->last, s->output + p->output_channels - 2, &s->block);
  }
  s->output += 3 * p->output_channels;
}

static __attribute__((noinline)) void convolve(const kernels_m4_conv_params *p, const int8_t *input, int8_t *scratch,
                                               int8_t *output, tile_kernel *kernel, int32_t block_words,
                                               int32_t pair_words) {
  const kernels_window *w = &p->window;
  const int32_t words = 4 * p->words, row = words + p->rest, blocks = (w->height * row + 3) / 4;
  const int32_t step = w->stride_width * p->input_channels;
  const int32_t pitch = w->dilation_height * w->input_width * p->input_channels;
  state s = {{{0, 0, 0}, {0, 0, 0}, w->height, p->words, p->rest},
             {{p->output_channels, 2 * p->output_channels}, blocks},
             p,
             kernel,
             p->weights + p->output_channels / 2 * (block_words * blocks + pair_words),
             (int16_t *)(void *)scratch,
             output};
  int32_t pixel = 0;
  if (p->padded != 0) {
    pad_image(p, input, scratch + p->padded);
    input = scratch + p->padded;
  }
  for (int32_t n = 0; n < w->batches; n++) {
    for (int32_t line = 0; line < w->output_height; line++) {
      const int32_t y = line * w->stride_height - w->pad_top;
      const uint32_t columns = (uint32_t)(line - p->first_line) < (uint32_t)p->lines ? (uint32_t)p->columns : 0;
      int32_t offset = (y * w->input_width - w->pad_left) * p->input_channels;
      for (int32_t column = 0; column < w->output_width; column++) {
        uint32_t inside = (uint32_t)(column - p->first_column);
        if (pixel == 0 && inside < columns && inside + 2 < columns) {
          s.windows.row[0] = input + offset;
          s.windows.row[1] = input + offset + step;
          s.windows.row[2] = input + offset + 2 * step;
          s.windows.skip[0] = s.windows.skip[1] = s.windows.skip[2] = pitch - words;
          do {
            run_tile(&s);
            for (int i = 0; i < 3; i++) s.windows.row[i] += 3 * step;
            column += 3;
            inside += 3;
          } while (inside + 2 < columns);
          offset = (int32_t)(s.windows.row[0] - input);
          column--;
          continue;
        }
        if (inside < columns) {
          s.windows.row[pixel] = input + offset;
          s.windows.skip[pixel] = pitch - words;
        } else {
          /* Rows of the three copies alternate, which lets the tile grow over what was read. */
          int8_t *to = scratch + p->copies + pixel * row;
          copy_window(p, input, y, column * w->stride_width - w->pad_left, to, 3 * row);
          s.windows.row[pixel] = to;
          s.windows.skip[pixel] = 3 * row - words;
        }
        offset += step;
        if (++pixel == 3) {
          run_tile(&s);
          pixel = 0;
        }
      }
    }
    input += w->input_height * w->input_width * p->input_channels;
  }
  if (pixel != 0) {
    /* A short tile repeats its last pixel. */
    const int32_t from = pixel - 1;
    for (; pixel < 3; pixel++) {
      s.windows.row[pixel] = s.windows.row[from];
      s.windows.skip[pixel] = s.windows.skip[from];
      s.block.offset[pixel - 1] = from * p->output_channels;
    }
    run_tile(&s);
  }
  if (p->minimum > -128 || p->maximum < 127) {
    kernels_m4_clamp_s8(output, w->batches * w->output_height * w->output_width * p->output_channels, p->minimum,
                        p->maximum);
  }
}

#define DEFINE(name, kernel, block, pair)                                                                 \
  void name(const kernels_m4_conv_params *params, const int8_t *input, int8_t *scratch, int8_t *output) { \
    convolve(params, input, scratch, output, kernel, block, pair);                                        \
  }

DEFINE(kernels_m4_conv_relu_s8, kernels_m4_tile_relu_s8, KERNELS_M4_TILE_BLOCK, KERNELS_M4_PAIR_RELU)
DEFINE(kernels_m4_conv_linear_s8, kernels_m4_tile_linear_s8, KERNELS_M4_TILE_BLOCK, KERNELS_M4_PAIR_LINEAR)
DEFINE(kernels_m4_conv_wide_relu_s8, kernels_m4_wide_relu_s8, KERNELS_M4_WIDE_BLOCK, KERNELS_M4_PAIR_RELU)
DEFINE(kernels_m4_conv_wide_linear_s8, kernels_m4_wide_linear_s8, KERNELS_M4_WIDE_BLOCK, KERNELS_M4_PAIR_LINEAR)

#else
typedef int kernels_m4_conv_is_for_cortex_m4; /* C99 has no empty translation unit */
#endif
