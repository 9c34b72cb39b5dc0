/* A model's weights apart from the firmware: two slots of flash, each room for one image, of which the newest whole one
 * is used. docs/two_images.md.
 *
 * An image is a header of SLOTS_HEADER bytes, all numbers little-endian, and a payload:
 *
 *    0  u32  magic, written last
 *    4  u16  version of this format, u16 bytes of the header
 *    8  u32  bytes of the payload, a multiple of 4
 *   12  u32  CRC-32 (IEEE 802.3) of everything else: bytes 0 to 11, the header from 16 on, the payload
 *   16  u32  sequence number: the larger one is newer
 *   20  u32  kind of signature
 *   24       first 8 bytes of the model's SHA-256
 *   32       graph hash: SHA-256 of what the firmware takes for granted
 *   64       signature of bytes 0 to 11, 16 to 63 and the payload; zeros where there is none
 *
 * Portable C99 without allocation. Nothing is read outside a slot, whatever it holds. */
#ifndef SLOTS_SLOTS_H
#define SLOTS_SLOTS_H

#include <stddef.h>
#include <stdint.h>

#include "slots/ed25519.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SLOTS_HEADER 128u
#define SLOTS_GRAPH 32u
#define SLOTS_MODEL 8u
#define SLOTS_KEY 32u

typedef enum {
  SLOTS_OK = 0,
  SLOTS_EMPTY,     /* the header is erased flash */
  SLOTS_MAGIC,     /* no image, or one whose writing did not end */
  SLOTS_FORMAT,    /* another version of the header, or an unknown kind of signature */
  SLOTS_LENGTH,    /* longer than a slot, too short, or no multiple of 4 */
  SLOTS_OTHER,     /* an image for another firmware: its graph hash differs */
  SLOTS_CHECKSUM,  /* a bad CRC */
  SLOTS_UNSIGNED,  /* no signature where the firmware has a key */
  SLOTS_SIGNATURE, /* a signature that is not the key's */
  SLOTS_OLD,       /* a sequence number that is not above the present one's */
  SLOTS_PLACE,     /* data that do not continue those before, or before the header */
  SLOTS_SHORT,     /* the image ends early */
  SLOTS_FAILED     /* the flash did not take what was written */
} slots_status;

/* Two slots and what an image in them must be. */
typedef struct {
  const uint8_t *slot[2]; /* each begins a page */
  uint32_t bytes;         /* of a slot, a multiple of the page and more than SLOTS_HEADER */
  uint32_t page;          /* what the flash erases at once */
  uint32_t least;         /* bytes that every payload has */
  const uint8_t *graph;   /* SLOTS_GRAPH bytes */
  const uint8_t *key;     /* SLOTS_KEY bytes of an Ed25519 public key; NULL: signatures are not looked at */
  ed25519_check_t verify; /* ed25519_verify where there is a key; by pointer, so that who has none does not link it */
} slots_t;

/* What one line of a message says of a status. */
const char *slots_message(slots_status status);

uint32_t slots_sequence(const uint8_t *header);
const uint8_t *slots_model(const uint8_t *header);

/* Whether `header` may be one of an image for these slots; looks at nothing behind it. */
slots_status slots_check_header(const slots_t *slots, const uint8_t *header);

/* Whether an image is whole and for this firmware: the header and where its payload lies, in a slot or elsewhere, with
 * room for the slot's bytes. */
slots_status slots_check(const slots_t *slots, const uint8_t *header, const uint8_t *payload);

/* The slot of the newest whole image, 0 or 1, or -1 where there is none; `found` says what is with each. */
int slots_choose(const slots_t *slots, slots_status found[2]);

/* A new image on its way into the slot that is not used. */
typedef struct {
  const slots_t *slots;
  const uint8_t *into; /* a slot's first byte; NULL: none is on its way */
  uint32_t written;    /* bytes of the payload so far */
  uint32_t header[SLOTS_HEADER / 4];
} slots_update_t;

/* Begins with an image's header (SLOTS_HEADER bytes, anywhere): what can be refused is refused before anything is
 * erased. SLOTS_OLD unless its sequence number is above that of the present image. */
slots_status slots_begin(slots_update_t *update, const slots_t *slots, const uint8_t *header);

/* The payload's next bytes, `count` a multiple of 4, at byte `offset` of it. Bytes that were written already and are
 * the same are taken again, so that a request whose answer got lost can be repeated. */
slots_status slots_write(slots_update_t *update, uint32_t offset, const uint8_t *bytes, uint32_t count);

/* Checks the whole image in flash, then makes it valid: the header's words, its magic last. Before this call the new
 * image counts for nothing, afterwards it is what slots_choose finds. */
slots_status slots_finish(slots_update_t *update);

#ifdef __cplusplus
}
#endif

#endif
