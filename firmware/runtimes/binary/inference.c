/* inference.h on top of a network of bits. */
#include "inference.h"

#include "binary_model.h"

static unsigned char arena[BINARY_MODEL_ARENA_BYTES] __attribute__((aligned(4)));

const char *inference_runtime(void) { return "binary"; }

int inference_init(void) { return 0; }

int inference_reset(void) { return 0; }

unsigned inference_input_count(void) { return 1; }

unsigned inference_output_count(void) { return 1; }

void *inference_input(unsigned index) {
  (void)index;
  return arena + BINARY_MODEL_INPUT;
}

size_t inference_input_bytes(unsigned index) {
  (void)index;
  return BINARY_MODEL_FEATURES;
}

const void *inference_output(unsigned index) {
  (void)index;
  return arena + BINARY_MODEL_OUTPUT;
}

size_t inference_output_bytes(unsigned index) {
  (void)index;
  return BINARY_MODEL_CLASSES * sizeof(int32_t);
}

int inference_run(void) {
  binary_model_run(arena);
  return 0;
}

size_t inference_arena_bytes(void) { return sizeof arena; }

/* Nothing can fail at run time. */
const char *inference_message(void) { return ""; }
