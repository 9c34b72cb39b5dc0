/* Calls of kernels/rans.h for test_rans.py: two loops to look at on a Cortex-M, and a program for this machine. */
#include <stddef.h>

#include "kernels/rans.h"

/* One model, symbols to memory. */
void rans_bytes(const kernels_rans_model *model, const uint8_t *stream, int32_t count, uint8_t *to);
void rans_bytes(const kernels_rans_model *model, const uint8_t *stream, int32_t count, uint8_t *to) {
  const kernels_rans_model m = *model;
  kernels_rans r;
  kernels_rans_open(&r, stream);
  for (int32_t i = 0; i < count; i++) {
    to[i] = kernels_rans_next(&r, m);
  }
}

/* Two models in turn: the gaps between weights that are not zero, and the weights; their product with a row. */
int32_t rans_gaps(const kernels_rans_model *models, const uint8_t *stream, int32_t count, const int8_t *row);
int32_t rans_gaps(const kernels_rans_model *models, const uint8_t *stream, int32_t count, const int8_t *row) {
  const kernels_rans_model gaps = models[0], values = models[1];
  kernels_rans r;
  int32_t sum = 0;
  kernels_rans_open(&r, stream);
  for (int32_t i = 0; i < count; i++) {
    row += kernels_rans_next(&r, gaps);
    sum += *row * (int8_t)kernels_rans_next(&r, values);
  }
  return sum;
}

#if !defined(__arm__)

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Takes memory of exactly that size, so that the sanitizer sees what is read behind it. */
static void *take(size_t bytes) {
  void *at = malloc(bytes);
  if (at == NULL || fread(at, 1, bytes, stdin) != bytes) {
    exit(2);
  }
  return at;
}

static size_t number(void) {
  uint32_t value;
  if (fread(&value, sizeof value, 1, stdin) != 1) {
    exit(2);
  }
  return value;
}

/* In: the number of models; of each shift, entries, slots and entries; the number of symbols and the model of each; the
 * stream's bytes and the stream. Out: the symbols. Exits with 1 where the stream does not end behind them. */
int main(void) {
  kernels_rans_model models[8];
  memset(models, 0, sizeof models);
  const size_t used = number();
  for (size_t i = 0; i < used; i++) {
    models[i].shift = (int32_t)number();
    const size_t entries = number();
    models[i].slots = take((size_t)4096 >> models[i].shift);
    models[i].entries = take(4 * entries);
  }
  const size_t count = number();
  const uint8_t *which = take(count);
  const size_t bytes = number();
  const uint8_t *stream = take(bytes);
  uint8_t *symbols = malloc(count);
  kernels_rans r;
  kernels_rans_open(&r, stream);
  for (size_t i = 0; i < count; i++) {
    symbols[i] = kernels_rans_next(&r, models[which[i]]);
  }
  const int ended = r.at == stream + bytes && r.state == KERNELS_RANS_END;
  const size_t written = fwrite(symbols, 1, count, stdout);
  free(symbols);
  free((void *)(uintptr_t)stream);
  free((void *)(uintptr_t)which);
  for (size_t i = 0; i < used; i++) {
    free((void *)(uintptr_t)models[i].slots);
    free((void *)(uintptr_t)models[i].entries);
  }
  return !(ended && written == count);
}

#endif
