/* The code memory of QEMU's MPS2 and MPS3 boards is RAM: here it behaves like flash, erased to ones in pages, written
 * by clearing bits. */
#include "slots/flash.h"

#include <string.h>

#define PAGE 4096u /* as in the boards' JSON */

int flash_erase(const uint8_t *page) {
  memset((uint8_t *)(uintptr_t)page, 0xFF, PAGE);
  return 0;
}

int flash_write(const uint8_t *to, const uint32_t *words, size_t count) {
  volatile uint32_t *word = (volatile uint32_t *)(uintptr_t)to;
  for (size_t i = 0; i < count; i++) word[i] = word[i] & words[i];
  return 0;
}
