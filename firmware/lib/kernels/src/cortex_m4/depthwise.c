#include "kernels/cortex_m4/depthwise.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#include "kernels/cortex_m4/clamp.h"

typedef void lines(const kernels_m4_depthwise_lines_job *job);

static int16_t *fill(int16_t *to, int32_t count, int32_t value) {
  for (; count > 0; count--) *to++ = (int16_t)value;
  return to;
}

/* One row of one channel into the plane, every column to its phase. */
static void copy_row(const kernels_m4_depthwise_params *p, const int8_t *input, int16_t *plane) {
  const int32_t phases = p->window.dilation_width, step = phases * p->channels;
  for (int32_t phase = 0; phase < phases; phase++) {
    /* Columns of the phase: left of the image, in it, right of it. */
    const int32_t before = (p->window.pad_left - phase + phases - 1) / phases;
    const int32_t left = before < 0 ? 0 : before < p->line ? before : p->line;
    const int32_t x = phase + left * phases - p->window.pad_left;
    const int32_t inside = (p->window.input_width - x + phases - 1) / phases;
    const int32_t columns = inside < 0 ? 0 : inside < p->line - left ? inside : p->line - left;
    const int8_t *from = input + x * p->channels;
    int16_t *to = fill(plane + phase * p->line, left, p->input_zero_point);
    int32_t i = columns;
    for (; i >= 4; i -= 4) {
      const int8_t a = from[0], b = from[step], c = from[2 * step], d = from[3 * step];
      from += 4 * step;
      to[0] = a;
      to[1] = b;
      to[2] = c;
      to[3] = d;
      to += 4;
    }
    for (; i > 0; i--) {
      *to++ = *from;
      from += step;
    }
    fill(to, p->line - left - columns, p->input_zero_point);
  }
}

static void image(const kernels_m4_depthwise_params *p, const int8_t *input, int16_t *plane, int8_t *output,
                  lines *kernel) {
  const kernels_window *w = &p->window;
  const int32_t pitch = p->line * w->dilation_width, outputs = p->channels * p->multiplier;
  const int32_t pairs = (w->width + 1) / 2, extent = (w->height - 1) * w->dilation_height + 1;
  const int32_t row = w->output_width * outputs;
  kernels_m4_depthwise_lines_job job = {
      .window = w->height,
      .pairs = pairs,
      .skip = 2 * pitch * w->dilation_height - 4 * pairs,
      .step = 2 * w->stride_width,
      .block_step = 8 * w->stride_width,
      .pixel = outputs * w->dilation_width,
      .plane_row = 2 * pitch * w->stride_height,
      .output_row = row,
  };
  for (int32_t y = 0; y < w->output_height; y += p->band) {
    const int32_t top = y * w->stride_height - w->pad_top;
    const int32_t *stream = p->weights;
    job.rows = y + p->band < w->output_height ? p->band : w->output_height - y;
    for (int32_t c = 0; c < p->channels; c++) {
      const int32_t rows = (job.rows - 1) * w->stride_height + extent;
      for (int32_t i = 0; i < rows; i++) {
        int16_t *to = plane + i * pitch;
        if (top + i >= 0 && top + i < w->input_height) {
          copy_row(p, input + (top + i) * w->input_width * p->channels + c, to);
        } else if (c == 0) {
          for (int32_t k = 0; k < pitch; k++) to[k] = (int16_t)p->input_zero_point;
        }
      }
      for (int32_t m = 0; m < p->multiplier; m++) {
        for (int32_t phase = 0; phase < w->dilation_width && phase < w->output_width; phase++) {
          job.stream = stream;
          job.plane = plane + phase * p->line;
          job.output = output + y * row + phase * outputs + c * p->multiplier + m;
          job.columns = (w->output_width - phase + w->dilation_width - 1) / w->dilation_width;
          kernel(&job);
        }
        stream += w->height * pairs + 4;
      }
    }
  }
}

static inline __attribute__((always_inline)) void run(const kernels_m4_depthwise_params *p, const int8_t *input,
                                                      int8_t *scratch, int8_t *output, lines *kernel) {
  const kernels_window *w = &p->window;
  const int32_t inputs = w->input_height * w->input_width * p->channels;
  const int32_t outputs = w->output_height * w->output_width * p->channels * p->multiplier;
  for (int32_t n = 0; n < w->batches; n++) {
    image(p, input + n * inputs, (int16_t *)(void *)scratch, output + n * outputs, kernel);
  }
  if (p->minimum > -128 || p->maximum < 127) {
    kernels_m4_clamp_s8(output, w->batches * outputs, p->minimum, p->maximum);
  }
}

void kernels_m4_depthwise_unit_s8(const kernels_m4_depthwise_params *params, const int8_t *input, int8_t *scratch,
                                  int8_t *output) {
  run(params, input, scratch, output, kernels_m4_depthwise_lines_unit);
}

void kernels_m4_depthwise_any_s8(const kernels_m4_depthwise_params *params, const int8_t *input, int8_t *scratch,
                                 int8_t *output) {
  run(params, input, scratch, output, kernels_m4_depthwise_lines_any);
}

#else
typedef int kernels_m4_depthwise_is_for_cortex_m4; /* C99 has no empty translation unit */
#endif
