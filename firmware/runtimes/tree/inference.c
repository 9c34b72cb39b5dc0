/* inference.h on top of a tree. */
#include "inference.h"

#include "tree_model.h"

static int8_t features[TREE_MODEL_FEATURES] __attribute__((aligned(4)));
static int32_t scores[TREE_MODEL_CLASSES] __attribute__((aligned(4)));

const char *inference_runtime(void) { return "tree"; }

int inference_init(void) { return 0; }

int inference_reset(void) { return 0; }

unsigned inference_input_count(void) { return 1; }

unsigned inference_output_count(void) { return 1; }

void *inference_input(unsigned index) {
  (void)index;
  return features;
}

size_t inference_input_bytes(unsigned index) {
  (void)index;
  return sizeof features;
}

const void *inference_output(unsigned index) {
  (void)index;
  return scores;
}

size_t inference_output_bytes(unsigned index) {
  (void)index;
  return sizeof scores;
}

int inference_run(void) {
  tree_model_run(features, scores);
  return 0;
}

size_t inference_arena_bytes(void) { return sizeof features + sizeof scores; }

/* Nothing can fail at run time. */
const char *inference_message(void) { return ""; }
