/* Clamp of int8 values on processors with the DSP extension. */
#ifndef KERNELS_CORTEX_M4_CLAMP_H
#define KERNELS_CORTEX_M4_CLAMP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Clamps `count` values in place to minimum..maximum, -128 <= minimum <= maximum <= 127. Any alignment. */
void kernels_m4_clamp_s8(int8_t *values, int32_t count, int32_t minimum, int32_t maximum);

#ifdef __cplusplus
}
#endif

#endif
