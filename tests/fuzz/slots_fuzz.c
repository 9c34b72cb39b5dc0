/* Damaged flash and senseless updates: cases from standard input, a line a case on standard output.
 *
 *   F  bytes of slot 0, bytes of slot 1         what slots_choose finds: slot, status, status
 *   U  bytes of slot 0, u32 n, n requests       statuses of an updater that is asked anything, then what is chosen
 *
 * A request is B (begin) and a header, W (write), u32 offset, u32 count and as many bytes, or E (finish). Slots and
 * buffers have exactly their sizes, so that the sanitizers see every byte too many. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulated_flash.h"
#include "slots/ed25519.h"
#include "slots/slots.h"

enum { SLOT = 1024 };

uint8_t *simulated_flash;
size_t simulated_bytes;

static uint8_t graph[SLOTS_GRAPH], key[SLOTS_KEY];

static int take(void *to, size_t count) { return fread(to, 1, count, stdin) == count; }

static uint32_t take32(void) {
  uint8_t bytes[4] = {0};
  if (!take(bytes, sizeof bytes)) exit(2);
  return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static uint8_t *buffer(size_t count) {
  uint8_t *bytes = malloc(count > 0 ? count : 1);
  if (bytes == NULL || !take(bytes, count)) exit(2);
  return bytes;
}

static void flash(slots_t *slots) {
  slots_status found[2];
  uint8_t *contents[2];
  for (unsigned i = 0; i < 2; i++) slots->slot[i] = contents[i] = buffer(SLOT);
  const int chosen = slots_choose(slots, found);
  printf("%d %d %d\n", chosen, (int)found[0], (int)found[1]);
  for (unsigned i = 0; i < 2; i++) free(contents[i]);
}

static slots_status request(slots_update_t *update, const slots_t *slots) {
  const int kind = getchar();
  if (kind == 'E') return slots_finish(update);
  const uint32_t offset = kind == 'W' ? take32() : 0, count = kind == 'W' ? take32() : SLOTS_HEADER;
  uint8_t *bytes = buffer(count);
  const slots_status status =
      kind == 'W' ? slots_write(update, offset, bytes, count) : slots_begin(update, slots, bytes);
  free(bytes);
  return status;
}

static void updates(slots_t *slots) {
  slots_status found[2];
  slots_update_t update = {.into = NULL};
  simulated_bytes = 2 * SLOT;
  simulated_flash = malloc(simulated_bytes);
  if (simulated_flash == NULL || !take(simulated_flash, SLOT)) exit(2);
  memset(simulated_flash + SLOT, 0xFF, SLOT);
  slots->slot[0] = simulated_flash;
  slots->slot[1] = simulated_flash + SLOT;
  simulated_arm(-1, 0, NULL, 0);
  for (uint32_t n = take32(); n > 0; n--) {
    const int present = slots_choose(slots, found);
    simulated_arm(-1, 0, present < 0 ? NULL : slots->slot[present], SLOT);
    printf("%d ", (int)request(&update, slots));
    if (present >= 0 && slots_choose(slots, found) < 0) abort(); /* a model was there and is none any more */
  }
  printf("%d\n", slots_choose(slots, found));
  free(simulated_flash);
}

int main(int count, char **arguments) {
  (void)arguments;
  slots_t slots = {.bytes = SLOT, .page = SIMULATED_PAGE, .least = 8, .graph = graph};
  if (!take(graph, sizeof graph) || !take(key, sizeof key)) return 2;
  if (count > 1) {
    slots.key = key;
    slots.verify = ed25519_verify;
  }
  for (int kind = getchar(); kind != EOF; kind = getchar()) {
    if (kind == 'F') {
      flash(&slots);
    } else {
      updates(&slots);
    }
  }
  return 0;
}
