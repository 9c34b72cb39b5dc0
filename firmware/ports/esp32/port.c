/* ESP32 and ESP32-S3 as LabWired emulates them: UART 0 as console, CCOUNT as clock and instruction counter.
 *
 * For checking our C on the architecture alone. It is no firmware for the chips: these want an image that their boot
 * loader takes, the windowed ABI of their SDK for its libraries, constants in another window than code, and their
 * watchdogs fed. */
#include "port.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

/* The chips differ in where UART 0 is; their code lies in different windows too. */
extern const uint8_t __flash_origin[];
#define ESP32S3_CODE 0x42000000u
#define ESP32_UART 0x3FF40000u
#define ESP32S3_UART 0x60000000u

#define UART_FIFO 0x00u
#define UART_STATUS 0x1Cu
#define UART_RECEIVED(status) ((status)&0xFFu)
#define UART_TO_SEND(status) ((status) >> 16 & 0xFFu)
#define UART_FIFO_BYTES 128u

#define TICKS_PER_MICROSECOND (TINYML_CLOCK_HZ / 1000000u)

static uint32_t counted_from;
static uint32_t last_ticks, wraps;

static volatile uint32_t *uart(uint32_t offset) {
  const uint32_t base = (uintptr_t)__flash_origin >= ESP32S3_CODE ? ESP32S3_UART : ESP32_UART;
  return &REGISTER(base + offset);
}

/* One an instruction in LabWired. */
static uint32_t ticks(void) {
  uint32_t value;
  __asm volatile("rsr %0, ccount" : "=r"(value)::"memory");
  return value;
}

void port_init(void) {}

void port_write(const char *text, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) {
    while (UART_TO_SEND(*uart(UART_STATUS)) >= UART_FIFO_BYTES - 2) {
    }
    *uart(UART_FIFO) = (uint8_t)text[i];
  }
}

int port_read(void) { return UART_RECEIVED(*uart(UART_STATUS)) != 0 ? (int)(*uart(UART_FIFO) & 0xFFu) : -1; }

/* Right where it is asked at least once in 17 s. */
int port_clock(uint64_t *microseconds) {
  const uint32_t now = ticks();
  if (now < last_ticks) wraps++;
  last_ticks = now;
  *microseconds = ((uint64_t)wraps << 32 | now) / TICKS_PER_MICROSECOND;
  return 0;
}

void port_exit(int status) {
  (void)status;
  for (;;) {
  }
}

void port_count_start(void) { counted_from = ticks(); }

int port_count_stop(uint64_t *instructions) {
  *instructions = ticks() - counted_from;
  return 0;
}
