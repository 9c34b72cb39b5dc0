/* The nRF52840's flash through its NVMC: pages of 4 KB, words of 32 bits. The core stands still while the flash is
 * busy, since it runs from the same flash; what comes in on the serial line meanwhile is lost.
 *
 * Registers: as public drivers of this controller name and use them; the Product Specification was not at hand. Run in
 * an emulator with a model of the NVMC, not on silicon. */
#include "slots/flash.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define NVMC 0x4001E000u
#define READY REGISTER(NVMC + 0x400u)
#define CONFIG REGISTER(NVMC + 0x504u)
#define ERASEPAGE REGISTER(NVMC + 0x508u)

enum { READ_ONLY = 0, WRITE_ENABLED = 1, ERASE_ENABLED = 2 };

static void wait(void) {
  while ((READY & 1u) == 0) {
  }
}

static void configure(uint32_t mode) {
  CONFIG = mode;
  __asm volatile("dsb\n\tisb" ::: "memory");
}

int flash_erase(const uint8_t *page) {
  wait();
  configure(ERASE_ENABLED);
  ERASEPAGE = (uint32_t)page;
  wait();
  configure(READ_ONLY);
  return 0;
}

int flash_write(const uint8_t *to, const uint32_t *words, size_t count) {
  volatile uint32_t *word = (volatile uint32_t *)(uintptr_t)to;
  wait();
  configure(WRITE_ENABLED);
  for (size_t i = 0; i < count; i++) {
    word[i] = words[i];
    wait();
  }
  configure(READ_ONLY);
  return 0;
}
