/* A stream of sensor samples at another rate, by area: an output is the mean of the input over its time. Going down
 * this is a low-pass too, with its first zero at the output's rate; going up it repeats. */
#ifndef FEATURES_RESAMPLE_H
#define FEATURES_RESAMPLE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Rates in any common unit, without common divisor, 1 to 32767. */
typedef struct {
  int32_t *sums; /* one a channel */
  uint16_t channels;
  uint16_t in_rate, out_rate;
  const int16_t *sample; /* the input sample at hand */
  uint16_t filled;       /* of in_rate units of time that an output needs */
  uint16_t left;         /* of out_rate units of time that the sample brought */
} features_resample_t;

/* Forgets all samples; to be called before the first one. */
void features_resample_reset(features_resample_t *state);

/* Gives the next input sample, one value a channel; it must stay where it is until features_resample_pull() has
 * returned 0. */
void features_resample_push(features_resample_t *state, const int16_t *sample);

/* Takes the next output sample: returns 1 and writes it to `to` (one value a channel, to the nearest integer, ties
 * towards +infinity), or 0 where it needs more input. To be called after every push until it returns 0. */
int features_resample_pull(features_resample_t *state, int16_t *to);

#ifdef __cplusplus
}
#endif

#endif
