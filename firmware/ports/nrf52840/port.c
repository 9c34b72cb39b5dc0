/* nRF52840 on an Arduino Nano 33 BLE: UARTE 0 on the header's TX (P1.03), 115,200 baud, 8N1.
 *
 * Registers: nRF52840 Product Specification, CLOCK, UARTE and GPIO. Polled; no interrupts. */
#include "port.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define CLOCK_TASKS_HFCLKSTART REGISTER(0x40000000u)

#define UARTE 0x40002000u
#define TASKS_STARTTX REGISTER(UARTE + 0x008u)
#define EVENTS_ENDTX REGISTER(UARTE + 0x120u)
#define INTENCLR REGISTER(UARTE + 0x308u)
#define ENABLE REGISTER(UARTE + 0x500u)
#define PSEL_RTS REGISTER(UARTE + 0x508u)
#define PSEL_TXD REGISTER(UARTE + 0x50Cu)
#define PSEL_CTS REGISTER(UARTE + 0x510u)
#define PSEL_RXD REGISTER(UARTE + 0x514u)
#define BAUDRATE REGISTER(UARTE + 0x524u)
#define TXD_PTR REGISTER(UARTE + 0x544u)
#define TXD_MAXCNT REGISTER(UARTE + 0x548u)
#define CONFIG REGISTER(UARTE + 0x56Cu)

#define P1_OUTSET REGISTER(0x50000808u)
#define P1_DIRSET REGISTER(0x50000818u)

#define ENABLED 8u
#define DISCONNECTED 0xFFFFFFFFu
#define BAUD_115200 0x01D7E000u
#define TX_PIN 3u
#define PORT_1 (1u << 5)

/* EasyDMA reads RAM only. */
static char buffer[128];

void port_init(void) {
  /* The internal oscillator is too inaccurate for a UART; the crystal runs within half a millisecond. */
  CLOCK_TASKS_HFCLKSTART = 1;
  ENABLE = 0;
  INTENCLR = 0xFFFFFFFFu;
  P1_OUTSET = 1u << TX_PIN;
  P1_DIRSET = 1u << TX_PIN;
  PSEL_TXD = PORT_1 | TX_PIN;
  PSEL_RXD = DISCONNECTED;
  PSEL_RTS = DISCONNECTED;
  PSEL_CTS = DISCONNECTED;
  BAUDRATE = BAUD_115200;
  CONFIG = 0;
  ENABLE = ENABLED;
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
