/* Start-up of a RISC-V core without an operating system: memory, stack paint, traps. */
#include "../start.h"

void riscv_start(void);
void riscv_trap(uint32_t pc, uint32_t cause, uint32_t value, uint32_t return_address);

/* Every exception ends here: mcause is its number in the Privileged Architecture, mtval the address or the instruction
 * that it is about. */
void riscv_trap(uint32_t pc, uint32_t cause, uint32_t value, uint32_t return_address) {
  static const char end[] = "\n";
  start_print_hex32("\n#error fault at mepc=", pc);
  start_print_hex32(" mcause=", cause);
  start_print_hex32(" mtval=", value);
  start_print_hex32(" ra=", return_address);
  port_write(end, sizeof end - 1);
  port_exit(1);
  for (;;) {
  }
}

void riscv_start(void) {
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
