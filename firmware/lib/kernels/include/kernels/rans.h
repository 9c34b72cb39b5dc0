/* Byte symbols from an entropy-coded stream: rANS with a static model (J. Duda, "Asymmetric numeral systems", 2013).
 *
 * A symbol that has f of the model's 4096 slots takes 12 - log2(f) bits, also where that is far below one. The state
 * has 32 bits and is filled up 16 bits at a time, at most once a symbol; when all symbols are decoded, every byte of
 * the stream was read and none behind it, and the state is KERNELS_RANS_END. Streams and tables are made by
 * convert/compiled/formats/rans.py and are trusted: from a damaged stream come wrong symbols, and it may be read beyond
 * its end, but a read outside of intact tables is never made.
 *
 * Keep the decoder and the models in local variables: all of it then stays in registers. */
#ifndef KERNELS_RANS_H
#define KERNELS_RANS_H

#include <stdint.h>

#include "kernels/flash.h"

#if defined(__GNUC__) && defined(__thumb2__) && defined(__ARM_FEATURE_UNALIGNED) && defined(__ARM_FEATURE_IDIV) && \
    !defined(__ARM_BIG_ENDIAN)
#define KERNELS_RANS_THUMB
#endif

/* The state's lower bound; also where the encoder starts, and so where the decoder ends. */
#define KERNELS_RANS_END ((uint32_t)1 << 16)

/* An entry is a symbol: its byte, from bit 8 how many slots it has (12 bits) and from bit 20 the first of them. Where
 * that number is 0 it is a run of consecutive symbols, the byte the first one's, and a second word has the slots of
 * each symbol, and from bit 16 those of all. Entries lie in the order of their slots. */
typedef struct {
  const KERNELS_FLASH uint8_t *slots; /* [4096 >> shift]: the word where the entry of each first of 2^shift begins */
  const KERNELS_FLASH uint32_t *entries;
  int32_t shift; /* 4..12 */
} kernels_rans_model;

typedef struct {
  const KERNELS_FLASH uint8_t *at; /* the next bytes */
  uint32_t state;
} kernels_rans;

/* Starts at the beginning of a stream, at any alignment. */
static inline void kernels_rans_open(kernels_rans *r, const KERNELS_FLASH uint8_t *stream) {
  r->state = stream[0] | (uint32_t)stream[1] << 8 | (uint32_t)stream[2] << 16 | (uint32_t)stream[3] << 24;
  r->at = stream + 4;
#if defined(KERNELS_RANS_THUMB)
  __asm__("" : "+r"(r->at)); /* or gcc 12 makes one of the load and the addition, and two copies for every symbol */
#endif
}

/* The next symbol, which was encoded with `model`; every symbol of a stream may have another one. */
static inline uint8_t kernels_rans_next(kernels_rans *r, kernels_rans_model model) {
  uint32_t entry;
#if defined(KERNELS_RANS_THUMB)
  /* The same in 12 instructions, 24 for one of a run, and in three registers besides its own. */
  uint32_t within, i, frequency, state = r->state;
  const uint8_t *at = r->at;
  __asm__(
      "ubfx %[within], %[state], #0, #12\n\t"
      "lsr %[i], %[within], %[shift]\n\t"
      "ldrb %[i], [%[slots], %[i]]\n\t"
      "ldr %[entry], [%[entries], %[i], lsl #2]\n\t"
      "sub %[within], %[within], %[entry], lsr #20\n\t"
      "ubfx %[frequency], %[entry], #8, #12\n\t"
      "cmp %[within], %[frequency]\n\t"
      "bcc 3f\n"
      "1:\n\t" /* a run, or not this entry */
      "add %[i], %[i], #1\n\t"
      "cmp %[frequency], #0\n\t"
      "bne 2f\n\t"
      "ldr %[frequency], [%[entries], %[i], lsl #2]\n\t"
      "add %[i], %[i], #1\n\t"
      "cmp %[within], %[frequency], lsr #16\n\t"
      "itttt cc\n\t"
      "uxthcc %[frequency], %[frequency]\n\t"
      "udivcc %[i], %[within], %[frequency]\n\t"
      "mlscc %[within], %[i], %[frequency], %[within]\n\t"
      "addcc %[entry], %[entry], %[i]\n\t"
      "bcc 3f\n\t"
      "lsr %[frequency], %[frequency], #16\n"
      "2:\n\t"
      "sub %[within], %[within], %[frequency]\n\t"
      "ldr %[entry], [%[entries], %[i], lsl #2]\n\t"
      "ubfx %[frequency], %[entry], #8, #12\n\t"
      "cmp %[within], %[frequency]\n\t"
      "bcs 1b\n"
      "3:\n\t"
      "lsr %[state], %[state], #12\n\t"
      "mla %[state], %[state], %[frequency], %[within]\n\t"
      "cmp %[state], #65536\n\t"
      "bcs 4f\n\t"
      "ldrh %[i], [%[at]], #2\n\t"
      "orr %[state], %[i], %[state], lsl #16\n"
      "4:"
      : [within] "=&r"(within), [i] "=&r"(i), [frequency] "=&r"(frequency), [entry] "=&r"(entry), [state] "+r"(state),
        [at] "+r"(at)
      : [slots] "r"(model.slots), [entries] "r"(model.entries), [shift] "r"(model.shift)
      : "cc");
  r->state = state;
  r->at = at;
#else
  /* 16 bits where they do, and shifts by whole bytes first, for processors whose registers have eight. */
  const uint_fast16_t slot = (uint16_t)r->state & 0xFFF;
  const KERNELS_FLASH uint32_t *at = model.entries + model.slots[slot >> model.shift];
  entry = *at;
  uint_fast16_t frequency = (uint16_t)(entry >> 8) & 0xFFF;
  uint_fast16_t within = slot - ((uint16_t)(entry >> 16) >> 4);
  while (within >= frequency) {
    if (frequency == 0) {
      const uint32_t run = *++at;
      frequency = (uint16_t)run;
      if (within < run >> 16) {
        entry += (uint16_t)(within / frequency);
        within = (uint16_t)(within % frequency);
        break;
      }
      within -= (uint16_t)(run >> 16);
    } else {
      within -= frequency;
    }
    entry = *++at;
    frequency = (uint16_t)(entry >> 8) & 0xFFF;
  }
  r->state = (r->state >> 8 >> 4) * (uint32_t)frequency + (uint32_t)within;
  if (r->state < KERNELS_RANS_END) {
    r->state = r->state << 16 | (uint32_t)r->at[1] << 8 | r->at[0];
    r->at += 2;
  }
#endif
  return (uint8_t)entry;
}

#endif
