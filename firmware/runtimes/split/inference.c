/* inference.h on top of a compiled model whose weights lie in one of two slots. inference_init() may be called again:
 * it takes what is then the newest image. */
#include "inference.h"

#include <stdint.h>
#include <string.h>

#include "../compiled/arena.inc"
#include "compiled_model.h"
#include "split.h"
#include "split_config.h"

static slots_t slots;
static const uint8_t *in_use;
static char model[2 * SLOTS_MODEL + 1] = "none";
static char message[192];

const char *inference_runtime(void) { return "compiled"; }

const slots_t *split_slots(void) {
  static const uint8_t graph[SLOTS_GRAPH] = TINYML_GRAPH;
#ifdef TINYML_KEY
  static const uint8_t key[SLOTS_KEY] = TINYML_KEY;
  slots.key = key;
  slots.verify = ed25519_verify;
#endif
  slots.slot[0] = TINYML_SLOTS;
  slots.slot[1] = TINYML_SLOTS + TINYML_SLOT_BYTES;
  slots.bytes = TINYML_SLOT_BYTES;
  slots.page = TINYML_SLOT_PAGE;
  slots.least = (uint32_t)compiled_model_params_bytes;
  slots.graph = graph;
  return &slots;
}

const char *split_model(void) { return model; }

const uint8_t *split_header(void) { return in_use; }

static void append(const char *text) {
  const size_t used = strlen(message);
  const size_t count = strlen(text), room = sizeof message - 1 - used;
  memcpy(message + used, text, count < room ? count : room);
}

static void write_model(void) {
  const uint8_t *bytes = slots_model(in_use);
  for (unsigned i = 0; i < 2 * SLOTS_MODEL; i++) {
    model[i] = "0123456789abcdef"[bytes[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15];
  }
}

int inference_init(void) {
  slots_status found[2];
  const int chosen = slots_choose(split_slots(), found);
  memset(message, 0, sizeof message);
  if (chosen < 0) {
    in_use = NULL;
    memcpy(model, "none", sizeof "none");
    append("no whole model: slot 0: ");
    append(slots_message(found[0]));
    append("; slot 1: ");
    append(slots_message(found[1]));
    return 1;
  }
  in_use = slots.slot[chosen];
  write_model();
  compiled_model_use(in_use);
  return inference_reset();
}

int inference_reset(void) {
  if (in_use == NULL) return 1;
  compiled_model_reset(arena);
  return 0;
}

int inference_run(void) {
  if (in_use == NULL) return 1;
  compiled_model_run(arena);
  return 0;
}

const char *inference_message(void) { return message; }
