/* Constants on processors whose flash is a memory of its own.
 *
 * On AVR a plain `const` array is copied to RAM before main() and takes room there. KERNELS_FLASH in a declaration
 * leaves it in flash, and in the type of a pointer makes the compiler read with LPM and refuse a pointer to the other
 * memory: `const KERNELS_FLASH int8_t *weights`. It is gcc's named address space __flash (GNU C only: -std=gnu99; the
 * first 64 KB). Everywhere else it is nothing. */
#ifndef KERNELS_FLASH_H
#define KERNELS_FLASH_H

#include <stddef.h>
#include <stdint.h>

#if defined(__AVR__) && defined(__FLASH)

#include <avr/pgmspace.h>

#define KERNELS_FLASH __flash

static inline void kernels_from_flash(void *to, const __flash void *from, size_t bytes) {
  memcpy_P(to, (const void *)(uintptr_t)from, bytes);
}

#else

#include <string.h>

#define KERNELS_FLASH

/* Copies `bytes` bytes of a constant to RAM. */
static inline void kernels_from_flash(void *to, const void *from, size_t bytes) { memcpy(to, from, bytes); }

#endif

#endif
