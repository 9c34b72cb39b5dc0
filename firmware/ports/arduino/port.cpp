/* Arduino core: the console is the board's serial port, -DTINYML_SERIAL=Serial1 takes another. */
#include "port.h"

#include <Arduino.h>

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

/* A board ends by waiting in loop(). */
void port_exit(int status) { (void)status; }

void port_count_start(void) {}

int port_count_stop(uint64_t *instructions) {
  (void)instructions;
  return 1;
}

int port_stack_used(size_t *bytes) {
  (void)bytes;
  return 1;
}

void setup() {
  port_init();
  /* A USB port exists only once a terminal is open; nothing is lost by waiting for it. */
  while (!TINYML_SERIAL) {
  }
  port_exit(app_run());
}

/* Any byte from the terminal runs the vectors again. */
void loop() {
  if (TINYML_SERIAL.available() == 0) return;
  while (TINYML_SERIAL.available() != 0) (void)TINYML_SERIAL.read();
  port_exit(app_run());
}
