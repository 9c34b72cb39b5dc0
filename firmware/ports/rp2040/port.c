/* RP2040 on a Raspberry Pi Pico: UART 0 on GP0 (TX) and GP1 (RX), 115,200 baud, 8N1; 125 MHz from the 12 MHz crystal.
 *
 * Registers: RP2040 datasheet, RESETS, XOSC, PLL, CLOCKS, WATCHDOG (whose divider drives the timer), IO_BANK0,
 * PADS_BANK0, UART and TIMER. Polled; no interrupts; the second core stays in the ROM. Without its crystal the board
 * does not start. */
#include "port.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
/* Aliases of a register that set or clear the bits written. */
#define SET 0x2000u
#define CLEAR 0x3000u

#define RESETS 0x4000C000u
#define RESET_DONE REGISTER(RESETS + 0x08u)
#define PLL_RESET (1u << 12)
#define PERIPHERALS (1u << 5 | 1u << 8 | 1u << 21 | 1u << 22) /* pins, pads, timer, UART 0 */

#define CLK_REF_CTRL REGISTER(0x40008030u)
#define CLK_REF_SELECTED REGISTER(0x40008038u)
#define CLK_SYS_CTRL REGISTER(0x4000803Cu)
#define CLK_SYS_SELECTED REGISTER(0x40008044u)
#define CLK_PERI_CTRL REGISTER(0x40008048u)
#define CLK_REF_XOSC 2u
#define CLK_SYS_REF 0u
#define CLK_SYS_AUX 1u /* the auxiliary source 0 is the PLL */
#define CLK_PERI_ENABLE (1u << 11)

#define XOSC_CTRL REGISTER(0x40024000u)
#define XOSC_STATUS REGISTER(0x40024004u)
#define XOSC_STARTUP REGISTER(0x4002400Cu)
#define XOSC_ENABLE (0xFABu << 12 | 0xAA0u) /* 1 to 15 MHz */
#define XOSC_STABLE (1u << 31)
#define XOSC_MHZ 12u
#define XOSC_MILLISECOND ((XOSC_MHZ * 1000u + 255u) / 256u)

#define PLL_CS REGISTER(0x40028000u)
#define PLL_PWR 0x40028004u
#define PLL_FBDIV REGISTER(0x40028008u)
#define PLL_PRIM REGISTER(0x4002800Cu)
#define PLL_LOCK (1u << 31)
#define PLL_POWER_DOWN (1u << 0 | 1u << 5)
#define PLL_POST_DIVIDERS_DOWN (1u << 3)
#define PLL_TIMES 125u /* 1500 MHz */
#define PLL_DIVIDERS (6u << 16 | 2u << 12)

#define WATCHDOG_TICK REGISTER(0x4005802Cu)
#define TICK_ENABLE (1u << 9)

#define GPIO_CTRL(pin) REGISTER(0x40014004u + 8u * (pin))
#define PAD(pin) REGISTER(0x4001C004u + 4u * (pin))
#define FUNCTION_UART 2u
#define PAD_INPUT_PULLED_UP (1u << 6 | 1u << 4 | 1u << 3 | 1u << 1)
#define TX_PIN 0u
#define RX_PIN 1u

#define UART_DR REGISTER(0x40034000u)
#define UART_FR REGISTER(0x40034018u)
#define UART_IBRD REGISTER(0x40034024u)
#define UART_FBRD REGISTER(0x40034028u)
#define UART_LCR_H REGISTER(0x4003402Cu)
#define UART_CR REGISTER(0x40034030u)
#define UART_RX_EMPTY (1u << 4)
#define UART_TX_FULL (1u << 5)
#define UART_8_BITS_FIFO (3u << 5 | 1u << 4)
#define UART_ENABLE (1u << 0 | 1u << 8 | 1u << 9) /* UART, transmitter, receiver */
#define BAUD 115200u

#define TIMER_HIGH REGISTER(0x40054024u)
#define TIMER_LOW REGISTER(0x40054028u)

static void await(volatile uint32_t *reg, uint32_t bits) {
  while ((*reg & bits) != bits) {
  }
}

static void release(uint32_t peripherals) {
  REGISTER(RESETS + CLEAR) = peripherals;
  await(&RESET_DONE, peripherals);
}

static void start_clock(void) {
  XOSC_STARTUP = XOSC_MILLISECOND;
  XOSC_CTRL = XOSC_ENABLE;
  await(&XOSC_STATUS, XOSC_STABLE);
  /* The PLL is set up while nothing runs from it. */
  CLK_SYS_CTRL = CLK_SYS_REF;
  await(&CLK_SYS_SELECTED, 1u << CLK_SYS_REF);
  CLK_REF_CTRL = CLK_REF_XOSC;
  await(&CLK_REF_SELECTED, 1u << CLK_REF_XOSC);
  REGISTER(RESETS + SET) = PLL_RESET;
  release(PLL_RESET);
  PLL_CS = 1; /* the crystal, not divided */
  PLL_FBDIV = PLL_TIMES;
  REGISTER(PLL_PWR + CLEAR) = PLL_POWER_DOWN;
  await(&PLL_CS, PLL_LOCK);
  PLL_PRIM = PLL_DIVIDERS;
  REGISTER(PLL_PWR + CLEAR) = PLL_POST_DIVIDERS_DOWN;
  CLK_SYS_CTRL = CLK_SYS_AUX;
  await(&CLK_SYS_SELECTED, 1u << CLK_SYS_AUX);
  CLK_PERI_CTRL = CLK_PERI_ENABLE;
  WATCHDOG_TICK = TICK_ENABLE | XOSC_MHZ; /* one tick a microsecond */
}

void port_init(void) {
  release(PERIPHERALS);
  start_clock();
  PAD(RX_PIN) = PAD_INPUT_PULLED_UP;
  GPIO_CTRL(TX_PIN) = FUNCTION_UART;
  GPIO_CTRL(RX_PIN) = FUNCTION_UART;
  /* In 64ths of a sixteenth of the bit rate, rounded. */
  const uint32_t divider = (TINYML_CLOCK_HZ * 4u + BAUD / 2u) / BAUD;
  UART_IBRD = divider >> 6;
  UART_FBRD = divider & 63u;
  UART_LCR_H = UART_8_BITS_FIFO;
  UART_CR = UART_ENABLE;
}

void port_write(const char *text, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) {
    while ((UART_FR & UART_TX_FULL) != 0) {
    }
    UART_DR = (uint8_t)text[i];
  }
}

int port_read(void) { return (UART_FR & UART_RX_EMPTY) != 0 ? -1 : (int)(UART_DR & 0xFFu); }

int port_clock(uint64_t *microseconds) {
  uint32_t high, low;
  do {
    high = TIMER_HIGH;
    low = TIMER_LOW;
  } while (high != TIMER_HIGH);
  *microseconds = (uint64_t)high << 32 | low;
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
