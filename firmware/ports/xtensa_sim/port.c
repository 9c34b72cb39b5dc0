/* QEMU's xtensa machine "sim": its semihosting calls are console and exit, CCOUNT is clock and instruction counter. */
#include "port.h"

#define SYS_EXIT 1
#define SYS_READ 3
#define SYS_WRITE 4
#define SYS_SELECT_ONE 29
#define SELECT_READ 1
#define CONSOLE_IN 0
#define CONSOLE_OUT 1

/* CCOUNT ticks at 40 MHz. With -icount shift=0 an instruction takes 1 ns of the emulated time, so that a tick is 25
 * instructions, which is the resolution. It has 32 bits: more than 107 s, or 107e9 instructions, are not told apart. */
#define TICKS_PER_MICROSECOND 40u
#define INSTRUCTIONS_PER_TICK 25u

static uint32_t counted_from;
static uint32_t last_ticks, wraps;

static int simcall(int operation, int a, intptr_t b, int c) {
  register int a2 __asm("a2") = operation;
  register int a3 __asm("a3") = a;
  register intptr_t a4 __asm("a4") = b;
  register int a5 __asm("a5") = c;
  __asm volatile("simcall" : "+r"(a2), "+r"(a3) : "r"(a4), "r"(a5) : "memory");
  return a2;
}

static uint32_t ticks(void) {
  uint32_t value;
  __asm volatile("rsr %0, ccount" : "=r"(value)::"memory");
  return value;
}

void port_init(void) {}

void port_write(const char *text, size_t bytes) {
  while (bytes > 0) {
    const int written = simcall(SYS_WRITE, CONSOLE_OUT, (intptr_t)text, (int)bytes);
    if (written <= 0) return;
    text += written;
    bytes -= (size_t)written;
  }
}

int port_read(void) {
  uint8_t byte;
  if (simcall(SYS_SELECT_ONE, CONSOLE_IN, SELECT_READ, 0) <= 0) return -1;
  return simcall(SYS_READ, CONSOLE_IN, (intptr_t)&byte, 1) == 1 ? byte : -1;
}

/* Right where it is asked at least once in 107 s. */
int port_clock(uint64_t *microseconds) {
  const uint32_t now = ticks();
  if (now < last_ticks) wraps++;
  last_ticks = now;
  *microseconds = ((uint64_t)wraps << 32 | now) / TICKS_PER_MICROSECOND;
  return 0;
}

void port_exit(int status) {
  (void)simcall(SYS_EXIT, status, 0, 0);
  for (;;) {
  }
}

void port_count_start(void) { counted_from = ticks(); }

int port_count_stop(uint64_t *instructions) {
  *instructions = (uint64_t)(ticks() - counted_from) * INSTRUCTIONS_PER_TICK;
  return 0;
}
