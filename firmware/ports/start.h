/* What the start-up code of every core without an operating system does: variables, the stack's paint, the numbers in
 * the line of a fault. The linker scripts give the symbols. */
#ifndef START_H
#define START_H

#include <stddef.h>
#include <stdint.h>

#include "port.h"

extern uint32_t __data_start[], __data_end[], __bss_start[], __bss_end[];
extern const uint32_t __data_load[];
extern uint32_t __stack_bottom[], __stack_top[];

#define START_PAINT 0xA5A5A5A5u
/* Not painted: the frames of the painting itself. */
#define START_MARGIN_WORDS 32

/* Gives variables their first values and paints the stack below its caller, into whose frame it must be inlined. */
__attribute__((always_inline)) static inline void start_memory(void) {
  const uint32_t *from = __data_load;
  for (uint32_t *to = __data_start; to < __data_end; to++) *to = *from++;
  for (uint32_t *to = __bss_start; to < __bss_end; to++) *to = 0;
  const uint32_t *end = (const uint32_t *)__builtin_frame_address(0) - START_MARGIN_WORDS;
  for (volatile uint32_t *to = __stack_bottom; to < end; to++) *to = START_PAINT;
}

/* Deepest use of the painted stack so far, in bytes. */
static inline size_t start_stack_used(void) {
  const uint32_t *deepest = __stack_bottom;
  while (deepest < __stack_top && *deepest == START_PAINT) deepest++;
  return (size_t)((const char *)__stack_top - (const char *)deepest);
}

/* Prints "<name>0x<8 digits>". */
static void start_print_hex32(const char *name, uint32_t value) {
  char text[] = "0x00000000";
  size_t length = 0;
  while (name[length] != '\0') length++;
  for (int i = 0; i < 8; i++) text[9 - i] = "0123456789abcdef"[(value >> (4 * i)) & 15u];
  port_write(name, length);
  port_write(text, sizeof text - 1);
}

#endif
