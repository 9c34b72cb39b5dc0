#include "features/normalise.h"

#include "features/flash.h"

int8_t features_normalise(const features_normalise_t *params, uint16_t channel, int16_t x) {
  int32_t from_offset = (int32_t)x - features_i16(params->offset + channel);
  const uint8_t shift = features_u8(params->shift + channel);
  if (from_offset > INT16_MAX) from_offset = INT16_MAX;
  if (from_offset < INT16_MIN) from_offset = INT16_MIN;
  /* 2^30 at most from each of the two terms. */
  const int32_t product = from_offset * features_i16(params->multiplier + channel);
  const int32_t y = (product + ((int32_t)1 << (shift - 1))) >> shift;
  return (int8_t)(y < -128 ? -128 : y > 127 ? 127 : y);
}
