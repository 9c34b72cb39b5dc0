#include "simulated_flash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slots/flash.h"

unsigned long simulated_operations;
jmp_buf simulated_dark;

static long cut_after = -1;
static unsigned cut_how;
static const uint8_t *kept;
static size_t kept_bytes;
static uint32_t state = 1;

void simulated_arm(long after, unsigned how, const uint8_t *range, size_t bytes) {
  cut_after = after;
  cut_how = how;
  kept = range;
  kept_bytes = bytes;
  simulated_operations = 0;
  state = 2463534242u + 977u * how + (uint32_t)after;
}

static void require(int right, const char *what) {
  if (right) return;
  fprintf(stderr, "the flash was misused: %s\n", what);
  abort();
}

static uint8_t random_byte(void) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return (uint8_t)(state >> 8);
}

/* Which bits of byte `i` of `count` change before the power goes. */
static uint8_t mask(size_t i, size_t count) {
  switch (cut_how) {
    case CUT_BEFORE:
      return 0;
    case CUT_AFTER:
      return 0xFF;
    case CUT_FIRST_HALF:
      return i < count / 2 ? 0xFF : 0;
    case CUT_SECOND_HALF:
      return i < count / 2 ? 0 : 0xFF;
    default:
      return random_byte();
  }
}

static void change(uint8_t *at, const uint8_t *to, size_t count) {
  require(
      at >= simulated_flash && count <= simulated_bytes && (size_t)(at - simulated_flash) <= simulated_bytes - count,
      "an address outside");
  require(kept == NULL || at + count <= kept || at >= kept + kept_bytes, "the slot in use was touched");
  if (cut_after >= 0 && simulated_operations == (unsigned long)cut_after) {
    for (size_t i = 0; i < count; i++) at[i] = (uint8_t)(at[i] ^ ((at[i] ^ to[i]) & mask(i, count)));
    cut_after = -1;
    longjmp(simulated_dark, 1);
  }
  memcpy(at, to, count);
  simulated_operations++;
}

int flash_erase(const uint8_t *page) {
  static uint8_t ones[SIMULATED_PAGE];
  memset(ones, 0xFF, sizeof ones);
  require((size_t)(page - simulated_flash) % SIMULATED_PAGE == 0, "no page begins there");
  change(simulated_flash + (page - simulated_flash), ones, sizeof ones);
  return 0;
}

int flash_write(const uint8_t *to, const uint32_t *words, size_t count) {
  require((size_t)(to - simulated_flash) % 4 == 0, "no word begins there");
  uint8_t *at = simulated_flash + (to - simulated_flash);
  for (size_t i = 0; i < count; i++, at += 4) {
    uint8_t cleared[4];
    memcpy(cleared, &words[i], 4);
    for (unsigned k = 0; k < 4; k++) {
      require(at[k] == 0xFF, "a word was written that was not erased");
      cleared[k] &= at[k];
    }
    change(at, cleared, 4);
  }
  return 0;
}
