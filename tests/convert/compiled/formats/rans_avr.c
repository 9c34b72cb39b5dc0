/* Decodes the stream of rans_tables.h, which lies in flash, on an AVR: sends the time that it took (two bytes, in
 * steps of eight cycles) and the
 * symbols to USART 0. */
#include <avr/io.h>

#include "kernels/rans.h"
#include "rans_tables.h"

static uint8_t symbols[RANS_SYMBOLS];

static void send(uint8_t byte) {
  while ((UCSR0A & _BV(UDRE0)) == 0) {
  }
  UDR0 = byte;
}

static __attribute__((noinline)) void decode(const kernels_rans_model *model) {
  const kernels_rans_model m = *model;
  kernels_rans r;
  kernels_rans_open(&r, rans_stream);
  for (int16_t i = 0; i < RANS_SYMBOLS; i++) symbols[i] = kernels_rans_next(&r, m);
}

int main(void) {
  const kernels_rans_model model = {rans_slots, rans_entries, RANS_SHIFT};
  UCSR0A = _BV(U2X0);
  UBRR0 = 0;
  UCSR0B = _BV(TXEN0);
  TCCR1B = _BV(CS11); /* a step is eight cycles */
  const uint16_t before = TCNT1;
  decode(&model);
  const uint16_t cycles = TCNT1 - before;
  send((uint8_t)cycles);
  send((uint8_t)(cycles >> 8));
  for (int16_t i = 0; i < RANS_SYMBOLS; i++) send(symbols[i]);
  for (;;) {
  }
}
