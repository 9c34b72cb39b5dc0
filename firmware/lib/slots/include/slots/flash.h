/* The flash that a slot's owner erases and writes; a port implements it. It is read through pointers.
 *
 * What is asked of the flash: erasing sets all bits of a page, writing only clears bits, and a call that is cut short
 * by a loss of power leaves nothing changed outside the page or the words that it was about. */
#ifndef SLOTS_FLASH_H
#define SLOTS_FLASH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Erases the page that begins at `page`. Returns 0, or non-zero where the flash refused. */
int flash_erase(const uint8_t *page);

/* Writes `count` words, one after the other in ascending order, into erased flash at `to`, aligned to 4 bytes. `words`
 * need not lie in RAM and must not lie in the page that is written. Returns 0, or non-zero where the flash refused. */
int flash_write(const uint8_t *to, const uint32_t *words, size_t count);

#ifdef __cplusplus
}
#endif

#endif
