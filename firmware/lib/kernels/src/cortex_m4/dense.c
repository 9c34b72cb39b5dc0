#include "kernels/cortex_m4/dense.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#include "kernels/cortex_m4/clamp.h"

/* What dense_blocks.S reads, in this order. */
typedef struct {
  int32_t multiplier;
  int32_t rounding;
  int32_t shift;
  int8_t *output;
  int8_t *output_end;
  const void *input;
  const void *input_end;
  int32_t entry; /* bytes of the unrolled loop that its first round leaves out */
  const int32_t *stream;
  const void *second_end; /* "long": input_end is the end of the first part */
} frame;

typedef const int32_t *(*blocks)(const frame *);

const int32_t *kernels_m4_dense_blocks_tensor(const frame *f);
const int32_t *kernels_m4_dense_blocks_tensor_relu(const frame *f);
const int32_t *kernels_m4_dense_blocks_channel(const frame *f);
const int32_t *kernels_m4_dense_blocks_channel_relu(const frame *f);
const int32_t *kernels_m4_dense_direct_blocks_tensor(const frame *f);
const int32_t *kernels_m4_dense_direct_blocks_tensor_relu(const frame *f);
const int32_t *kernels_m4_dense_direct_blocks_channel(const frame *f);
const int32_t *kernels_m4_dense_direct_blocks_channel_relu(const frame *f);
const int32_t *kernels_m4_dense_long_blocks_tensor(const frame *f);
const int32_t *kernels_m4_dense_long_blocks_tensor_relu(const frame *f);
const int32_t *kernels_m4_dense_long_blocks_channel(const frame *f);
const int32_t *kernels_m4_dense_long_blocks_channel_relu(const frame *f);
void kernels_m4_dense_widen(const int8_t *input, int16_t *to, int32_t eights);

/* Bytes of code for eight inputs, and how many of them a round has. */
#define WIDENED_STEP 108
#define DIRECT_STEP 124
#define STEPS 4

/* One row, whose input `f` has already. */
static void row(const kernels_m4_dense_params *p, frame *f, blocks run, int8_t *output) {
  const int32_t rest = p->channels & 3;
  f->output = output;
  f->output_end = output + p->channels - rest;
  f->stream = p->weights;
  if (f->output != f->output_end) f->stream = run(f);
  if (rest != 0) {
    int8_t four[4];
    output = f->output_end;
    f->output = four;
    f->output_end = four + 4;
    (void)run(f);
    for (int32_t i = 0; i < rest; i++) output[i] = four[i];
    output += rest;
  } else {
    output = f->output_end;
  }
  if (p->minimum > INT8_MIN || p->maximum < INT8_MAX) {
    kernels_m4_clamp_s8(output - p->channels, p->channels, p->minimum, p->maximum);
  }
}

static void start(const kernels_m4_dense_params *p, frame *f, int32_t step) {
  f->multiplier = p->multiplier;
  f->rounding = p->rounding;
  f->shift = p->shift;
  f->entry = (-((p->depth + 7) >> 3) & (STEPS - 1)) * step;
}

/* Eight and more inputs of a row straight from where they lie, the others from a copy filled up with zeros. */
static void widen(const int8_t *input, int32_t depth, int16_t *to) {
  const int32_t rest = depth & 7;
  const int32_t eights = depth >> 3;
  if (eights != 0) kernels_m4_dense_widen(input, to, eights);
  if (rest != 0) {
    int8_t last[8] = {0};
    input += depth - rest;
    for (int32_t i = 0; i < rest; i++) last[i] = input[i];
    kernels_m4_dense_widen(last, to + 8 * eights, 1);
  }
}

static __attribute__((noinline)) void widened(const kernels_m4_dense_params *p, const int8_t *input, int8_t *scratch,
                                              int8_t *output, blocks run) {
  frame f;
  start(p, &f, WIDENED_STEP);
  f.input = scratch;
  f.input_end = scratch + ((p->depth + 7) & ~7) * 2;
  for (int32_t r = p->rows; r > 0; r--) {
    widen(input, p->depth, (int16_t *)(void *)scratch);
    row(p, &f, run, output);
    input += p->depth;
    output += p->channels;
  }
}

/* `first`: inputs of the first part, or all. */
static __attribute__((noinline)) void direct(const kernels_m4_dense_params *p, const int8_t *input, int8_t *output,
                                             blocks run, int32_t first) {
  frame f;
  start(p, &f, DIRECT_STEP);
  for (int32_t r = p->rows; r > 0; r--) {
    f.input = input;
    f.input_end = input + first;
    input += p->depth;
    f.second_end = input;
    row(p, &f, run, output);
    output += p->channels;
  }
}

#define WIDENED(variant)                                                                                            \
  void kernels_m4_dense_##variant##_s8(const kernels_m4_dense_params *params, const int8_t *input, int8_t *scratch, \
                                       int8_t *output) {                                                            \
    widened(params, input, scratch, output, kernels_m4_dense_blocks_##variant);                                     \
  }
#define DIRECT(variant)                                                                                   \
  void kernels_m4_dense_direct_##variant##_s8(const kernels_m4_dense_params *params, const int8_t *input, \
                                              int8_t *output) {                                           \
    direct(params, input, output, kernels_m4_dense_direct_blocks_##variant, params->depth);               \
  }

WIDENED(tensor)
WIDENED(tensor_relu)
WIDENED(channel)
WIDENED(channel_relu)
DIRECT(tensor)
DIRECT(tensor_relu)
DIRECT(channel)
DIRECT(channel_relu)

#define LONG(variant)                                                                                   \
  void kernels_m4_dense_long_##variant##_s8(const kernels_m4_dense_params *params, const int8_t *input, \
                                            int8_t *output) {                                           \
    const int32_t second = params->depth / (16 * STEPS) * (8 * STEPS);                                  \
    direct(params, input, output, kernels_m4_dense_long_blocks_##variant, params->depth - second);      \
  }

LONG(tensor)
LONG(tensor_relu)
LONG(channel)
LONG(channel_relu)

#else

typedef int kernels_m4_dense_is_for_cortex_m4; /* C99 has no empty translation unit */

#endif
