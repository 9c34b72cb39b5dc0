/* Calls of the kernels for coded weights, for coded_streams.py: every format with one kernel, whose format is a
 * variable here; all memory of exactly the size that a kernel may touch, for the sanitizers.
 *
 * In, for each case: the numbers of `number_names`, then the arrays. Without arguments, out: the plain kernel's outputs
 * and the coded one's. With the argument "damaged" each case runs in a process of its own, and out is a byte a case: 0,
 * or 1 where it did not end well; the sanitizers' words follow a line "case" on the standard error. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/coded.h"
#include "kernels/conv.h"
#include "kernels/matmul.h"

static kernels_coded_format any;

#define ANY                                                                                             \
  any.positions, any.count_bytes, any.position_bits, any.value_bits, any.codebook, any.coded_positions, \
      any.coded_values, any.wide, any.right
KERNELS_CODED_ROW(coded_row, ANY)
KERNELS_CODED_MATMUL(coded_matmul, ANY)
KERNELS_CODED_CONV(coded_conv, ANY)

enum number_names {
  CONV, /* 0: rows; 1: a convolution */
  POSITIONS,
  COUNT_BYTES,
  POSITION_BITS,
  VALUE_BITS,
  CODEBOOK,
  CODED_POSITIONS,
  CODED_VALUES,
  WIDE,
  RIGHT,
  DEPTH,
  CHANNELS,
  TABLE_STEP,
  ROWS,
  INPUT_CHANNELS,
  INPUT_ZERO_POINT,
  CHANNEL_STEP,
  ZERO_POINT,
  MINIMUM,
  MAXIMUM,
  STREAM_BYTES,
  TABLE_BYTES,
  CODE_BYTES,
  GAPS_ENTRIES, /* of the two models; 0: there is none */
  GAPS_SHIFT,
  VALUES_ENTRIES,
  VALUES_SHIFT,
  INPUT_BYTES,
  OUTPUT_BYTES,
  WINDOW,
  NUMBERS = WINDOW + 13
};

typedef struct {
  int32_t n[NUMBERS];
  uint8_t *stream, *code, *slots[2];
  uint32_t *entries[2];
  int8_t *table, *weights, *shift, *input, *plain, *coded, *scratch;
  int32_t *bias, *multiplier;
} test_case;

static void *reserve(size_t bytes) {
  void *at = malloc(bytes);
  if (at == NULL) exit(2);
  return at;
}

static void *take(size_t bytes) {
  void *at = reserve(bytes);
  if (fread(at, 1, bytes, stdin) != bytes) exit(2);
  return at;
}

static int next_case(test_case *t) {
  if (fread(t->n, sizeof t->n, 1, stdin) != 1) return 0;
  const size_t channels = (size_t)t->n[CHANNELS], depth = (size_t)t->n[DEPTH];
  const size_t stages = t->n[CHANNEL_STEP] ? channels : 1;
  t->stream = take((size_t)t->n[STREAM_BYTES]);
  t->table = take((size_t)t->n[TABLE_BYTES]);
  t->code = take((size_t)t->n[CODE_BYTES]);
  for (int i = 0; i < 2; i++) {
    const int32_t *n = t->n + GAPS_ENTRIES + 2 * i;
    t->slots[i] = take(n[0] ? (size_t)4096 >> n[1] : 0);
    t->entries[i] = take(4 * (size_t)n[0]);
  }
  t->weights = take(channels * depth);
  t->bias = take(4 * channels);
  t->multiplier = take(4 * stages);
  t->shift = take(stages);
  t->input = take((size_t)t->n[INPUT_BYTES]);
  t->plain = reserve((size_t)t->n[OUTPUT_BYTES]);
  t->coded = reserve((size_t)t->n[OUTPUT_BYTES]);
  t->scratch = reserve(KERNELS_CODED_TILE * depth << t->n[WIDE]);
  return 1;
}

static void release(test_case *t) {
  void *all[] = {t->stream, t->code,  t->slots[0], t->slots[1], t->entries[0], t->entries[1], t->table,     t->weights,
                 t->shift,  t->input, t->plain,    t->coded,    t->scratch,    t->bias,       t->multiplier};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static kernels_window window_of(const test_case *t) {
  const int32_t *w = t->n + WINDOW;
  const kernels_window window = {w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], w[11], w[12]};
  return window;
}

static kernels_output_stage stage_of(const test_case *t) {
  const int32_t *n = t->n;
  const kernels_output_stage stage = {t->bias,       t->multiplier, t->shift,  n[CHANNEL_STEP],
                                      n[ZERO_POINT], n[MINIMUM],    n[MAXIMUM]};
  return stage;
}

static void run_plain(const test_case *t) {
  const int32_t *n = t->n;
  if (n[CONV]) {
    int8_t *two = reserve(2 * (size_t)n[DEPTH]);
    const kernels_conv_params params = {window_of(t),        n[INPUT_CHANNELS], n[CHANNELS], 1,
                                        n[INPUT_ZERO_POINT], t->weights,        stage_of(t)};
    kernels_conv_s8(&params, t->input, two, t->plain);
    free(two);
  } else {
    const kernels_matmul_params params = {n[ROWS], n[DEPTH], n[CHANNELS], t->weights, stage_of(t)};
    kernels_matmul_s8(&params, t->input, t->plain);
  }
}

static void run_coded(const test_case *t) {
  const int32_t *n = t->n;
  const kernels_coded_format format = {(kernels_coded_positions)n[POSITIONS],
                                       n[COUNT_BYTES],
                                       n[POSITION_BITS],
                                       n[VALUE_BITS],
                                       n[CODEBOOK],
                                       n[CODED_POSITIONS],
                                       n[CODED_VALUES],
                                       n[WIDE],
                                       n[RIGHT]};
  any = format;
  /* Where all is symbols there is no first stream. */
  const uint8_t *stream = n[STREAM_BYTES] > 2 * KERNELS_CODED_PAD ? t->stream : NULL;
  const uint8_t *code = n[CODE_BYTES] ? t->code : NULL; /* without symbols there is no second */
  const kernels_rans_model gaps = {t->slots[0], t->entries[0], n[GAPS_SHIFT]};
  const kernels_rans_model values = {t->slots[1], t->entries[1], n[VALUES_SHIFT]};
  const kernels_coded_weights weights = {n[DEPTH], n[CHANNELS], stream, t->table,   n[TABLE_STEP],
                                         code,     gaps,        values, stage_of(t)};
  if (n[CONV]) {
    const kernels_coded_conv_params params = {window_of(t), n[INPUT_CHANNELS], n[INPUT_ZERO_POINT], weights};
    coded_conv(&params, t->input, t->scratch, t->coded);
  } else {
    const kernels_coded_matmul_params params = {n[ROWS], weights};
    if (n[ROWS] == 1) {
      coded_row(&params, t->input, t->coded);
    } else {
      coded_matmul(&params, t->input, t->scratch, t->coded);
    }
  }
}

static void put(const void *from, size_t bytes) {
  if (fwrite(from, 1, bytes, stdout) != bytes) exit(2);
}

static void damaged(const test_case *t) {
  fputs("\ncase\n", stderr);
  const pid_t child = fork();
  if (child < 0) exit(2);
  if (child == 0) {
    alarm(20);
    run_coded(t);
    _exit(0);
  }
  int status = 1;
  waitpid(child, &status, 0);
  const uint8_t failed = status != 0;
  put(&failed, 1);
}

int main(int arguments, char **argument) {
  test_case t;
  const int damage = arguments > 1 && strcmp(argument[1], "damaged") == 0;
  while (next_case(&t)) {
    if (damage) {
      damaged(&t);
    } else {
      run_plain(&t);
      run_coded(&t);
      put(t.plain, (size_t)t.n[OUTPUT_BYTES]);
      put(t.coded, (size_t)t.n[OUTPUT_BYTES]);
    }
    release(&t);
  }
  return 0;
}
