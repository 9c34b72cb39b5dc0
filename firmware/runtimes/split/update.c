#include "update.h"

#include <string.h>

#include "inference.h"
#include "split.h"

static slots_update_t update;

static uint32_t get32(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint8_t *put32(uint8_t *to, uint32_t value) {
  for (unsigned i = 0; i < 4; i++) *to++ = (uint8_t)(value >> (8 * i));
  return to;
}

static uint8_t *describe(uint8_t *to) {
  slots_status found[2];
  const slots_t *slots = split_slots();
  const int chosen = slots_choose(slots, found);
  const uint8_t *header = split_header();
  *to++ = (uint8_t)chosen;
  *to++ = (uint8_t)found[0];
  *to++ = (uint8_t)found[1];
  to = put32(to, slots->bytes);
  to = put32(to, header == NULL ? 0 : slots_sequence(header));
  memset(to, 0, SLOTS_MODEL);
  if (header != NULL) memcpy(to, slots_model(header), SLOTS_MODEL);
  memcpy(to + SLOTS_MODEL, slots->graph, SLOTS_GRAPH);
  return to + SLOTS_MODEL + SLOTS_GRAPH;
}

static slots_status data(const uint8_t *body, uint32_t count) {
  const uint32_t bytes = count < 6 ? 0 : (uint32_t)body[4] | (uint32_t)body[5] << 8;
  if (count < 6 || bytes > UPDATE_CHUNK || count != 6 + bytes) return SLOTS_PLACE;
  return slots_write(&update, get32(body), body + 6, bytes);
}

/* One that was finished before and whose answer got lost is right again. */
static slots_status finish(uint32_t sequence, int *changed) {
  const uint8_t *header = split_header();
  if (update.into == NULL && header != NULL && slots_sequence(header) == sequence) return SLOTS_OK;
  const slots_status status = slots_finish(&update);
  if (status != SLOTS_OK) return status;
  *changed = 1;
  return inference_init() == 0 ? SLOTS_OK : SLOTS_FAILED;
}

const char *update_request(uint8_t command, const uint8_t *body, uint32_t count, uint8_t *answer, size_t *answer_bytes,
                           int *changed) {
  slots_status status = SLOTS_OK;
  uint8_t *end = answer;
  *changed = 0;
  switch (command) {
    case UPDATE_SLOTS:
      end = describe(answer);
      break;
    case UPDATE_BEGIN:
      status = count == SLOTS_HEADER ? slots_begin(&update, split_slots(), body) : SLOTS_SHORT;
      break;
    case UPDATE_DATA:
      status = data(body, count);
      break;
    default:
      status = count == 4 ? finish(get32(body), changed) : SLOTS_SHORT;
  }
  *answer_bytes = (size_t)(end - answer);
  return status == SLOTS_OK ? NULL : slots_message(status);
}
