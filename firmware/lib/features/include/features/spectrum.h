/* From samples of sound to the logarithm of the energy in bands, and to cepstral coefficients (MFCC). */
#ifndef FEATURES_SPECTRUM_H
#define FEATURES_SPECTRUM_H

#include <stdint.h>

#include "features/window.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Binary digits after the point of what features_log2() and features_bands() give. */
#define FEATURES_LOG_BITS 9

/* Tables lie in FEATURES_FLASH. With N = 2^log2_size, a frame has at most N samples. */
typedef struct {
  uint8_t log2_size;      /* of the transform, 3 to 12 */
  uint8_t fraction;       /* binary digits after the point in the transform's data, 0 to 14 */
  uint16_t pre_emphasis;  /* Q15, 0 to 32767: x[n] - pre_emphasis * x[n - 1]; a frame's first sample precedes itself */
  uint16_t frame;         /* samples */
  const uint16_t *window; /* Q15, the first (frame + 1) / 2 values; the rest mirrors them */
  const uint16_t *sine;   /* see fft.h */
} features_spectrum_t;

/* The windowed transform of a frame of int16 samples (rows of 2 bytes in `samples`): N values in `data`, in the order
 * that features_fft() gives, with `fraction` binary digits after the point. */
void features_spectrum(const features_spectrum_t *params, const features_window_t *samples, int32_t *data);

/* Bands are triangles on a scale of frequency, each from the middle of the one before to the middle of the one after: a
 * bin lies on the falling side of one band and on the rising side of the next. */
typedef struct {
  uint16_t bands;
  uint16_t first_bin, end_bin; /* bins that lie in any band; 1 <= first_bin <= end_bin <= N / 2 */
  uint8_t power_shift;         /* energies lose so many binary digits before they are weighed */
  int16_t unit;                /* log2 of a band's sum for an energy of 1, in FEATURES_LOG_BITS */
  const uint8_t *band;         /* of each bin from first_bin: the band on whose rising side it is, 0 to bands */
  const uint16_t *rising;      /* of each of these bins: its weight in that band, Q15; 1 - that in the band before */
  const int16_t *offset;       /* added to each band's logarithm, or null */
} features_bands_t;

/* log2 of the energy in each band, FEATURES_LOG_BITS after the point, at least 0 (an energy of 1: one squared unit of
 * the int16 samples) before `offset` is added. `sums` has room for bands + 2 numbers. */
void features_bands(const features_bands_t *params, const int32_t *spectrum, uint64_t *sums, int16_t *to);

/* log2(x) with FEATURES_LOG_BITS after the point, within 0.0012; 0 for x = 0. */
uint16_t features_log2(uint64_t x);

typedef struct {
  uint16_t bands, coefficients;
  uint8_t shift;          /* the sums' binary digits after the point that the result loses, at least 1 */
  const int16_t *weights; /* [coefficients][bands], Q15: rows of an orthonormal DCT-II */
} features_dct_t;

/* Weighted sums of the bands' logarithms, rounded to nearest, ties towards +infinity, clamped to int16. `to` may not be
 * `bands`. */
void features_dct(const features_dct_t *params, const int16_t *bands, int16_t *to);

#ifdef __cplusplus
}
#endif

#endif
