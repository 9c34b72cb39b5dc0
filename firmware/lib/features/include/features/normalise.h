/* Raw integers of a sensor, or of a spectrum, to int8: an offset and a scale for each channel. */
#ifndef FEATURES_NORMALISE_H
#define FEATURES_NORMALISE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Tables in FEATURES_FLASH, one entry a channel. The scale of a channel is multiplier / 2^shift. */
typedef struct {
  const int16_t *offset;
  const int16_t *multiplier; /* 1 to 32767 */
  const uint8_t *shift;      /* 1 to 31 */
} features_normalise_t;

/* (x - offset) * multiplier / 2^shift of one channel, to the nearest integer, ties towards +infinity, clamped to -128
 * and 127. x - offset is clamped to int16 first. */
int8_t features_normalise(const features_normalise_t *params, uint16_t channel, int16_t x);

#ifdef __cplusplus
}
#endif

#endif
