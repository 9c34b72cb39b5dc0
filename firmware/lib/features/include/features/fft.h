/* Fourier transform of real data in fixed point, in place.
 *
 * Data are int32 in whatever format the caller gives them and keep it: nothing is scaled. The caller leaves headroom:
 * for every block |sum of x[n] * e^(...)| <= sum of |x[2n] + i x[2n+1]| must stay below 2^29 (templates' generator
 * proves it for the window at hand). Twiddle factors are Q15, sums and products are rounded to nearest at each stage.
 */
#ifndef FEATURES_FFT_H
#define FEATURES_FFT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X[k] = sum over n < N of data[n] * e^(-2 pi i k n / N), N = 2^log2_size, log2_size 3 to 12.
 *
 * `sine`: N / 4 + 1 values of sin(2 pi n / N) in Q15 (1.0 is 32768), in FEATURES_FLASH. Afterwards data[0] is X[0],
 * data[1] is X[N / 2] (both real), and data[2k], data[2k + 1] are the real and imaginary part of X[k]. */
void features_fft(int32_t *data, uint8_t log2_size, const uint16_t *sine);

#ifdef __cplusplus
}
#endif

#endif
