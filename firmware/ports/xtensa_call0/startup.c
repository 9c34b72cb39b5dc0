/* Start-up of an Xtensa core without an operating system: memory, stack paint, exceptions. */
#include <stddef.h>
#include <stdint.h>

#include "port.h"

extern uint32_t __data_start[], __data_end[], __bss_start[], __bss_end[];
extern const uint32_t __data_load[];
extern uint32_t __stack_bottom[], __stack_top[];

void xtensa_start(void);
void xtensa_exception(uint32_t pc, uint32_t cause, uint32_t address, uint32_t return_address);

#define PAINT 0xA5A5A5A5u
/* Not painted: the frames of the painting itself. */
#define PAINT_MARGIN_WORDS 32

static void print_hex32(const char *name, uint32_t value) {
  char text[] = "0x00000000";
  size_t length = 0;
  while (name[length] != '\0') length++;
  for (int i = 0; i < 8; i++) text[9 - i] = "0123456789abcdef"[(value >> (4 * i)) & 15u];
  port_write(name, length);
  port_write(text, sizeof text - 1);
}

/* Every exception ends here: exccause is its number in the Xtensa ISA, excvaddr the address that it is about. */
void xtensa_exception(uint32_t pc, uint32_t cause, uint32_t address, uint32_t return_address) {
  static const char end[] = "\n";
  print_hex32("\n#error fault at epc1=", pc);
  print_hex32(" exccause=", cause);
  print_hex32(" excvaddr=", address);
  print_hex32(" a0=", return_address);
  port_write(end, sizeof end - 1);
  port_exit(1);
  for (;;) {
  }
}

void xtensa_start(void) {
  const uint32_t *from = __data_load;
  for (uint32_t *to = __data_start; to < __data_end; to++) *to = *from++;
  for (uint32_t *to = __bss_start; to < __bss_end; to++) *to = 0;
  const uint32_t *end = (const uint32_t *)__builtin_frame_address(0) - PAINT_MARGIN_WORDS;
  for (volatile uint32_t *to = __stack_bottom; to < end; to++) *to = PAINT;
  port_init();
  port_exit(app_run());
  for (;;) {
  }
}

int port_stack_used(size_t *bytes) {
  const uint32_t *deepest = __stack_bottom;
  while (deepest < __stack_top && *deepest == PAINT) deepest++;
  *bytes = (size_t)((const char *)__stack_top - (const char *)deepest);
  return 0;
}
