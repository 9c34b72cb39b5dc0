/* What the project uses of the Arduino core. */
#ifndef ARDUINO_H
#define ARDUINO_H

#include <stddef.h>
#include <stdint.h>

struct HardwareSerial {
  void begin(unsigned long baud);
  size_t write(const uint8_t *bytes, size_t count);
  int available();
  int read();
  operator bool();
};
extern HardwareSerial Serial;

extern "C" uint32_t millis();
extern "C" uint32_t micros();
void setup();
void loop();

#endif
