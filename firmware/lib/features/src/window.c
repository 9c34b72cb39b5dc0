#include "features/window.h"

#include <stddef.h>
#include <string.h>

void features_window_reset(features_window_t *window) {
  window->oldest = 0;
  window->missing = window->length;
}

void *features_window_next(features_window_t *window) {
  return window->rows + (size_t)window->oldest * window->row_bytes;
}

int features_window_advance(features_window_t *window) {
  window->oldest = (uint16_t)(window->oldest + 1u == window->length ? 0u : window->oldest + 1u);
  if (--window->missing != 0) return 0;
  window->missing = window->hop;
  return 1;
}

const void *features_window_row(const features_window_t *window, uint16_t index) {
  const uint16_t until_end = (uint16_t)(window->length - window->oldest);
  const size_t at = index < until_end ? (size_t)window->oldest + index : (size_t)index - until_end;
  return window->rows + at * window->row_bytes;
}

void features_window_read(const features_window_t *window, void *to) {
  const size_t newer = (size_t)window->oldest * window->row_bytes;
  const size_t older = (size_t)window->length * window->row_bytes - newer;
  memcpy(to, window->rows + newer, older);
  memcpy((uint8_t *)to + older, window->rows, newer);
}
