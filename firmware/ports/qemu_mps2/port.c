/* QEMU's MPS2 and MPS3 boards: CMSDK UART 0 as console, a timer as clock and instruction counter, semihosting to leave.
 *
 * One image does not run on all of them, since their memories lie elsewhere; what else differs is in the table below
 * and found by the core's part number. Everything is used from the secure side, as the core starts. */
#include "port.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define CPUID REGISTER(0xE000ED00u)
#define PART_NUMBER(cpuid) ((cpuid) >> 4 & 0xFFFu)

/* CMSDK UART, offsets from its base. */
#define UART_DATA 0x0u
#define UART_STATE 0x4u
#define UART_CTRL 0x8u
#define UART_BAUDDIV 0x10u
#define UART_TX_FULL 1u
#define UART_RX_FULL 2u
#define UART_ENABLE 3u /* transmitter and receiver */

/* CMSDK timers count 32 bits down, the second one 0x1000 behind the first. SSE-300 has a counter of 64 bits instead. */
#define TIMER_CTRL 0x0u
#define TIMER_VALUE 0x4u
#define TIMER_RELOAD 0x8u
#define TIMER_ENABLE 1u
#define SECOND_TIMER 0x1000u
#define COUNTER_CONTROL REGISTER(0x58100000u)
#define COUNTER_ENABLE 1u
#define COUNTER_LOW REGISTER(0x58101000u)
#define COUNTER_HIGH REGISTER(0x58101004u)

/* Where the peripherals lie and the timers' frequency. With -icount shift=0 an instruction takes 1 ns of emulated time,
 * so that a tick is 1e9 / hz instructions: 40 on MPS2 boards, 50 on AN505, 31.25 on AN547. That is the resolution. */
static const struct machine {
  uint32_t part;
  uint32_t uart;
  uint32_t timer; /* 0: the SSE-300's counter */
  uint32_t hz;
} machines[] = {
    {0xC23u, 0x40004000u, 0x40000000u, 25000000u}, /* Cortex-M3: mps2-an385 */
    {0xC24u, 0x40004000u, 0x40000000u, 25000000u}, /* Cortex-M4: mps2-an386 */
    {0xC27u, 0x40004000u, 0x40000000u, 25000000u}, /* Cortex-M7: mps2-an500 */
    {0xD21u, 0x50200000u, 0x50000000u, 20000000u}, /* Cortex-M33: mps2-an505 */
    {0xD22u, 0x59303000u, 0u, 32000000u},          /* Cortex-M55: mps3-an547 */
};

static const struct machine *machine;
static uint64_t counted_from;

#define SYS_EXIT_EXTENDED 0x20
#define ADP_STOPPED_APPLICATION_EXIT 0x20026u

static volatile uint32_t *uart(uint32_t offset) { return &REGISTER(machine->uart + offset); }

static void start_timer(uint32_t timer) {
  REGISTER(timer + TIMER_RELOAD) = 0xFFFFFFFFu;
  REGISTER(timer + TIMER_VALUE) = 0xFFFFFFFFu;
  REGISTER(timer + TIMER_CTRL) = TIMER_ENABLE;
}

void port_init(void) {
  const uint32_t part = PART_NUMBER(CPUID);
  machine = machines;
  while (machine->part != part) {
    if (++machine == machines + sizeof machines / sizeof *machines) port_exit(2);
  }
  *uart(UART_BAUDDIV) = 16;
  *uart(UART_CTRL) = UART_ENABLE;
  if (machine->timer != 0) {
    start_timer(machine->timer + SECOND_TIMER);
  } else {
    COUNTER_CONTROL = COUNTER_ENABLE;
  }
}

void port_write(const char *text, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) {
    while ((*uart(UART_STATE) & UART_TX_FULL) != 0) {
    }
    *uart(UART_DATA) = (uint8_t)text[i];
  }
}

int port_read(void) { return (*uart(UART_STATE) & UART_RX_FULL) != 0 ? (int)(*uart(UART_DATA) & 0xFFu) : -1; }

static uint64_t wide_counter(void) {
  uint32_t high, low;
  do {
    high = COUNTER_HIGH;
    low = COUNTER_LOW;
  } while (high != COUNTER_HIGH);
  return (uint64_t)high << 32 | low;
}

/* The second CMSDK timer, in ticks; it must be read more often than every 171 s of emulated time. */
static uint64_t long_timer(void) {
  static uint64_t ticks;
  const uint32_t now = 0xFFFFFFFFu - REGISTER(machine->timer + SECOND_TIMER + TIMER_VALUE);
  ticks += (uint32_t)(now - (uint32_t)ticks);
  return ticks;
}

int port_clock(uint64_t *microseconds) {
  *microseconds = (machine->timer != 0 ? long_timer() : wide_counter()) / (machine->hz / 1000000u);
  return 0;
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
  if (machine->timer != 0) {
    REGISTER(machine->timer + TIMER_CTRL) = 0;
    start_timer(machine->timer);
  } else {
    counted_from = wide_counter();
  }
}

int port_count_stop(uint64_t *instructions) {
  uint64_t ticks;
  if (machine->timer != 0) {
    ticks = 0xFFFFFFFFu - REGISTER(machine->timer + TIMER_VALUE);
  } else {
    ticks = wide_counter() - counted_from;
  }
  *instructions = ticks * 1000u / (machine->hz / 1000000u);
  return 0;
}
