/* Where live_motion's samples come from. One sensor is built: the board's IMU (sensor_arduino.cpp), or a recording that
 * plays it (sensor_recorded.c) in emulators, on boards without an IMU, and with -DLIVE_RECORDED. */
#ifndef SENSOR_H
#define SENSOR_H

#include <stdint.h>

#if defined(ARDUINO_ARDUINO_NANO33BLE) && !defined(LIVE_RECORDED)
#define SENSOR_ARDUINO 1
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Values of a sample: acceleration x, y, z in 4 g / 32768, rotation x, y, z in 2000 degrees a second / 32768. */
#define SENSOR_CHANNELS 6

const char *sensor_name(void);

/* Samples in 1,000 s. */
uint32_t sensor_millihertz(void);

/* Prepares the sensor. Returns 0, or non-zero where it does not answer. */
int sensor_begin(void);

/* Returns 1 and the next sample, 0 where there is none yet, or -1 where there will be none. Does not wait. */
int sensor_read(int16_t *sample);

#ifdef __cplusplus
}
#endif

#endif
