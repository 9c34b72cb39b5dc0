/* Test data play the sensor, as fast as they are read; -DLIVE_RECORDED_MILLIHERTZ=n pretends another rate. */
#include "sensor.h"

#ifndef SENSOR_ARDUINO

#include "preprocessing.h"
#include "recording.h"

#ifndef LIVE_RECORDED_MILLIHERTZ
#define LIVE_RECORDED_MILLIHERTZ PREPROCESSING_MILLIHERTZ
#endif

typedef char recording_fits[RECORDING_CHANNELS == SENSOR_CHANNELS ? 1 : -1];

static uint32_t position;

const char *sensor_name(void) { return "recording"; }

uint32_t sensor_millihertz(void) { return LIVE_RECORDED_MILLIHERTZ; }

int sensor_begin(void) {
  position = 0;
  return 0;
}

int sensor_read(int16_t *sample) {
  if (position == RECORDING_SAMPLES) return -1;
  for (unsigned c = 0; c < SENSOR_CHANNELS; c++) sample[c] = recording[position][c];
  position++;
  return 1;
}

#endif
