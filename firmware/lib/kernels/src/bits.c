#include "kernels/bits.h"

/* Adds the bits of a and b to those of `low` and leaves what they carry in `high`. */
#define FULL_ADDER(high, low, a, b)        \
  do {                                     \
    const uint32_t b_ = (b);               \
    const uint32_t a_ = (a), u_ = a_ ^ b_; \
    (high) = (a_ & b_) | (u_ & (low));     \
    (low) ^= u_;                           \
  } while (0)

/* Appends the offsets of the words of a word's set bits, `rows` each, the lowest bit's at `at`; returns the end. */
static kernels_bits_offset *bits_list(uint32_t word, kernels_bits_offset at, kernels_int rows,
                                      kernels_bits_offset *list) {
  const kernels_bits_offset step = (kernels_bits_offset)(4 * rows);
  while (word) {
    /* Eight bits at once, for processors that have no wider registers. */
    uint8_t byte = (uint8_t)word;
    kernels_bits_offset here = at;
    for (; byte; byte >>= 1) {
      if (byte & 1) {
        *list++ = here;
        if (rows > 1) *list++ = (kernels_bits_offset)(here + 4);
      }
      here = (kernels_bits_offset)(here + step);
    }
    word >>= 8;
    at = (kernels_bits_offset)(at + 8 * step);
  }
  return list;
}

#define WORD(i) (weights[(kernels_bits_offset)(list[i] - shift) / 4])

/* Adds one to the counters whose bits are set, from plane `planes` on. The last plane never overflows. */
static inline void carry(uint32_t *planes, uint32_t bits) {
  while (bits) {
    const uint32_t both = *planes & bits;
    *planes++ ^= bits;
    bits = both;
  }
}

/* Sets `depth` planes of counters to `start` each. */
static inline void set_planes(uint32_t *planes, kernels_int depth, uint32_t start) {
  for (; depth > 0; depth--, start >>= 1) *planes++ = (uint32_t)0 - (start & 1);
}

/* Sets `depth` planes of counters to `start` each and adds the words at the listed offsets less `shift`. */
static void bits_count(uint32_t *planes, kernels_int depth, uint32_t start, const KERNELS_FLASH uint32_t *weights,
                       const kernels_bits_offset *list, kernels_int count, kernels_bits_offset shift) {
  set_planes(planes, depth, start);
  uint32_t ones = planes[0], twos = planes[1], fours = planes[2];
  for (; count >= 8; count -= 8, list += 8) {
    uint32_t a, b, c, d;
    FULL_ADDER(a, ones, WORD(0), WORD(1));
    FULL_ADDER(b, ones, WORD(2), WORD(3));
    FULL_ADDER(c, twos, a, b);
    FULL_ADDER(a, ones, WORD(4), WORD(5));
    FULL_ADDER(b, ones, WORD(6), WORD(7));
    FULL_ADDER(d, twos, a, b);
    FULL_ADDER(a, fours, c, d);
    carry(planes + 3, a);
  }
  planes[0] = ones;
  planes[1] = twos;
  planes[2] = fours;
  for (; count > 0; count--, list++) carry(planes, WORD(0));
}

#include "bits.inc"

void kernels_bits_conv(const kernels_bits_params *params, const uint32_t *input, const KERNELS_FLASH uint32_t *weights,
                       const KERNELS_FLASH uint32_t *limits, uint32_t *output, kernels_bits_offset *list) {
  bits_conv(params, input, weights, limits, output, list);
}

/* Values of the window at (y, x) that are not zero, and which tap each is; returns their number. */
static kernels_int gather(const kernels_bits_image_params *p, const int8_t *input, kernels_int y, kernels_int x,
                          int16_t *values, int16_t *taps) {
  const kernels_window *w = &p->bits.window;
  const kernels_int channels = p->bits.channels;
  kernels_int count = 0, tap = 0;
  for (kernels_int i = y; i < y + w->height; i++) {
    for (kernels_int j = x; j < x + w->width; j++, tap += channels) {
      if (i < 0 || i >= w->input_height || j < 0 || j >= w->input_width) continue;
      const int8_t *pixel = input + (i * w->input_width + j) * channels;
      for (kernels_int k = 0; k < channels; k++) {
        const int16_t value = (int16_t)(pixel[k] + p->offset);
        if (value == 0) continue;
        values[count] = value;
        taps[count++] = (int16_t)(tap + k);
      }
    }
  }
  return count;
}

void kernels_bits_image_conv(const kernels_bits_image_params *params, const int8_t *input,
                             const KERNELS_FLASH uint32_t *weights, const KERNELS_FLASH uint32_t *limits,
                             uint32_t *output, int16_t *scratch) {
  const kernels_bits_params *p = &params->bits;
  const kernels_window *w = &p->window;
  const kernels_int all = w->height * w->width * p->channels, blocks = KERNELS_BITS_WORDS(p->outputs);
  int16_t *values = scratch, *taps = scratch + all;
  uint32_t planes[KERNELS_BITS_PLANES];
  for (kernels_int i = 0; i < w->output_height; i++) {
    for (kernels_int j = 0; j < w->output_width; j++) {
      const kernels_int count =
          gather(params, input, i * w->stride_height - w->pad_top, j * w->stride_width - w->pad_left, values, taps);
      int32_t total = 0;
      for (kernels_int k = 0; k < count; k++) total += values[k];
      const uint32_t odd = total & 1 ? 0xFFFFFFFFu : 0;
      const KERNELS_FLASH uint32_t *own = weights, *limit = limits;
      for (kernels_int k = blocks; k > 0; k--, own += all, limit += 1 + p->stored) {
        set_planes(planes, p->planes, (uint32_t)(p->start - (total >> 1)));
        for (kernels_int n = 0; n < count; n++) {
          const uint32_t word = own[taps[n]];
          uint32_t *plane = planes;
          for (uint8_t value = (uint8_t)values[n]; value; value >>= 1, plane++) {
            if (value & 1) carry(plane, word);
          }
        }
        *output++ = compare(p, planes, limit, odd);
      }
      output[-1] &= 0xFFFFFFFFu >> (blocks * KERNELS_BITS_WORD - p->outputs);
    }
  }
}

void kernels_bits_max_pool(const kernels_window *window, kernels_int channels, const uint32_t *input,
                           const KERNELS_FLASH uint32_t *falling, uint32_t *output) {
  const kernels_int words = KERNELS_BITS_WORDS(channels);
  const kernels_int gap = (window->input_width - window->width) * words;
  for (kernels_int i = 0; i < window->output_height; i++) {
    for (kernels_int j = 0; j < window->output_width; j++) {
      const uint32_t *corner =
          input + (i * window->stride_height * window->input_width + j * window->stride_width) * words;
      for (kernels_int k = 0; k < words; k++, corner++) {
        const uint32_t *bits = corner;
        uint32_t any = 0, all = 0xFFFFFFFFu;
        for (kernels_int y = window->height; y > 0; y--, bits += gap) {
          for (kernels_int x = window->width; x > 0; x--, bits += words) {
            any |= *bits;
            all &= *bits;
          }
        }
        *output++ = falling ? any ^ ((any ^ all) & falling[k]) : any;
      }
    }
  }
}

/* Ones of a word, added up in ever wider fields. */
static kernels_int ones_of(uint32_t x) {
  x -= x >> 1 & 0x55555555u;
  x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
  x = (x + (x >> 4)) & 0x0F0F0F0Fu;
  x += x >> 8;
  return (kernels_int)((x + (x >> 16)) & 63);
}

void kernels_bits_scores(const kernels_bits_scores_params *params, const uint32_t *input,
                         const KERNELS_FLASH uint32_t *weights, const KERNELS_FLASH int16_t *factors,
                         const KERNELS_FLASH int32_t *offsets, int32_t *scores) {
  for (kernels_int i = 0; i < params->classes; i++) {
    kernels_int differing = 0;
    for (kernels_int k = 0; k < params->words; k++) differing += ones_of(input[k] ^ *weights++);
    scores[i] = (int32_t)(params->taps - 2 * differing) * factors[i] + offsets[i];
  }
}
