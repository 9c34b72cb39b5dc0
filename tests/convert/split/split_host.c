/* A firmware whose weights lie apart, on this machine: flash, boot, update and inference, for a caller in Python. */
#include <stdlib.h>
#include <string.h>

#include "inference.h"
#include "simulated_flash.h"
#include "split.h"
#include "split_config.h"

uint8_t *simulated_flash;
size_t simulated_bytes;

enum { BYTES = 2 * TINYML_SLOT_BYTES, DARK = -1, CHUNK = 96 };

uint8_t *host_flash(void);
size_t host_flash_bytes(void);
int host_boot(void);
int host_update(const uint8_t *image, uint32_t bytes, long after, unsigned how);
unsigned long host_operations(void);
int host_infer(const uint8_t *inputs, uint8_t *outputs);
const char *host_message(int status);

/* Aligned as slots are on a board. */
uint8_t *host_flash(void) {
  if (simulated_flash == NULL) {
    simulated_bytes = BYTES;
    uint8_t *memory = malloc(BYTES + 4096);
    simulated_flash = memory + (4096 - (uintptr_t)memory % 4096) % 4096;
    memset(simulated_flash, 0xFF, BYTES);
  }
  return simulated_flash;
}

size_t host_flash_bytes(void) { return BYTES; }

unsigned long host_operations(void) { return simulated_operations; }

const char *host_message(int status) { return slots_message((slots_status)status); }

/* What a board does after power has come: 0, and then there is a model. */
int host_boot(void) { return inference_init(); }

/* Brings an image onto the board, power going in operation `after`; a slots_status, or DARK. */
int host_update(const uint8_t *image, uint32_t bytes, long after, unsigned how) {
  static slots_update_t update;
  slots_status found[2];
  const slots_t *slots = split_slots();
  const int present = slots_choose(slots, found);
  simulated_arm(after, how, present < 0 ? NULL : slots->slot[present], slots->bytes);
  if (setjmp(simulated_dark) != 0) return DARK;
  slots_status status = slots_begin(&update, slots, image);
  for (uint32_t at = SLOTS_HEADER; status == SLOTS_OK && at < bytes; at += CHUNK) {
    const uint32_t count = bytes - at < CHUNK ? bytes - at : CHUNK;
    status = slots_write(&update, at - SLOTS_HEADER, image + at, count);
  }
  return status == SLOTS_OK ? (int)slots_finish(&update) : (int)status;
}

int host_infer(const uint8_t *inputs, uint8_t *outputs) {
  for (unsigned i = 0; i < inference_input_count(); i++) {
    memcpy(inference_input(i), inputs, inference_input_bytes(i));
    inputs += inference_input_bytes(i);
  }
  if (inference_run() != 0) return 1;
  for (unsigned i = 0; i < inference_output_count(); i++) {
    memcpy(outputs, inference_output(i), inference_output_bytes(i));
    outputs += inference_output_bytes(i);
  }
  return 0;
}
