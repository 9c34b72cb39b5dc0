/* Arduino core: the console is the board's serial port, -DTINYML_SERIAL=Serial1 takes another.
 *
 * On an AVR the core's serial port would take a tenth of the RAM for its buffers and an interrupt a byte; unless
 * TINYML_SERIAL names one, USART 0 is polled here, at the same pins and rate. */
#include "port.h"

#include <Arduino.h>

#if defined(__AVR__) && !defined(TINYML_SERIAL)

/* Registers: ATmega328P data sheet, USART0. */
void port_init(void) {
  UCSR0A = _BV(U2X0);
  UBRR0 = (F_CPU / 4 / 115200 - 1) / 2; /* rounded, as the core does */
  UCSR0C = _BV(UCSZ01) | _BV(UCSZ00);   /* 8N1 */
  UCSR0B = _BV(TXEN0) | _BV(RXEN0);
}

static void send(char c) {
  while ((UCSR0A & _BV(UDRE0)) == 0) {
  }
  UDR0 = (uint8_t)c;
}

void port_write(const char *text, size_t bytes) {
  for (; bytes > 0; bytes--) send(*text++);
}

void port_write_text(const char *text, size_t bytes) {
  for (; bytes > 0; bytes--) send((char)pgm_read_byte(text++));
}

/* The chip keeps two bytes and receives a third: who expects more asks at least every 3,000 cycles. */
int port_read(void) { return (UCSR0A & _BV(RXC0)) != 0 ? UDR0 : -1; }

static bool connected(void) { return true; }

#else

#ifndef TINYML_SERIAL
#define TINYML_SERIAL Serial
#endif

void port_init(void) { TINYML_SERIAL.begin(115200); }

void port_write(const char *text, size_t bytes) {
  /* Over USB a write may take less than it is given; what the host does not fetch within a second is lost. */
  const uint32_t start = millis();
  while (bytes > 0 && millis() - start < 1000) {
    const size_t written = TINYML_SERIAL.write(reinterpret_cast<const uint8_t *>(text), bytes);
    text += written;
    bytes -= written;
  }
}

#if defined(__AVR__)
void port_write_text(const char *text, size_t bytes) {
  for (; bytes > 0; bytes--) {
    const char c = (char)pgm_read_byte(text++);
    port_write(&c, 1);
  }
}
#endif

int port_read(void) {
  if (TINYML_SERIAL.available() > 0) return TINYML_SERIAL.read();
#if defined(ESP32)
  /* Asked for ever, the idle task would never run, and the core's watchdog wants it to. */
  static uint16_t in_vain;
  if (++in_vain == 0) delay(1);
#endif
  return -1;
}

static bool connected(void) { return TINYML_SERIAL ? true : false; }

#endif

/* The core's counter, which starts again every 71 minutes; asked at least that often, this one does not. */
int port_clock(uint64_t *microseconds) {
  static uint32_t last, turns;
  const uint32_t now = micros();
  if (now < last) turns++;
  last = now;
  *microseconds = (uint64_t)turns << 32 | now;
  return 0;
}

/* A board ends by waiting in loop(). */
void port_exit(int status) { (void)status; }

void port_count_start(void) {}

int port_count_stop(uint64_t *instructions) {
  (void)instructions;
  return 1;
}

#if defined(__AVR__)

extern "C" uint8_t _end; /* the linker's: the first byte behind the static data; nothing here uses a heap */

/* Before anything uses the stack, all of the free RAM is painted; r1 is not 0 yet. */
extern "C" __attribute__((naked, used, section(".init1"))) void port_paint(void) {
  __asm volatile(
      "ldi r30, lo8(_end)    \n"
      "ldi r31, hi8(_end)    \n"
      "ldi r24, 0xA5         \n"
      "ldi r25, hi8(%0)      \n"
      "rjmp 2f               \n"
      "1: st Z+, r24         \n"
      "2: cpi r30, lo8(%0)   \n"
      "cpc r31, r25          \n"
      "brlo 1b               \n" ::"i"(RAMEND + 1));
}

int port_stack_used(size_t *bytes) {
  const uint8_t *deepest = &_end;
  while (deepest <= reinterpret_cast<const uint8_t *>(RAMEND) && *deepest == 0xA5) deepest++;
  *bytes = RAMEND + 1 - reinterpret_cast<size_t>(deepest);
  return 0;
}

#else

int port_stack_used(size_t *bytes) {
  (void)bytes;
  return 1;
}

#endif

void setup() {
  port_init();
  /* A USB port exists only once a terminal is open; nothing is lost by waiting for it. */
  while (!connected()) {
  }
  port_exit(app_run());
}

/* Any byte from the terminal runs the vectors again. */
void loop() {
  if (port_read() < 0) return;
  while (port_read() >= 0) {
  }
  port_exit(app_run());
}
