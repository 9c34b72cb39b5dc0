/* Answers that follow each other, averaged: single wrong ones do not show. */
#ifndef FEATURES_SMOOTH_H
#define FEATURES_SMOOTH_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int16_t *scores; /* one a class, in 128ths of the model's output steps */
  uint16_t count;  /* classes, at least 1 */
  uint8_t shift;   /* an answer weighs 1 / 2^shift; 0 to 15 */
  uint8_t started;
} features_smooth_t;

/* Forgets all answers; to be called before the first one. */
void features_smooth_reset(features_smooth_t *state);

/* Takes the model's next int8 output: the first one is the score itself, then score += floor((output - score) /
 * 2^shift). Returns the class with the highest score, the first of equals. */
uint16_t features_smooth(features_smooth_t *state, const int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
