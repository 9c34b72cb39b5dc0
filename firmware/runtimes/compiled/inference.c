/* inference.h on top of a compiled model. */
#include "inference.h"

#include "compiled_model.h"

/* Exactly what the memory plan needs. */
static unsigned char arena[COMPILED_MODEL_ARENA_BYTES] __attribute__((aligned(COMPILED_MODEL_ALIGNMENT)));

const char *inference_runtime(void) { return "compiled"; }

int inference_init(void) { return inference_reset(); }

int inference_reset(void) {
  compiled_model_reset(arena);
  return 0;
}

unsigned inference_input_count(void) { return COMPILED_MODEL_INPUTS; }

unsigned inference_output_count(void) { return COMPILED_MODEL_OUTPUTS; }

void *inference_input(unsigned index) { return arena + compiled_model_inputs[index].offset; }

size_t inference_input_bytes(unsigned index) { return compiled_model_inputs[index].bytes; }

const void *inference_output(unsigned index) { return arena + compiled_model_outputs[index].offset; }

size_t inference_output_bytes(unsigned index) { return compiled_model_outputs[index].bytes; }

int inference_run(void) {
  compiled_model_run(arena);
  return 0;
}

size_t inference_arena_bytes(void) { return sizeof arena; }

/* Nothing can fail at run time. */
const char *inference_message(void) { return ""; }
