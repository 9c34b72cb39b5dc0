/* inference.h on top of a compiled model. */
#include "inference.h"

#include "arena.inc"
#include "compiled_model.h"

const char *inference_runtime(void) { return "compiled"; }

int inference_init(void) { return inference_reset(); }

int inference_reset(void) {
  compiled_model_reset(arena);
  return 0;
}

int inference_run(void) {
  compiled_model_run(arena);
  return 0;
}

/* Nothing can fail at run time. */
const char *inference_message(void) { return ""; }
