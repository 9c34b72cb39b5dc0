/* QEMU's riscv32 machine "virt": 16550 as console, CLINT as clock, minstret as instruction counter, test device to
 * leave. */
#include "port.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define UART_DATA (*(volatile uint8_t *)0x10000000u)
#define UART_LINE_STATUS (*(volatile uint8_t *)0x10000005u)
#define UART_RECEIVED 0x01u
#define UART_TX_EMPTY 0x20u

/* Ten ticks a microsecond. */
#define MTIME_LOW REGISTER(0x0200BFF8u)
#define MTIME_HIGH REGISTER(0x0200BFFCu)
#define TICKS_PER_MICROSECOND 10u

#define TEST_DEVICE REGISTER(0x00100000u)
#define TEST_PASS 0x5555u
#define TEST_FAIL 0x3333u

static uint64_t counted_from;

void port_init(void) {}

void port_write(const char *text, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) {
    while ((UART_LINE_STATUS & UART_TX_EMPTY) == 0) {
    }
    UART_DATA = (uint8_t)text[i];
  }
}

int port_read(void) { return (UART_LINE_STATUS & UART_RECEIVED) != 0 ? UART_DATA : -1; }

int port_clock(uint64_t *microseconds) {
  uint32_t high, low;
  do {
    high = MTIME_HIGH;
    low = MTIME_LOW;
  } while (high != MTIME_HIGH);
  *microseconds = ((uint64_t)high << 32 | low) / TICKS_PER_MICROSECOND;
  return 0;
}

void port_exit(int status) {
  TEST_DEVICE = status == 0 ? TEST_PASS : (uint32_t)status << 16 | TEST_FAIL;
  for (;;) {
  }
}

#define READ_CSR(name)                                                                        \
  __extension__({                                                                             \
    uint32_t value;                                                                           \
    __asm volatile(".option push\n\t.option arch, +zicsr\n\tcsrr %0, " name "\n\t.option pop" \
                   : "=r"(value)::"memory");                                                  \
    value;                                                                                    \
  })

/* Exact with -icount only: QEMU counts host time otherwise. */
static uint64_t instructions_retired(void) {
  uint32_t high, low;
  do {
    high = READ_CSR("minstreth");
    low = READ_CSR("minstret");
  } while (high != READ_CSR("minstreth"));
  return (uint64_t)high << 32 | low;
}

void port_count_start(void) { counted_from = instructions_retired(); }

int port_count_stop(uint64_t *instructions) {
  *instructions = instructions_retired() - counted_from;
  return 0;
}
