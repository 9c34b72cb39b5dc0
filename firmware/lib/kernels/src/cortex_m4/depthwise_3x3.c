#include "kernels/cortex_m4/depthwise_3x3.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#include "kernels/cortex_m4/clamp.h"

typedef void core(const kernels_m4_depthwise_job *job);

/* What no copy of a channel overwrites: `from`..`to` of a plane row, halfwords. */
static void fill(int16_t *row, int32_t from, int32_t to, int32_t zero_point) {
  for (int32_t i = from; i < to; i++) row[i] = (int16_t)zero_point;
}

static void image(const kernels_m4_depthwise_3x3_params *p, const int8_t *input, int8_t *scratch, int8_t *output,
                  int32_t stride, int32_t pitch, core *kernel) {
  const int32_t channels = p->channels, pairs = p->output_width / 2, odd = p->output_width & 1;
  const int32_t blocks = 4 * stride * pairs; /* bytes of a plane row up to where the address is a multiple of pitch */
  const int32_t width = 2 * (stride * pairs + odd + 1);
  /* All columns, also a last one that no window reaches (stride 2, no padding): it fits into the last word. */
  const int32_t rest = p->input_width - p->pad_left;
  const int32_t row = p->output_width * channels;
  int8_t *plane =
      (int8_t *)((((uintptr_t)scratch + (uintptr_t)(blocks + pitch - 1)) & -(uintptr_t)pitch) - (uintptr_t)blocks);
  kernels_m4_depthwise_job job = {
      .pixel = channels,
      .row = row,
      .plane_step = 2 * stride * pitch - blocks,
      .output_step = 2 * row - 2 * pairs * channels,
      .channels = channels,
      .stream = p->weights,
      .plane = (int16_t *)(void *)plane,
      .code = rest >= 8          ? KERNELS_M4_DEPTHWISE_GROUPS + p->pad_left
              : p->pad_left != 0 ? KERNELS_M4_DEPTHWISE_LEAD + p->input_width
                                 : rest,
      .groups = rest / 8,
      .tail = rest % 8,
      .skip = pitch - 2 * p->pad_left - (rest + 1) / 2 * 4,
  };
  for (int32_t y = 0; y < p->output_height; y += p->band) {
    const int32_t count = y + p->band < p->output_height ? p->band : p->output_height - y;
    const int32_t top = y * stride - p->pad_top, rows = (count - 1) * stride + 3;
    const int32_t first = top < 0 ? 0 : top;
    const int32_t end = top + rows < p->input_height ? top + rows : p->input_height;
    for (int32_t i = 0; i < rows; i++) {
      int16_t *at = (int16_t *)(void *)(plane + i * pitch);
      if (top + i < first || top + i >= end) {
        fill(at, 0, width, p->input_zero_point);
      } else if (y == 0) {
        fill(at, 0, p->pad_left, p->input_zero_point);
        fill(at, p->pad_left + p->input_width, width, p->input_zero_point);
      }
    }
    job.output = output + y * row;
    job.input = input + first * p->input_width * channels;
    job.pairs = 2 * (count / 2 - 1) + odd;
    job.odd_row = count & 1;
    job.target = (int16_t *)(void *)(plane + (first - top) * pitch + 2 * p->pad_left);
    job.rows = end - first;
    kernel(&job);
  }
}

static inline __attribute__((always_inline)) void run(const kernels_m4_depthwise_3x3_params *p, const int8_t *input,
                                                      int8_t *scratch, int8_t *output, int32_t stride, int32_t pitch,
                                                      core *kernel) {
  const int32_t outputs = p->output_height * p->output_width * p->channels;
  for (int32_t n = 0; n < p->batches; n++) {
    image(p, input + n * p->input_height * p->input_width * p->channels, scratch, output + n * outputs, stride, pitch,
          kernel);
  }
  if (p->minimum > -128 || p->maximum < 127) {
    kernels_m4_clamp_s8(output, p->batches * outputs, p->minimum, p->maximum);
  }
}

#define KERNEL(stride, pitch, variant)                                                                             \
  core kernels_m4_depthwise_3x3_s##stride##_p##pitch##_##variant;                                                  \
  KERNELS_M4_DEPTHWISE_3X3(s##stride##_p##pitch##_##variant) {                                                     \
    run(params, input, scratch, output, stride, pitch, kernels_m4_depthwise_3x3_s##stride##_p##pitch##_##variant); \
  }

KERNEL(1, 32, relu)
KERNEL(1, 64, relu)
KERNEL(1, 128, relu)
KERNEL(1, 256, relu)
KERNEL(2, 32, relu)
KERNEL(2, 64, relu)
KERNEL(2, 128, relu)
KERNEL(2, 256, relu)
KERNEL(1, 32, linear)
KERNEL(1, 64, linear)
KERNEL(1, 128, linear)
KERNEL(1, 256, linear)
KERNEL(2, 32, linear)
KERNEL(2, 64, linear)
KERNEL(2, 128, linear)
KERNEL(2, 256, linear)

/* A channel's words, as the linear cores read them: pairs of doubled weights, then its stage. */
static void expand(const kernels_m4_depthwise_compact *compact, int32_t channel, int32_t stride, int32_t *words) {
  const int8_t *w = compact->taps + 9 * channel;
  const kernels_output_stage *stage = &compact->stage;
  const int32_t i = channel * stage->channel_step;
  const int32_t shift = stage->multiplier[i] == 0 ? 1 : -stage->shift[i]; /* with multiplier 0 any shift will do */
#define PAIR(a, b) (int32_t)((uint32_t)(2 * (a)) & 0xFFFFu) | (int32_t)((uint32_t)(2 * (b)) << 16)
  if (stride == 1) {
    for (int32_t row = 0; row < 3; row++, w += 3) {
      *words++ = PAIR(w[0], w[1]);
      *words++ = PAIR(w[1], w[2]);
    }
  } else {
    *words++ = PAIR(w[0], w[1]);
    *words++ = PAIR(w[3], w[4]);
    *words++ = PAIR(w[6], w[7]);
    *words++ = PAIR(w[2], w[5]);
    *words++ = PAIR(w[8], 0);
  }
#undef PAIR
  words[0] = 2 * stage->bias[channel];
  words[1] = stage->multiplier[i];
  words[2] = (1 << (shift - 1)) + stage->zero_point * (1 << shift);
  words[3] = shift;
}

/* A core for constants in few bytes, to which the job's stream points: each channel alone, with words made just before.
 */
static void one_by_one(const kernels_m4_depthwise_job *job, int32_t stride, core *kernel) {
  const kernels_m4_depthwise_compact *compact = (const kernels_m4_depthwise_compact *)(const void *)job->stream;
  kernels_m4_depthwise_job single = *job;
  int32_t words[10];
  single.channels = 1;
  single.stream = words;
  for (int32_t c = 0; c < job->channels; c++, single.input++, single.output++) {
    expand(compact, c, stride, words);
    kernel(&single);
  }
}

#define COMPACT(stride, pitch)                                                        \
  static void compact_s##stride##_p##pitch(const kernels_m4_depthwise_job *job) {     \
    one_by_one(job, stride, kernels_m4_depthwise_3x3_s##stride##_p##pitch##_linear);  \
  }                                                                                   \
  KERNELS_M4_DEPTHWISE_COMPACT(s##stride##_p##pitch) {                                \
    kernels_m4_depthwise_3x3_params layer = params->layer;                            \
    layer.weights = (const int32_t *)(const void *)&params->compact;                  \
    run(&layer, input, scratch, output, stride, pitch, compact_s##stride##_p##pitch); \
  }

COMPACT(1, 32)
COMPACT(1, 64)
COMPACT(1, 128)
COMPACT(1, 256)
COMPACT(2, 32)
COMPACT(2, 64)
COMPACT(2, 128)
COMPACT(2, 256)

#else
typedef int kernels_m4_depthwise_3x3_is_for_cortex_m4; /* C99 has no empty translation unit */
#endif
