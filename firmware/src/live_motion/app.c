/* Continuous sampling of a six-axis IMU, windows that overlap, a smoothed label for each: see live/live.h.
 *
 * The sensor's rate is changed to the training data's, then everything is the shared preprocessing. */
#include "features/resample.h"
#include "inference.h"
#include "live/live.h"
#include "port.h"
#include "preprocessing.h"
#include "sensor.h"

#ifndef PREPROCESSING_SERIES
#error "live_motion needs a recipe of sensor windows; build with --recipe motion"
#endif

/* An answer counts a quarter of the smoothed label. */
#define SMOOTHING 2

typedef char channels_fit[PREPROCESSING_CHANNELS == SENSOR_CHANNELS ? 1 : -1];

static int32_t sums[SENSOR_CHANNELS];
static features_resample_t resampler = {.sums = sums, .channels = SENSOR_CHANNELS};

/* Rates without their common divisor; returns 0, or 1 where they do not fit. */
static int set_rates(uint32_t from, uint32_t to) {
  uint32_t a = from, b = to;
  while (b != 0) {
    const uint32_t rest = a % b;
    a = b;
    b = rest;
  }
  if (a == 0 || from / a > 32767u || to / a > 32767u) return 1;
  resampler.in_rate = (uint16_t)(from / a);
  resampler.out_rate = (uint16_t)(to / a);
  features_resample_reset(&resampler);
  return 0;
}

int app_run(void) {
  int16_t raw[SENSOR_CHANNELS], sample[SENSOR_CHANNELS];
  int state;

  if (live_begin("live_motion", SMOOTHING) != 0) return 1;
  live_text(" sensor=");
  live_text(sensor_name());
  live_text(" millihertz=");
  live_number(sensor_millihertz());
  live_text("\n");
  if (set_rates(sensor_millihertz(), PREPROCESSING_MILLIHERTZ) != 0) {
    return live_fail("the sensor's rate and the training data's have no small ratio");
  }
  if (sensor_begin() != 0) return live_fail("the IMU does not answer");

  preprocessing_reset();
  while ((state = sensor_read(raw)) >= 0) {
    if (state == 0) continue;
    features_resample_push(&resampler, raw);
    while (features_resample_pull(&resampler, sample) != 0) {
      if (preprocessing_push(sample) == 0) continue;
      preprocessing_read(inference_input(0));
      if (live_answer() != 0) return 1;
    }
  }
  live_text("#done ");
  live_number(live_answers());
  live_text("\n");
  return 0;
}
