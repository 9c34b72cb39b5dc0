#include "live/live.h"

#include <string.h>

#include "features/smooth.h"
#include "inference.h"
#include "labels.h"
#include "model_config.h"
#include "port.h"
#include "preprocessing.h"

static const char *const labels[MODEL_LABELS] = MODEL_LABEL_NAMES;
static int16_t scores[MODEL_LABELS];
static features_smooth_t smooth = {.scores = scores, .count = MODEL_LABELS};
static uint32_t answers;

void live_text(const char *text) { port_write(text, strlen(text)); }

void live_number(uint32_t value) {
  char digits[10];
  size_t at = sizeof digits;
  do {
    digits[--at] = (char)('0' + value % 10);
    value /= 10;
  } while (value != 0);
  port_write(digits + at, sizeof digits - at);
}

static char hex_digit(unsigned nibble) { return (char)(nibble < 10 ? '0' + nibble : 'a' - 10 + nibble); }

static void hex(uint8_t byte) {
  const char pair[2] = {hex_digit(byte >> 4), hex_digit(byte & 15u)};
  port_write(pair, sizeof pair);
}

static uint32_t fnv(const uint8_t *bytes, size_t count) {
  uint32_t value = 0x811C9DC5u;
  for (size_t i = 0; i < count; i++) value = (value ^ bytes[i]) * 0x01000193u;
  return value;
}

int live_fail(const char *text) {
  port_print("#error ");
  live_text(text);
  port_print("\n");
  return 1;
}

uint32_t live_answers(void) { return answers; }

int live_begin(const char *application, uint8_t smoothing) {
  port_print("#tinyml 1 board=" TINYML_BOARD " runtime=");
  live_text(inference_runtime());
  port_print(" model=" TINYML_MODEL_SHA256 " application=");
  live_text(application);
  answers = 0;
  smooth.shift = smoothing;
  features_smooth_reset(&smooth);
  if (inference_init() != 0) {
    port_print("\n");
    return live_fail(inference_message());
  }
  if (inference_input_bytes(0) != PREPROCESSING_BYTES || inference_output_bytes(0) != MODEL_LABELS) {
    port_print("\n");
    return live_fail("the model's input or output is not what the preprocessing was made for");
  }
  return 0;
}

/* A smoothed output in thousandths of the largest probability. */
static uint32_t thousandths(int16_t score) {
  const int32_t steps = score - (int32_t)MODEL_OUTPUT_ZERO * 128;
  return (uint32_t)(((steps < 0 ? 0 : steps) * 125 + MODEL_OUTPUT_STEPS * 8) / (MODEL_OUTPUT_STEPS * 16));
}

int live_answer(void) {
  uint64_t before = 0, after = 0;
  const uint32_t input = fnv(inference_input(0), PREPROCESSING_BYTES);
#ifdef MODEL_KEEPS_STATE
  if (inference_reset() != 0) return live_fail(inference_message());
#endif
  const int timed = port_clock(&before) == 0;
  if (inference_run() != 0) return live_fail(inference_message());
  if (timed) (void)port_clock(&after);
  const uint8_t *const output = inference_output(0);
  const uint16_t best = features_smooth(&smooth, (const int8_t *)output);
  port_print("#answer ");
  live_number(answers++);
  port_print(" label=\"");
  live_text(labels[best]);
  port_print("\" score=");
  live_number(thousandths(scores[best]));
  port_print(" input=");
  for (int shift = 24; shift >= 0; shift -= 8) hex((uint8_t)(input >> shift));
  port_print(" output=");
  for (size_t i = 0; i < MODEL_LABELS; i++) hex(output[i]);
  if (timed) {
    port_print(" microseconds=");
    live_number((uint32_t)(after - before));
  }
  port_print("\n");
  return 0;
}
