/* Start-up of an Xtensa core without an operating system: memory, stack paint, exceptions. */
#include "../start.h"

void xtensa_start(void);
void xtensa_exception(uint32_t pc, uint32_t cause, uint32_t address, uint32_t return_address);

/* Every exception ends here: exccause is its number in the Xtensa ISA, excvaddr the address that it is about. */
void xtensa_exception(uint32_t pc, uint32_t cause, uint32_t address, uint32_t return_address) {
  static const char end[] = "\n";
  start_print_hex32("\n#error fault at epc1=", pc);
  start_print_hex32(" exccause=", cause);
  start_print_hex32(" excvaddr=", address);
  start_print_hex32(" a0=", return_address);
  port_write(end, sizeof end - 1);
  port_exit(1);
  for (;;) {
  }
}

void xtensa_start(void) {
  start_memory();
  port_init();
  port_exit(app_run());
  for (;;) {
  }
}

int port_stack_used(size_t *bytes) {
  *bytes = start_stack_used();
  return 0;
}
