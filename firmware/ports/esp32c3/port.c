/* ESP32-C3 started by its ROM (direct boot): UART 0 as console (GPIO 20 and 21, on the DevKitM-1 behind its USB
 * bridge), timer group 0 as clock.
 *
 * Clocks and UART stay as the ROM leaves them: 115,200 baud, and a core at half the 40 MHz crystal. Registers: ESP32-C3
 * Technical Reference Manual. */
#include "port.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define UART_FIFO REGISTER(0x60000000u)
#define UART_STATUS REGISTER(0x6000001Cu)
#define UART_RECEIVED(status) ((status)&0x3FFu)
#define UART_TO_SEND(status) ((status) >> 16 & 0x3FFu)
#define UART_FIFO_BYTES 128u

/* Timer group 0, timer 0: the crystal by 40 is a tick a microsecond. LabWired does not divide and counts instructions.
 */
#define TIMER_CONFIG REGISTER(0x6001F000u)
#define TIMER_LOW REGISTER(0x6001F004u)
#define TIMER_HIGH REGISTER(0x6001F008u)
#define TIMER_UPDATE REGISTER(0x6001F00Cu)
#define TIMER_ENABLE (1u << 31)
#define TIMER_INCREASE (1u << 30)
#define TIMER_DIVIDER (40u << 13)
#define TIMER_USE_CRYSTAL (1u << 9)
#define TIMER_LATCH (1u << 31)
#define LATCH_READS 32

/* Watchdogs that the ROM leaves running, each behind a key. */
#define GROUP0_WATCHDOG REGISTER(0x6001F048u)
#define GROUP0_WATCHDOG_KEY REGISTER(0x6001F064u)
#define GROUP0_WATCHDOG_TAKE (1u << 22) /* what else is written takes effect with this bit */
#define RTC_WATCHDOG REGISTER(0x60008090u)
#define RTC_WATCHDOG_KEY REGISTER(0x600080A8u)
#define SUPER_WATCHDOG REGISTER(0x600080ACu)
#define SUPER_WATCHDOG_KEY REGISTER(0x600080B0u)
#define SUPER_WATCHDOG_FEEDS_ITSELF (1u << 31)
#define WATCHDOG_OPEN 0x50D83AA1u
#define SUPER_WATCHDOG_OPEN 0x8F1D312Au

void port_init(void) {
  GROUP0_WATCHDOG_KEY = WATCHDOG_OPEN;
  GROUP0_WATCHDOG = GROUP0_WATCHDOG_TAKE;
  GROUP0_WATCHDOG_KEY = 0;
  RTC_WATCHDOG_KEY = WATCHDOG_OPEN;
  RTC_WATCHDOG = 0;
  RTC_WATCHDOG_KEY = 0;
  SUPER_WATCHDOG_KEY = SUPER_WATCHDOG_OPEN;
  SUPER_WATCHDOG |= SUPER_WATCHDOG_FEEDS_ITSELF;
  SUPER_WATCHDOG_KEY = 0;
  TIMER_CONFIG = 0; /* the divider takes effect on a timer that stands */
  TIMER_CONFIG = TIMER_ENABLE | TIMER_INCREASE | TIMER_DIVIDER | TIMER_USE_CRYSTAL;
}

void port_write(const char *text, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) {
    while (UART_TO_SEND(UART_STATUS) >= UART_FIFO_BYTES - 1) {
    }
    UART_FIFO = (uint8_t)text[i];
  }
}

int port_read(void) { return UART_RECEIVED(UART_STATUS) != 0 ? (int)(UART_FIFO & 0xFFu) : -1; }

int port_clock(uint64_t *microseconds) {
  TIMER_UPDATE = TIMER_LATCH;
  /* The chip takes the bit back within some cycles, LabWired never does. */
  for (int i = 0; i < LATCH_READS && (TIMER_UPDATE & TIMER_LATCH) != 0; i++) {
  }
  const uint32_t high = TIMER_HIGH;
  *microseconds = (uint64_t)high << 32 | TIMER_LOW;
  return 0;
}

void port_exit(int status) {
  (void)status;
  for (;;) {
  }
}

void port_count_start(void) {}

int port_count_stop(uint64_t *instructions) {
  (void)instructions;
  return 1;
}
