/* QEMU mps2-an386: CMSDK UART 0 as console, CMSDK timer 0 as instruction counter, semihosting to leave. */
#include "port.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define UART_DATA REGISTER(0x40004000u)
#define UART_STATE REGISTER(0x40004004u)
#define UART_CTRL REGISTER(0x40004008u)
#define UART_BAUDDIV REGISTER(0x40004010u)
#define UART_TX_FULL 1u
#define UART_TX_ENABLE 1u

#define TIMER_CTRL REGISTER(0x40000000u)
#define TIMER_VALUE REGISTER(0x40000004u)
#define TIMER_RELOAD REGISTER(0x40000008u)
#define TIMER_ENABLE 1u

/* With -icount shift=0 an instruction takes 1 ns of the emulated time and the timer runs at 25 MHz: a tick is 40
 * instructions, which is the resolution. */
#define INSTRUCTIONS_PER_TICK 40u

#define SYS_EXIT_EXTENDED 0x20
#define ADP_STOPPED_APPLICATION_EXIT 0x20026u

void port_init(void) {
  UART_BAUDDIV = 16;
  UART_CTRL = UART_TX_ENABLE;
  TIMER_RELOAD = 0xFFFFFFFFu;
}

void port_write(const char *text, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) {
    while ((UART_STATE & UART_TX_FULL) != 0) {
    }
    UART_DATA = (uint8_t)text[i];
  }
}

void port_exit(int status) {
  const uint32_t block[2] = {ADP_STOPPED_APPLICATION_EXIT, (uint32_t)status};
  register uint32_t operation __asm("r0") = SYS_EXIT_EXTENDED;
  register const uint32_t *argument __asm("r1") = block;
  __asm volatile("bkpt 0xAB" : "+r"(operation) : "r"(argument) : "memory");
  for (;;) {
  }
}

void port_count_start(void) {
  TIMER_CTRL = 0;
  TIMER_VALUE = 0xFFFFFFFFu;
  TIMER_CTRL = TIMER_ENABLE;
}

int port_count_stop(uint64_t *instructions) {
  *instructions = (uint64_t)(0xFFFFFFFFu - TIMER_VALUE) * INSTRUCTIONS_PER_TICK;
  return 0;
}
