/* Dense layers and convolutions whose weights lie in flash in fewer bits than int8 and are decoded as a stream, in
 * registers, while they are multiplied; no tensor and no row of weights is ever expanded.
 *
 * How the weights lie is a `kernels_coded_format`. All its numbers are known when the model is compiled, so that a
 * kernel for a format is these inline functions with constants: KERNELS_CODED_MATMUL and KERNELS_CODED_CONV define one.
 *
 * The stream holds one output channel after the other; within a channel
 *
 *   all          the weights in order: no positions
 *   gaps         their number in `count_bytes` bytes, little-endian; of each the inputs skipped before it, in
 *                `position_bits` bits
 *   bitmap       a bit an input (lowest first, whole bytes), then the weights whose bit is set
 *   two_of_four  two weights for every four inputs, each with its place among them in 2 bits
 *   blocks       a bit for every four inputs (lowest first, whole bytes); then the four weights of each block whose bit
 *                is set. The depth is a multiple of four.
 *
 * A weight is `value_bits` bits: 8 are the weight itself; fewer are a signed number, or with `codebook` the index into
 * a table, one of all channels or one a channel. Positions and weights come in groups of eight: the eight positions in
 * position_bits bytes, the eight values in value_bits bytes, lowest bits first. What is left of a channel's number by
 * eight comes first, as the upper end of a group whose lower bytes are left out; so every field stands at a place that
 * is known when the kernel is compiled. The last bytes of a group may be read as part of a word: KERNELS_CODED_PAD
 * bytes before and behind the stream must be readable. After a bitmap values lie without groups, lowest bits first.
 *
 * With `coded_values` weights, and with `coded_positions` gaps, are symbols of an entropy-coded stream of their own
 * (rans.h), in the order in which they are needed: the gap, then the weight. What is left in the first stream then lies
 * in natural order, without incomplete groups: the numbers, uncoded values, the places of two_of_four.
 *
 * Source of the sparse form (gaps, shared weights): Han, Mao, Dally, "Deep Compression", 2015; 2:4: Mishra et al.,
 * "Accelerating Sparse Deep Neural Networks", 2021. */
#ifndef KERNELS_CODED_H
#define KERNELS_CODED_H

#include <stdint.h>

#include "kernels/fixed_point.h"
#include "kernels/flash.h"
#include "kernels/int.h"
#include "kernels/output_stage.h"
#include "kernels/rans.h"
#include "kernels/window.h"
#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
#include "kernels/cortex_m4/dsp.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define KERNELS_CODED_PAD 8  /* bytes */
#define KERNELS_CODED_TILE 4 /* pixels that a weight serves once it is decoded */

typedef enum {
  KERNELS_CODED_ALL,
  KERNELS_CODED_GAPS,
  KERNELS_CODED_BITMAP,
  KERNELS_CODED_TWO_OF_FOUR,
  KERNELS_CODED_BLOCKS
} kernels_coded_positions;

typedef struct {
  kernels_coded_positions positions;
  kernels_int count_bytes;     /* gaps: 1 or 2 */
  kernels_int position_bits;   /* gaps: 1 to 8 */
  kernels_int value_bits;      /* 1 to 8; blocks: 2, 4 or 8 */
  kernels_int codebook;        /* 1: values are indices into the table */
  kernels_int coded_positions; /* 1: gaps are symbols */
  kernels_int coded_values;    /* 1: weights are symbols, bytes of int8 */
  kernels_int wide;            /* 1: tiles hold int16, which is faster with Arm's DSP extension */
  kernels_int right;           /* 1: every shift of the output stage is -2 or less, which is faster */
} kernels_coded_format;

typedef struct {
  kernels_int depth; /* weights of an output channel */
  kernels_int channels;
  const KERNELS_FLASH uint8_t *stream; /* begins with the pad; 0: there is none, all is symbols */
  const KERNELS_FLASH int8_t *table;
  kernels_int table_step;            /* entries from a channel's table to the next one's; 0: one table */
  const KERNELS_FLASH uint8_t *code; /* of symbols; 0: there are none */
  kernels_rans_model gaps;
  kernels_rans_model values;
  kernels_output_stage stage;
} kernels_coded_weights;

typedef struct {
  kernels_int rows; /* of input and output */
  kernels_coded_weights weights;
} kernels_coded_matmul_params;

typedef struct {
  kernels_window window;
  kernels_int input_channels;
  kernels_int input_zero_point;  /* what padding reads */
  kernels_coded_weights weights; /* of an output channel: [height][width][input_channels] */
} kernels_coded_conv_params;

/* Puts `count` bytes into every `lanes`-th element from `to` on: int8, or int16 where `wide` is 1. */
void kernels_coded_spread(const int8_t *from, kernels_int count, kernels_int lanes, kernels_int wide, int8_t *to);

/* Puts the window of output pixel (y, x) of one image there in the same way, in the order of the weights. */
void kernels_coded_gather(const kernels_coded_conv_params *params, const int8_t *image, kernels_int y, kernels_int x,
                          kernels_int lanes, kernels_int wide, int8_t *to);

#define KERNELS_CODED_INLINE static inline __attribute__((always_inline))

/* Four bytes, the first one lowest. */
KERNELS_CODED_INLINE uint32_t kernels_coded_word(const KERNELS_FLASH uint8_t *from) {
#if defined(__ARM_FEATURE_UNALIGNED) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  uint32_t word;
  __builtin_memcpy(&word, from, 4);
  return word;
#else
  return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
#endif
}

/* Eight fields of up to eight bits. */
typedef struct {
  uint32_t low, high;
} kernels_coded_group;

KERNELS_CODED_INLINE kernels_coded_group kernels_coded_load(const KERNELS_FLASH uint8_t *from, kernels_int bits) {
  kernels_coded_group group;
  group.low = kernels_coded_word(from);
  group.high = bits > 4 ? kernels_coded_word(from + bits - 4) : 0; /* the last four bytes, to read no more */
  return group;
}

/* Field `k` of a group. */
KERNELS_CODED_INLINE uint32_t kernels_coded_field(kernels_coded_group group, kernels_int k, kernels_int bits) {
  const kernels_int at = k * bits;
  const uint32_t mask = (1u << bits) - 1u;
  if (at + bits <= 32) return group.low >> at & mask;
  return group.high >> (at - 8 * (bits - 4)) & mask;
}

/* A pointer and byte `k` of a word: one instruction with the DSP extension. */
KERNELS_CODED_INLINE const int8_t *kernels_coded_add_byte(const int8_t *x, uint32_t word, kernels_int k) {
#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
  if (k == 0) __asm__("uxtab %0, %0, %1" : "+r"(x) : "r"(word));
  if (k == 1) __asm__("uxtab %0, %0, %1, ror #8" : "+r"(x) : "r"(word));
  if (k == 2) __asm__("uxtab %0, %0, %1, ror #16" : "+r"(x) : "r"(word));
  if (k == 3) __asm__("uxtab %0, %0, %1, ror #24" : "+r"(x) : "r"(word));
  return x;
#else
  return x + (word >> (8 * k) & 255u);
#endif
}

/* The weight that a field stands for. */
KERNELS_CODED_INLINE int32_t kernels_coded_value(const kernels_coded_format f, uint32_t field,
                                                 const KERNELS_FLASH int8_t *table) {
  if (f.codebook) return table[field];
  return (int32_t)(field << (32 - f.value_bits)) >> (32 - f.value_bits);
}

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
/* A tile's elements are stored one by one and read as words. */
typedef uint32_t __attribute__((may_alias)) kernels_coded_four;
typedef uint64_t __attribute__((may_alias)) kernels_coded_eight;
#endif

/* Bytes from an input, or a tile's inputs, to the next ones. */
KERNELS_CODED_INLINE kernels_int kernels_coded_step(const kernels_coded_format f, kernels_int tile) {
  return tile == 1 ? 1 : tile << f.wide;
}

/* Adds a weight's products with the input, or the inputs of all pixels of a tile, at `x`. */
KERNELS_CODED_INLINE void kernels_coded_multiply(const kernels_coded_format f, kernels_int tile, const int8_t *x,
                                                 int32_t weight, int32_t *sums) {
  if (tile == 1) {
    sums[0] += *x * (kernels_int)weight;
    return;
  }
#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
  int32_t first, second;
  if (f.wide) {
    __asm__("ldrd %0, %1, %2"
            : "=r"(first), "=r"(second)
            : "o"(*(const kernels_coded_eight *)__builtin_assume_aligned(x, 4)));
  } else {
    const uint32_t four = *(const kernels_coded_four *)__builtin_assume_aligned(x, 4);
    first = kernels_m4_sxtb16(four);
    second = kernels_m4_sxtb16_odd(four);
  }
  sums[0] = kernels_m4_smlabb(first, weight, sums[0]);
  sums[f.wide ? 2 : 1] = kernels_m4_smlabb(second, weight, sums[f.wide ? 2 : 1]);
  sums[f.wide ? 1 : 2] = kernels_m4_smlatb(first, weight, sums[f.wide ? 1 : 2]);
  sums[3] = kernels_m4_smlatb(second, weight, sums[3]);
#else
  const int16_t *wide = (const int16_t *)(const void *)x;
  for (kernels_int p = 0; p < KERNELS_CODED_TILE; p++) {
    sums[p] += (f.wide ? wide[p] : x[p]) * (kernels_int)weight;
  }
#endif
}

/* Where the decoding of a layer is. */
typedef struct {
  const KERNELS_FLASH uint8_t *stream;
  const KERNELS_FLASH int8_t *table;
  kernels_rans symbols;
  const int8_t *x; /* the group's first input; gaps: less the inputs that its weights have used so far */
  int32_t *sums;
} kernels_coded_state;

/* Weight `k` of a group; `x` of the state is that of the group's first input for positions in fixed places. */
KERNELS_CODED_INLINE void kernels_coded_record(const kernels_coded_format f, kernels_int tile, kernels_coded_state *s,
                                               kernels_coded_group where, kernels_coded_group what, kernels_int k) {
  const kernels_int step = kernels_coded_step(f, tile);
  const int32_t weight = kernels_coded_value(f, kernels_coded_field(what, k, f.value_bits), s->table);
  if (f.positions == KERNELS_CODED_GAPS) {
    /* The inputs of the weights themselves are in `k`, and are stepped over with the group. */
    if (f.position_bits == 8 && step == 1) {
      s->x = kernels_coded_add_byte(s->x, k < 4 ? where.low : where.high, k & 3);
    } else {
      s->x += (kernels_int)kernels_coded_field(where, k, f.position_bits) * step;
    }
    kernels_coded_multiply(f, tile, s->x + k * step, weight, s->sums);
  } else if (f.positions == KERNELS_CODED_TWO_OF_FOUR) {
    const kernels_int place = 4 * (k / 2) + (kernels_int)kernels_coded_field(where, k, 2);
    kernels_coded_multiply(f, tile, s->x + place * step, weight, s->sums);
  } else {
    kernels_coded_multiply(f, tile, s->x + k * step, weight, s->sums);
  }
}

/* Inputs that a group of eight weights covers; gaps: that it uses. */
KERNELS_CODED_INLINE kernels_int kernels_coded_span(const kernels_coded_format f) {
  return f.positions == KERNELS_CODED_TWO_OF_FOUR ? 16 : 8;
}

/* `count` weights in groups of eight, the incomplete group first. */
KERNELS_CODED_INLINE void kernels_coded_groups(const kernels_coded_format f, kernels_int tile, kernels_int count,
                                               kernels_coded_state *state) {
  const kernels_int where_bits = f.positions == KERNELS_CODED_GAPS          ? f.position_bits
                                 : f.positions == KERNELS_CODED_TWO_OF_FOUR ? 2
                                                                            : 0;
  const kernels_int span = kernels_coded_span(f) * kernels_coded_step(f, tile);
  kernels_int groups = (count + 7) >> 3;
  kernels_coded_state s = *state;
  kernels_coded_group where = {0, 0}, what;
  const kernels_int first = ((count + 7) & 7) + 1;
  if (groups == 0) return;
  if (where_bits != 0) {
    const kernels_int bytes = (first * where_bits + 7) >> 3;
    where = kernels_coded_load(s.stream + bytes - where_bits, where_bits);
    s.stream += bytes;
  }
  {
    const kernels_int bytes = (first * f.value_bits + 7) >> 3;
    what = kernels_coded_load(s.stream + bytes - f.value_bits, f.value_bits);
    s.stream += bytes;
  }
  s.x -= span / 8 * (8 - first);
  switch (first) {
    for (;;) {
      if (where_bits != 0) {
        where = kernels_coded_load(s.stream, where_bits);
        s.stream += where_bits;
      }
      what = kernels_coded_load(s.stream, f.value_bits);
      s.stream += f.value_bits;
      /* fall through */
      case 8:
        kernels_coded_record(f, tile, &s, where, what, 0);
      /* fall through */
      case 7:
        kernels_coded_record(f, tile, &s, where, what, 1);
      /* fall through */
      case 6:
        kernels_coded_record(f, tile, &s, where, what, 2);
      /* fall through */
      case 5:
        kernels_coded_record(f, tile, &s, where, what, 3);
      /* fall through */
      case 4:
        kernels_coded_record(f, tile, &s, where, what, 4);
      /* fall through */
      case 3:
        kernels_coded_record(f, tile, &s, where, what, 5);
      /* fall through */
      case 2:
        kernels_coded_record(f, tile, &s, where, what, 6);
      /* fall through */
      default:
        kernels_coded_record(f, tile, &s, where, what, 7);
        s.x += span;
        if (--groups == 0) break;
        continue;
    }
  }
  state->stream = s.stream;
}

/* Zero bits below the lowest set one; `bits` is not 0. */
KERNELS_CODED_INLINE kernels_int kernels_coded_zeros(unsigned bits) {
#if defined(__GNUC__)
  return (kernels_int)__builtin_ctz(bits);
#else
  kernels_int n = 0;
  for (; !(bits & 1u); bits >>= 1) n++;
  return n;
#endif
}

/* Value `k` of those that lie one after the other: a bitmap's. */
KERNELS_CODED_INLINE uint32_t kernels_coded_single(const KERNELS_FLASH uint8_t *values, kernels_int k,
                                                   kernels_int bits) {
  if (bits == 8) return values[k];
  const uint32_t at = (uint32_t)k * (uint32_t)bits;
  const KERNELS_FLASH uint8_t *from = values + (at >> 3);
  const uint32_t two = 8 % bits == 0 ? from[0] : from[0] | (uint32_t)from[1] << 8;
  return two >> (at & 7) & ((1u << bits) - 1u);
}

/* A bitmap's weights; a bit stands for `each` inputs (1 or a block). */
KERNELS_CODED_INLINE void kernels_coded_bits(const kernels_coded_format f, kernels_int tile,
                                             const kernels_coded_weights *w, kernels_int each,
                                             kernels_coded_state *state) {
  const kernels_int bytes = (w->depth / each + 7) >> 3;
  const kernels_int step = kernels_coded_step(f, tile);
  kernels_rans symbols = state->symbols;
  const KERNELS_FLASH uint8_t *at = state->stream, *values = at + bytes;
  const KERNELS_FLASH uint8_t *const end = values;
  const int8_t *x = state->x;
  kernels_int k = 0;
  for (; at != end; x += 8 * each * step) {
    const int8_t *next = x;
    for (unsigned bits = *at++; bits != 0; bits >>= 1, next += each * step) {
      /* To the next set bit at once: bytes of a sparse row have few. */
      const kernels_int skipped = kernels_coded_zeros(bits);
      bits >>= (unsigned)skipped;
      next += skipped * each * step;
      for (kernels_int j = 0; j < each; j++, k++) {
        const int32_t weight =
            f.coded_values ? (int8_t)kernels_rans_next(&symbols, w->values)
                           : kernels_coded_value(f, kernels_coded_single(values, k, f.value_bits), state->table);
        kernels_coded_multiply(f, tile, next + j * step, weight, state->sums);
      }
    }
  }
  state->stream = f.coded_values ? values : values + ((k * f.value_bits + 7) >> 3);
  state->symbols = symbols;
}

/* `count` weights of which something is a symbol. */
KERNELS_CODED_INLINE void kernels_coded_symbols(const kernels_coded_format f, kernels_int tile,
                                                const kernels_coded_weights *w, kernels_int count,
                                                kernels_coded_state *state) {
  const kernels_rans_model gaps = w->gaps, values = w->values;
  const kernels_int step = kernels_coded_step(f, tile);
  const kernels_int inputs = f.positions == KERNELS_CODED_TWO_OF_FOUR ? 2 : 1; /* a weight, before its place */
  const kernels_int bits = f.coded_values ? 2 : f.value_bits;                  /* of a field in the first stream */
  const int fields = !f.coded_values || f.positions == KERNELS_CODED_TWO_OF_FOUR;
  const KERNELS_FLASH uint8_t *const from = state->stream;
  kernels_rans symbols = state->symbols;
  const int8_t *x = state->x;
  if (fields) state->stream += (count * bits + 7) >> 3;
  for (kernels_int k = 0; k < count; k++) {
    const uint32_t field = fields ? kernels_coded_single(from, k, bits) : 0;
    if (f.coded_positions) x += kernels_rans_next(&symbols, gaps) * step;
    const int32_t weight =
        f.coded_values ? (int8_t)kernels_rans_next(&symbols, values) : kernels_coded_value(f, field, state->table);
    if (f.positions == KERNELS_CODED_TWO_OF_FOUR) {
      kernels_coded_multiply(f, tile, x + ((k & 1 ? -2 : 0) + (kernels_int)field) * step, weight, state->sums);
    } else {
      kernels_coded_multiply(f, tile, x, weight, state->sums);
    }
    x += inputs * step;
  }
  state->symbols = symbols;
}

/* `count` weights, however they lie. */
KERNELS_CODED_INLINE void kernels_coded_count(const kernels_coded_format f, kernels_int tile,
                                              const kernels_coded_weights *w, kernels_int count,
                                              kernels_coded_state *state) {
  if (f.coded_positions || f.coded_values) {
    kernels_coded_symbols(f, tile, w, count, state);
  } else {
    kernels_coded_groups(f, tile, count, state);
  }
}

/* Sums of one channel over one row or a tile; the state's streams move on to the next channel. */
KERNELS_CODED_INLINE void kernels_coded_channel(const kernels_coded_format f, kernels_int tile,
                                                const kernels_coded_weights *w, kernels_coded_state *state) {
  switch (f.positions) {
    case KERNELS_CODED_ALL:
      kernels_coded_count(f, tile, w, w->depth, state);
      break;
    case KERNELS_CODED_TWO_OF_FOUR:
      kernels_coded_count(f, tile, w, (w->depth + 3) / 4 * 2, state);
      break;
    case KERNELS_CODED_GAPS: {
      kernels_int count = *state->stream++;
      if (f.count_bytes == 2) count = (kernels_int)(count | *state->stream++ << 8);
      kernels_coded_count(f, tile, w, count, state);
      break;
    }
    case KERNELS_CODED_BITMAP:
      kernels_coded_bits(f, tile, w, 1, state);
      break;
    case KERNELS_CODED_BLOCKS:
      kernels_coded_bits(f, tile, w, 4, state);
      break;
  }
}

/* The outputs of one channel for the first `pixels` sums, `stride` bytes from one to the next. `right`: every shift is
 * known to be -2 or less. */
KERNELS_CODED_INLINE void kernels_coded_outputs(int right, const kernels_output_stage *stage, kernels_int channel,
                                                const int32_t *sums, kernels_int pixels, kernels_int stride,
                                                int8_t *output) {
  const kernels_int i = channel * stage->channel_step;
  const int32_t bias = stage->bias[channel], multiplier = stage->multiplier[i];
  const int shift = stage->shift[i];
  for (kernels_int p = 0; p < pixels; p++, output += stride) {
    const int32_t sum = fixed_add(sums[p], bias);
    const int32_t x = right || shift <= -2 ? fixed_multiply_right(sum, multiplier, (unsigned)(-2 - shift))
                                           : fixed_multiply(sum, multiplier, shift);
    *output = (int8_t)fixed_clamp(fixed_add(x, stage->zero_point), stage->minimum, stage->maximum);
  }
}

/* Decodes one channel over the state's x ([depth][tile]) into `sums`. A function of its own for each format leaves its
 * inner loop all registers. */
typedef void (*kernels_coded_decoder)(const kernels_coded_weights *w, kernels_coded_state *state, int32_t *sums);

/* What the kernels of all formats share, by the format's decoder; `wide` as in the format. With _left for an output
 * stage with any shift, without it for shifts of -2 or less. */
void kernels_coded_row(const kernels_coded_matmul_params *params, const int8_t *input, int8_t *output,
                       kernels_coded_decoder decode);
void kernels_coded_row_left(const kernels_coded_matmul_params *params, const int8_t *input, int8_t *output,
                            kernels_coded_decoder decode);
void kernels_coded_matmul(const kernels_coded_matmul_params *params, const int8_t *input, int8_t *scratch,
                          int8_t *output, kernels_coded_decoder decode, kernels_int wide);
void kernels_coded_matmul_left(const kernels_coded_matmul_params *params, const int8_t *input, int8_t *scratch,
                               int8_t *output, kernels_coded_decoder decode, kernels_int wide);
void kernels_coded_conv(const kernels_coded_conv_params *params, const int8_t *input, int8_t *scratch, int8_t *output,
                        kernels_coded_decoder decode, kernels_int wide);
void kernels_coded_conv_left(const kernels_coded_conv_params *params, const int8_t *input, int8_t *scratch,
                             int8_t *output, kernels_coded_decoder decode, kernels_int wide);

/* One copy each, so that what a kernel costs does not depend on who calls it. */
#if defined(__GNUC__) && !defined(__clang__)
#define KERNELS_CODED_KERNEL __attribute__((noinline, noclone))
#else
#define KERNELS_CODED_KERNEL __attribute__((noinline))
#endif

#define KERNELS_CODED_DECODER(name, tile, ...)                                                                \
  static KERNELS_CODED_KERNEL void name##_channel(const kernels_coded_weights *w, kernels_coded_state *state, \
                                                  int32_t *to) {                                              \
    const kernels_coded_format format = {__VA_ARGS__};                                                        \
    int32_t sums[KERNELS_CODED_TILE] = {0, 0, 0, 0};                                                          \
    kernels_coded_state s = *state;                                                                           \
    s.sums = sums;                                                                                            \
    kernels_coded_channel(format, tile, w, &s);                                                               \
    state->stream = s.stream;                                                                                 \
    if (format.coded_positions || format.coded_values) state->symbols = s.symbols;                            \
    to[0] = sums[0];                                                                                          \
    if (tile > 1) {                                                                                           \
      to[1] = sums[1];                                                                                        \
      to[2] = sums[2];                                                                                        \
      to[3] = sums[3];                                                                                        \
    }                                                                                                         \
  }

/* Defines kernel `name` of a format, its numbers in the order of the structure:
 * void name(const kernels_coded_matmul_params *, const int8_t *input, int8_t *output), one row;
 * output[c] = stage(sum over d of input[d] * weights[c][d]); the input is read again for every channel. */
#define KERNELS_CODED_ROW(name, ...)                                                                    \
  KERNELS_CODED_DECODER(name, 1, __VA_ARGS__)                                                           \
  static KERNELS_CODED_KERNEL void name(const kernels_coded_matmul_params *params, const int8_t *input, \
                                        int8_t *output) {                                               \
    const kernels_coded_format format = {__VA_ARGS__};                                                  \
    (format.right ? kernels_coded_row : kernels_coded_row_left)(params, input, output, name##_channel); \
  }

/* The same for several rows, with scratch memory of 4 * depth elements, word-aligned: four rows are copied before the
 * first byte of their output is written. */
#define KERNELS_CODED_MATMUL(name, ...)                                                                               \
  KERNELS_CODED_DECODER(name, KERNELS_CODED_TILE, __VA_ARGS__)                                                        \
  static KERNELS_CODED_KERNEL void name(const kernels_coded_matmul_params *params, const int8_t *input,               \
                                        int8_t *scratch, int8_t *output) {                                            \
    const kernels_coded_format format = {__VA_ARGS__};                                                                \
    (format.right ? kernels_coded_matmul : kernels_coded_matmul_left)(params, input, scratch, output, name##_channel, \
                                                                      format.wide);                                   \
  }

/* A convolution without groups, with the same scratch memory; four windows are copied before the first byte of their
 * output is written, anew for every image. */
#define KERNELS_CODED_CONV(name, ...)                                                                                  \
  KERNELS_CODED_DECODER(name, KERNELS_CODED_TILE, __VA_ARGS__)                                                         \
  static KERNELS_CODED_KERNEL void name(const kernels_coded_conv_params *params, const int8_t *input, int8_t *scratch, \
                                        int8_t *output) {                                                              \
    const kernels_coded_format format = {__VA_ARGS__};                                                                 \
    (format.right ? kernels_coded_conv : kernels_coded_conv_left)(params, input, scratch, output, name##_channel,      \
                                                                  format.wide);                                        \
  }

#ifdef __cplusplus
}
#endif

#endif
