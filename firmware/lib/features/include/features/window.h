/* Sliding windows over a stream: the last `length` rows in a ring, complete for the first time after `length` rows and
 * then after every `hop`. */
#ifndef FEATURES_WINDOW_H
#define FEATURES_WINDOW_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  uint8_t *rows;      /* length * row_bytes bytes, aligned as the rows need it */
  uint16_t row_bytes; /* at least 1 */
  uint16_t length;    /* rows in a window, at least 1 */
  uint16_t hop;       /* rows between the starts of two windows, at least 1; more than length leaves rows out */
  uint16_t oldest;    /* index of the oldest row, which is the next one that is written */
  uint16_t missing;   /* rows until a window is complete */
} features_window_t;

/* Forgets all rows; to be called before the first one. */
void features_window_reset(features_window_t *window);

/* Where the next row belongs: row_bytes bytes to be written before features_window_advance(). */
void *features_window_next(features_window_t *window);

/* Takes the row that was written; returns 1 where a window is complete with it, else 0. */
int features_window_advance(features_window_t *window);

/* Row `index` of the window, 0 is the oldest; valid until the next row is written. */
const void *features_window_row(const features_window_t *window, uint16_t index);

/* Copies the window, oldest row first: length * row_bytes bytes. */
void features_window_read(const features_window_t *window, void *to);

#ifdef __cplusplus
}
#endif

#endif
