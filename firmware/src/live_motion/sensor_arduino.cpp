// The six-axis IMU of a Nano 33 BLE through Arduino's own library: LSM9DS1 on the Nano 33 BLE and BLE Sense, BMI270 on
// the BLE Sense Rev2 (-DLIVE_SENSE_REV2). Both libraries give floats that are the chip's int16 times a constant, at +-4
// g and +-2,000 degrees a second; they are turned back here.
#include "sensor.h"

#ifdef SENSOR_ARDUINO

#ifdef LIVE_SENSE_REV2
#include <Arduino_BMI270_BMM150.h>
#define NAME "BMI270"
#define MILLIHERTZ 100000u
#else
#include <Arduino_LSM9DS1.h>
#define NAME "LSM9DS1"
#define MILLIHERTZ 119000u
#endif

// How the board is worn: for each axis of the training data (x, y, z) the board's axis and its sign. The watch's own
// axes are not documented with the recordings, nor which side is which arm. Their means say: with the arm hanging
// (pendulum, trapezius) 1 g along +x on side 0 and along -x on side 1, with the forearm bent forward (rotations) 0.9 to
// 1 g along +y. Whoever wears the board turns it, or changes these, until its accelerations look like that; gyroscope
// axes follow.
#ifndef LIVE_AXES
#define LIVE_AXES \
  { 0, 1, 2 }
#endif
#ifndef LIVE_SIGNS
#define LIVE_SIGNS \
  { 1, 1, 1 }
#endif

static const uint8_t axes[3] = LIVE_AXES;
static const int8_t signs[3] = LIVE_SIGNS;

static int16_t counts(float value, float per_unit) {
  const float scaled = value * per_unit;
  const int32_t nearest = static_cast<int32_t>(scaled < 0 ? scaled - 0.5f : scaled + 0.5f);
  return static_cast<int16_t>(nearest < -32768 ? -32768 : nearest > 32767 ? 32767 : nearest);
}

static void place(const float *from, float per_unit, int16_t *to) {
  for (int i = 0; i < 3; i++) to[i] = counts(static_cast<float>(signs[i]) * from[axes[i]], per_unit);
}

const char *sensor_name(void) { return NAME; }

uint32_t sensor_millihertz(void) { return MILLIHERTZ; }

int sensor_begin(void) {
  if (!IMU.begin()) return 1;
#ifndef LIVE_SENSE_REV2
  // The chip keeps up to 32 samples while the model runs or the console waits.
  IMU.setContinuousMode();
#endif
  return 0;
}

int sensor_read(int16_t *sample) {
  float rotation[3], acceleration[3];
  if (!IMU.accelerationAvailable()) return 0;
  if (!IMU.readGyroscope(rotation[0], rotation[1], rotation[2])) return 0;
  if (!IMU.readAcceleration(acceleration[0], acceleration[1], acceleration[2])) return 0;
  place(acceleration, 32768.0f / 4.0f, sample);
  place(rotation, 32768.0f / 2000.0f, sample + 3);
  return 1;
}

#endif
