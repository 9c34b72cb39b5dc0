/* nRF52840 on an Arduino Nano 33 BLE: UARTE 0 on the header's TX (P1.03) and RX (P1.10), 115,200 baud, 8N1; TIMER 1 as
 * clock.
 *
 * Registers: nRF52840 Product Specification, CLOCK, UARTE, TIMER and GPIO. Polled; no interrupts. */
#include "port.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define CLOCK_TASKS_HFCLKSTART REGISTER(0x40000000u)

#define UARTE 0x40002000u
#define TASKS_STARTRX REGISTER(UARTE + 0x000u)
#define TASKS_STARTTX REGISTER(UARTE + 0x008u)
#define EVENTS_ENDRX REGISTER(UARTE + 0x110u)
#define EVENTS_ENDTX REGISTER(UARTE + 0x120u)
#define INTENCLR REGISTER(UARTE + 0x308u)
#define ENABLE REGISTER(UARTE + 0x500u)
#define PSEL_RTS REGISTER(UARTE + 0x508u)
#define PSEL_TXD REGISTER(UARTE + 0x50Cu)
#define PSEL_CTS REGISTER(UARTE + 0x510u)
#define PSEL_RXD REGISTER(UARTE + 0x514u)
#define BAUDRATE REGISTER(UARTE + 0x524u)
#define RXD_PTR REGISTER(UARTE + 0x534u)
#define RXD_MAXCNT REGISTER(UARTE + 0x538u)
#define TXD_PTR REGISTER(UARTE + 0x544u)
#define TXD_MAXCNT REGISTER(UARTE + 0x548u)
#define CONFIG REGISTER(UARTE + 0x56Cu)

#define TIMER 0x40009000u
#define TIMER_START REGISTER(TIMER + 0x000u)
#define TIMER_CAPTURE REGISTER(TIMER + 0x040u)
#define TIMER_MODE REGISTER(TIMER + 0x504u)
#define TIMER_BITMODE REGISTER(TIMER + 0x508u)
#define TIMER_PRESCALER REGISTER(TIMER + 0x510u)
#define TIMER_CC REGISTER(TIMER + 0x540u)

#define P1_OUTSET REGISTER(0x50000808u)
#define P1_DIRSET REGISTER(0x50000818u)
#define P1_PIN_CNF(pin) REGISTER(0x50000A00u + 4u * (pin))

#define ENABLED 8u
#define DISCONNECTED 0xFFFFFFFFu
#define BAUD_115200 0x01D7E000u
#define TX_PIN 3u
#define RX_PIN 10u
#define INPUT_PULLED_UP 0xCu
#define PORT_1 (1u << 5)
#define COUNT_TIME 0u
#define BITS_32 3u
#define MHZ_1 4u /* 16 MHz by 2^4 */

/* EasyDMA reads and writes RAM only. */
static char buffer[128];
static volatile uint8_t received;

void port_init(void) {
  /* The internal oscillator is too inaccurate for a UART; the crystal runs within half a millisecond. */
  CLOCK_TASKS_HFCLKSTART = 1;
  ENABLE = 0;
  INTENCLR = 0xFFFFFFFFu;
  P1_OUTSET = 1u << TX_PIN;
  P1_DIRSET = 1u << TX_PIN;
  PSEL_TXD = PORT_1 | TX_PIN;
  P1_PIN_CNF(RX_PIN) = INPUT_PULLED_UP;
  PSEL_RXD = PORT_1 | RX_PIN;
  PSEL_RTS = DISCONNECTED;
  PSEL_CTS = DISCONNECTED;
  BAUDRATE = BAUD_115200;
  CONFIG = 0;
  ENABLE = ENABLED;
  RXD_PTR = (uint32_t)&received;
  RXD_MAXCNT = 1;
  EVENTS_ENDRX = 0;
  TASKS_STARTRX = 1;

  TIMER_MODE = COUNT_TIME;
  TIMER_BITMODE = BITS_32;
  TIMER_PRESCALER = MHZ_1;
  TIMER_START = 1;
}

static void send(size_t bytes) {
  EVENTS_ENDTX = 0;
  TXD_PTR = (uint32_t)buffer;
  TXD_MAXCNT = bytes;
  TASKS_STARTTX = 1;
  while (EVENTS_ENDTX == 0) {
  }
}

void port_write(const char *text, size_t bytes) {
  while (bytes > 0) {
    size_t part = bytes < sizeof buffer ? bytes : sizeof buffer;
    for (size_t i = 0; i < part; i++) buffer[i] = text[i];
    send(part);
    text += part;
    bytes -= part;
  }
}

/* A byte at a time: between two the receiver keeps four more of its own, 0.3 ms at this rate. */
int port_read(void) {
  if (EVENTS_ENDRX == 0) return -1;
  EVENTS_ENDRX = 0;
  const uint8_t byte = received;
  TASKS_STARTRX = 1;
  return byte;
}

/* The timer starts again every 71 minutes; asked at least that often, this clock does not. */
int port_clock(uint64_t *microseconds) {
  static uint32_t last, turns;
  TIMER_CAPTURE = 1;
  const uint32_t now = TIMER_CC;
  if (now < last) turns++;
  last = now;
  *microseconds = (uint64_t)turns << 32 | now;
  return 0;
}

void port_exit(int status) {
  (void)status;
  for (;;) __asm volatile("wfe");
}

void port_count_start(void) {}

/* Nothing on the chip counts instructions; an emulator counts from outside. */
int port_count_stop(uint64_t *instructions) {
  (void)instructions;
  return 1;
}
