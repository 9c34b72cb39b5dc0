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

/* The state's lower bound; also where the encoder starts, and so where the decoder ends. */
#define KERNELS_RANS_END ((uint32_t)1 << 16)

/* An entry is a used symbol: its byte, from bit 8 how many slots it has (12 bits) and from bit 20 the first of them.
 * Entries lie in the order of their slots. */
typedef struct {
  const KERNELS_FLASH uint8_t *slots; /* [4096 >> shift]: for each 2^shift slots the entry that the first belongs to */
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
}

/* The next symbol, which was encoded with `model`; every symbol of a stream may have another one. */
static inline uint8_t kernels_rans_next(kernels_rans *r, kernels_rans_model model) {
  const uint32_t slot = r->state & 0xFFF;
  const KERNELS_FLASH uint32_t *at = model.entries + model.slots[slot >> model.shift];
  uint32_t entry = *at;
  uint32_t within = slot - (entry >> 20);
  while (within >= (entry >> 8 & 0xFFF)) {
    entry = *++at;
    within = slot - (entry >> 20);
  }
  uint32_t state = (entry >> 8 & 0xFFF) * (r->state >> 12) + within;
  if (state < KERNELS_RANS_END) {
#if defined(__GNUC__)
    __asm__(""); /* a branch that is seldom taken, not conditional instructions that are always fetched */
#endif
    state = state << 16 | (uint32_t)r->at[1] << 8 | r->at[0];
    r->at += 2;
  }
  r->state = state;
  return (uint8_t)entry;
}

#endif
