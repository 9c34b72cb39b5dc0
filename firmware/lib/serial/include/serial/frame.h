/* Frames on a serial line: COBS between zero bytes, a CRC-32 behind the content. docs/serial_protocol.md says all of
 * it.
 *
 * Both directions work byte by byte and need no buffer for a frame. */
#ifndef SERIAL_FRAME_H
#define SERIAL_FRAME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* CRC-32 of IEEE 802.3, that of zlib: begins with FRAME_CRC_START, a byte at a time; the checksum is frame_crc_end().
 * Over content and checksum together the running value ends as FRAME_CRC_GOOD. */
#define FRAME_CRC_START 0xFFFFFFFFu
#define FRAME_CRC_GOOD 0xDEBB20E3u
uint32_t frame_crc(uint32_t crc, uint8_t byte);
static inline uint32_t frame_crc_end(uint32_t crc) { return ~crc; }
uint32_t frame_crc_bytes(uint32_t crc, const void *bytes, size_t count);

/* What frame_decode() gives besides a byte of the frame, which is 0 to 255. */
enum {
  FRAME_NOTHING = -1, /* a byte of the coding */
  FRAME_END = -2,     /* the frame is whole, as far as its coding goes */
  FRAME_CUT = -3      /* it ended within a block of its coding: bytes are missing or wrong */
};

typedef struct {
  uint8_t left; /* bytes until the next code byte */
  uint8_t code; /* the block's code byte; a block of 255 is followed by no zero */
} frame_decoder_t;

void frame_decoder_start(frame_decoder_t *decoder);

/* Takes the next byte from the line. A zero byte always ends the frame, so that the decoder is in step again with it.
 */
int frame_decode(frame_decoder_t *decoder, uint8_t byte);

/* A stretch of a frame's content. */
typedef struct {
  const void *bytes;
  size_t count;
} frame_piece_t;

/* Sends the pieces as one frame, a zero byte on either side. The last one is the checksum's: its place is given, what
 * is in it is set here. `write` is called with a few bytes at a time. */
void frame_send(frame_piece_t *pieces, unsigned count, void (*write)(const char *bytes, size_t count));

#ifdef __cplusplus
}
#endif

#endif
