#include "features/spectrum.h"

#include "features/fft.h"
#include "features/flash.h"
#include "features/multiply.h"

void features_spectrum(const features_spectrum_t *params, const features_window_t *samples, int32_t *data) {
  const uint8_t down = (uint8_t)(14 - params->fraction);
  const int32_t half = down == 0 ? 0 : (int32_t)1 << (down - 1);
  const uint16_t size = (uint16_t)(1u << params->log2_size);
  int16_t before = *(const int16_t *)features_window_row(samples, 0);
  for (uint16_t n = 0; n < params->frame; n++) {
    const int16_t x = *(const int16_t *)features_window_row(samples, n);
    const uint16_t mirrored = (uint16_t)(params->frame - 1 - n);
    const uint16_t w = features_u16(params->window + (n < mirrored ? n : mirrored));
    /* Q14: 2^30 at most, as pre_emphasis is below 1 */
    const int32_t wide = (int32_t)x * 16384 - (((int32_t)before * params->pre_emphasis) >> 1);
    data[n] = (features_multiply(wide, w) + half) >> down;
    before = x;
  }
  for (uint16_t n = params->frame; n < size; n++) data[n] = 0;
  features_fft(data, params->log2_size, params->sine);
}

static uint64_t square(int32_t x) { return (uint64_t)((int64_t)x * x); }

void features_bands(const features_bands_t *params, const int32_t *spectrum, uint64_t *sums, int16_t *to) {
  const uint64_t half = params->power_shift == 0 ? 0 : (uint64_t)1 << (params->power_shift - 1);
  for (uint16_t b = 0; b < params->bands + 2u; b++) sums[b] = 0;
  for (uint16_t k = params->first_bin; k < params->end_bin; k++) {
    const uint16_t at = (uint16_t)(k - params->first_bin);
    const uint64_t power = (square(spectrum[2 * k]) + square(spectrum[2 * k + 1]) + half) >> params->power_shift;
    const uint16_t rising = features_u16(params->rising + at);
    /* sums[b] belongs to band b - 1 */
    uint64_t *sum = sums + features_u8(params->band + at);
    sum[0] += power * (uint16_t)(32768u - rising);
    sum[1] += power * rising;
  }
  for (uint16_t b = 0; b < params->bands; b++) {
    int32_t value = (int32_t)features_log2(sums[b + 1u]) - params->unit;
    if (value < 0) value = 0;
    if (params->offset != 0) value += features_i16(params->offset + b);
    to[b] = (int16_t)value;
  }
}

/* log2(1 + i / 32) in Q15 */
static const uint16_t log2_table[33] FEATURES_FLASH = {0,     1455,  2866,  4236,  5568,  6863,  8124,  9352,  10549,
                                                       11716, 12855, 13968, 15055, 16117, 17156, 18173, 19168, 20143,
                                                       21098, 22034, 22952, 23852, 24736, 25604, 26455, 27292, 28114,
                                                       28922, 29717, 30498, 31267, 32024, 32768};

uint16_t features_log2(uint64_t x) {
  if (x == 0) return 0;
  uint8_t exponent = 0;
  /* The leading one becomes bit 31 of `high`. */
  uint32_t high = (uint32_t)(x >> 32);
  if (high != 0) {
    exponent = 32;
  } else {
    high = (uint32_t)x;
    x <<= 32;
  }
  uint8_t up = 0;
  while (((high << up) & 0x80000000u) == 0) up++;
  exponent = (uint8_t)(exponent + 31 - up);
  high = (uint32_t)((x << up) >> 32);
  const uint16_t index = (uint16_t)((high >> 26) & 31u), fraction = (uint16_t)((high >> 15) & 2047u);
  const uint16_t low = features_u16(log2_table + index);
  const uint16_t rise = (uint16_t)(features_u16(log2_table + index + 1) - low);
  const uint32_t mantissa = low + (((uint32_t)rise * fraction + 1024u) >> 11);
  return (uint16_t)(((uint32_t)exponent << FEATURES_LOG_BITS) + ((mantissa + 32u) >> (15 - FEATURES_LOG_BITS)));
}

void features_dct(const features_dct_t *params, const int16_t *bands, int16_t *to) {
  const int16_t *weight = params->weights;
  for (uint16_t k = 0; k < params->coefficients; k++) {
    int64_t sum = (int64_t)1 << (params->shift - 1);
    for (uint16_t b = 0; b < params->bands; b++) sum += (int32_t)features_i16(weight++) * bands[b];
    sum >>= params->shift;
    to[k] = (int16_t)(sum < INT16_MIN ? INT16_MIN : sum > INT16_MAX ? INT16_MAX : sum);
  }
}
