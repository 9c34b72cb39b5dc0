/* The logistic function and the hyperbolic tangent of 16-bit values, from one table with linear interpolation. */
#ifndef KERNELS_SIGMOID16_H
#define KERNELS_SIGMOID16_H

#include <stdint.h>

#include "kernels/flash.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `table` holds 1 / (1 + exp(-i / 24)) as Q0.16 for i = 0..255; x has 12 bits of fraction times 3 (a table step is 512
 * for the logistic function and 256 for the tangent, because tanh(x) = 2 * logistic(2 * x) - 1); above INT32_MIN. */
static inline int16_t kernels_logistic_q15(const KERNELS_FLASH uint16_t *table, int32_t x) {
  const uint32_t distance = (uint32_t)(x < 0 ? -x : x);
  const uint32_t i = distance >> 9;
  uint32_t y = (uint32_t)0x7fff << 10;
  if (i < 255) y = ((uint32_t)table[i] << 9) + (distance & 511u) * (uint32_t)(table[i + 1] - table[i]);
  y = x >= 0 ? y + 512u : ((uint32_t)1 << 25) - y + 511u;
  return (int16_t)(y >> 10);
}

static inline int16_t kernels_tanh_q15(const KERNELS_FLASH uint16_t *table, int32_t x) {
  const uint32_t distance = (uint32_t)(x < 0 ? -x : x);
  const uint32_t i = distance >> 8;
  int32_t y = (int32_t)0xffff << 8;
  if (i < 255) y = ((int32_t)table[i] << 8) + (int32_t)(distance & 255u) * (table[i + 1] - table[i]);
  y = x >= 0 ? y - ((int32_t)1 << 23) + 128 : ((int32_t)1 << 23) - y + 127;
  return (int16_t)(y >> 8);
}

#ifdef __cplusplus
}
#endif

#endif
