/* STM32F411 on a WeAct Black Pill: USART 1 on PA9 (TX) and PA10 (RX), 115,200 baud, 8N1; 100 MHz from the 25 MHz
 * crystal.
 *
 * Registers: ST's reference manual RM0383 (PWR, FLASH, RCC, GPIO, TIM2 to TIM5, USART). Polled; no interrupts. Where
 * the crystal or the PLL does not start, the chip goes on with its own oscillator of 16 MHz, and baud rate and clock
 * with it: that is also how it runs in an emulator without a clock tree. */
#include "port.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define PWR_CR REGISTER(0x40007000u)
#define PWR_CSR REGISTER(0x40007004u)
#define PWR_SCALE_1 (3u << 14) /* the only voltage for more than 84 MHz */
#define PWR_SCALE_READY (1u << 14)

#define FLASH_ACR REGISTER(0x40023C00u)
#define FLASH_CACHES (7u << 8) /* prefetch, instruction and data cache */
#define FLASH_WAIT_STATES 3u   /* 90 to 100 MHz at 2.7 to 3.6 V */

#define RCC 0x40023800u
#define RCC_CR REGISTER(RCC + 0x00u)
#define RCC_PLLCFGR REGISTER(RCC + 0x04u)
#define RCC_CFGR REGISTER(RCC + 0x08u)
#define RCC_AHB1ENR REGISTER(RCC + 0x30u)
#define RCC_APB1ENR REGISTER(RCC + 0x40u)
#define RCC_APB2ENR REGISTER(RCC + 0x44u)
#define HSI_ON (1u << 0)
#define HSI_READY (1u << 1)
#define HSE_ON (1u << 16)
#define HSE_READY (1u << 17)
#define PLL_ON (1u << 24)
#define PLL_READY (1u << 25)
/* 25 MHz / 25 * 200 / 2 = 100 MHz; Q = 5 keeps the unused USB clock below 48 MHz. */
#define PLL_100_MHZ (25u | 200u << 6 | 0u << 16 | 1u << 22 | 5u << 24)
#define APB1_HALVED (4u << 10) /* at most 50 MHz; its timers still run at the core's clock */
#define SWITCH_PLL 2u
#define SWITCH_STATUS (3u << 2)
#define SWITCHED_TO_PLL (2u << 2)
#define GPIOA_CLOCK 1u
#define TIM2_CLOCK (1u << 0)
#define PWR_CLOCK (1u << 28)
#define USART1_CLOCK (1u << 4)

#define GPIOA_MODER REGISTER(0x40020000u)
#define GPIOA_PUPDR REGISTER(0x4002000Cu)
#define GPIOA_AFRH REGISTER(0x40020024u)
#define PIN_FIELD(pin, width, value) ((uint32_t)(value) << ((pin) % (32u / (width)) * (width)))
#define ALTERNATE 2u
#define PULL_UP 1u
#define AF_USART1 7u
#define TX_PIN 9u
#define RX_PIN 10u

#define USART_SR REGISTER(0x40011000u)
#define USART_DR REGISTER(0x40011004u)
#define USART_BRR REGISTER(0x40011008u)
#define USART_CR1 REGISTER(0x4001100Cu)
#define USART_RXNE (1u << 5)
#define USART_TXE (1u << 7)
#define USART_ENABLE (1u << 13 | 1u << 3 | 1u << 2) /* USART, transmitter, receiver */
#define BAUD 115200u

/* 32 bits, one tick a microsecond. */
#define TIM2_CR1 REGISTER(0x40000000u)
#define TIM2_EGR REGISTER(0x40000014u)
#define TIM2_CNT REGISTER(0x40000024u)
#define TIM2_PSC REGISTER(0x40000028u)
#define TIM2_ARR REGISTER(0x4000002Cu)

#define OWN_OSCILLATOR_HZ 16000000u
/* Tens of milliseconds at 16 MHz: the crystal takes about two, the PLL a fraction of one. */
#define PATIENCE 100000u

static int comes(volatile uint32_t *reg, uint32_t bits, uint32_t wanted) {
  for (unsigned i = 0; i < PATIENCE; i++) {
    if ((*reg & bits) == wanted) return 1;
  }
  return 0;
}

/* Returns the core's clock in Hz. */
static uint32_t start_clock(void) {
  RCC_APB1ENR |= PWR_CLOCK | TIM2_CLOCK;
  (void)RCC_APB1ENR; /* a peripheral's clock takes two cycles */
  /* A bootloader may have left the PLL on, which cannot be changed then. */
  RCC_CR |= HSI_ON;
  (void)comes(&RCC_CR, HSI_READY, HSI_READY);
  RCC_CFGR = 0;
  (void)comes(&RCC_CFGR, SWITCH_STATUS, 0);
  RCC_CR &= ~PLL_ON;
  (void)comes(&RCC_CR, PLL_READY, 0);

  PWR_CR |= PWR_SCALE_1;
  RCC_CR |= HSE_ON;
  if (!comes(&RCC_CR, HSE_READY, HSE_READY)) return OWN_OSCILLATOR_HZ;
  RCC_PLLCFGR = PLL_100_MHZ;
  RCC_CR |= PLL_ON;
  if (!comes(&RCC_CR, PLL_READY, PLL_READY)) return OWN_OSCILLATOR_HZ;
  if (!comes(&PWR_CSR, PWR_SCALE_READY, PWR_SCALE_READY)) return OWN_OSCILLATOR_HZ;
  FLASH_ACR = FLASH_CACHES | FLASH_WAIT_STATES;
  if (!comes(&FLASH_ACR, 15u, FLASH_WAIT_STATES)) return OWN_OSCILLATOR_HZ;
  RCC_CFGR = APB1_HALVED | SWITCH_PLL;
  if (!comes(&RCC_CFGR, SWITCH_STATUS, SWITCHED_TO_PLL)) return OWN_OSCILLATOR_HZ;
  return TINYML_CLOCK_HZ;
}

void port_init(void) {
  const uint32_t hz = start_clock();
  RCC_AHB1ENR |= GPIOA_CLOCK;
  RCC_APB2ENR |= USART1_CLOCK;
  (void)RCC_APB2ENR;
  GPIOA_AFRH = (GPIOA_AFRH & ~(PIN_FIELD(TX_PIN, 4u, 15u) | PIN_FIELD(RX_PIN, 4u, 15u))) |
               PIN_FIELD(TX_PIN, 4u, AF_USART1) | PIN_FIELD(RX_PIN, 4u, AF_USART1);
  GPIOA_PUPDR = (GPIOA_PUPDR & ~PIN_FIELD(RX_PIN, 2u, 3u)) | PIN_FIELD(RX_PIN, 2u, PULL_UP);
  GPIOA_MODER = (GPIOA_MODER & ~(PIN_FIELD(TX_PIN, 2u, 3u) | PIN_FIELD(RX_PIN, 2u, 3u))) |
                PIN_FIELD(TX_PIN, 2u, ALTERNATE) | PIN_FIELD(RX_PIN, 2u, ALTERNATE);
  USART_BRR = (hz + BAUD / 2u) / BAUD;
  USART_CR1 = USART_ENABLE;
  TIM2_PSC = hz / 1000000u - 1u;
  TIM2_ARR = 0xFFFFFFFFu;
  TIM2_EGR = 1; /* takes the prescaler at once and starts from 0 */
  TIM2_CR1 = 1;
}

void port_write(const char *text, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) {
    while ((USART_SR & USART_TXE) == 0) {
    }
    USART_DR = (uint8_t)text[i];
  }
}

int port_read(void) { return (USART_SR & USART_RXNE) != 0 ? (int)(USART_DR & 0xFFu) : -1; }

/* To be called more often than every 71 minutes, when the timer turns over. */
int port_clock(uint64_t *microseconds) {
  static uint64_t total;
  total += (uint32_t)(TIM2_CNT - (uint32_t)total);
  *microseconds = total;
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
