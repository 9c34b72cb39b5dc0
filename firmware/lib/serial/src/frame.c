#include "serial/frame.h"

/* Bit by bit: the line is slower than this on every board, and a table would cost flash or, on an AVR, RAM. */
uint32_t frame_crc(uint32_t crc, uint8_t byte) {
  crc ^= byte;
  for (uint8_t bit = 0; bit < 8; bit++) crc = (crc & 1u) != 0 ? (crc >> 1) ^ 0xEDB88320u : crc >> 1;
  return crc;
}

uint32_t frame_crc_bytes(uint32_t crc, const void *bytes, size_t count) {
  const uint8_t *at = (const uint8_t *)bytes;
  for (size_t i = 0; i < count; i++) crc = frame_crc(crc, at[i]);
  return crc;
}

void frame_decoder_start(frame_decoder_t *decoder) {
  decoder->left = 0;
  decoder->code = 0xFF;
}

int frame_decode(frame_decoder_t *decoder, uint8_t byte) {
  if (byte == 0) {
    const int result = decoder->left == 0 ? FRAME_END : FRAME_CUT;
    frame_decoder_start(decoder);
    return result;
  }
  if (decoder->left > 0) {
    decoder->left--;
    return byte;
  }
  /* The zero that ended the block before. */
  const int result = decoder->code == 0xFF ? FRAME_NOTHING : 0;
  decoder->code = byte;
  decoder->left = (uint8_t)(byte - 1u);
  return result;
}

/* A place in the pieces. */
typedef struct {
  const frame_piece_t *piece, *end;
  size_t at;
} cursor_t;

/* The next byte, or -1 at the end. */
static int next(cursor_t *cursor) {
  while (cursor->piece != cursor->end && cursor->at == cursor->piece->count) {
    cursor->piece++;
    cursor->at = 0;
  }
  if (cursor->piece == cursor->end) return -1;
  return ((const uint8_t *)cursor->piece->bytes)[cursor->at++];
}

/* Collects bytes for the line. */
typedef struct {
  void (*write)(const char *bytes, size_t count);
  uint8_t used;
  char bytes[32];
} sink_t;

static void flush(sink_t *sink) {
  sink->write(sink->bytes, sink->used);
  sink->used = 0;
}

static void put(sink_t *sink, uint8_t byte) {
  sink->bytes[sink->used++] = (char)byte;
  if (sink->used == sizeof sink->bytes) flush(sink);
}

/* COBS (Cheshire and Baker 1999): a block is its length plus one and bytes that are not zero; a zero follows in the
 * content unless the length is 254 or the content ends. */
static void encode(cursor_t from, sink_t *sink) {
  for (;;) {
    cursor_t ahead = from;
    uint8_t run = 0;
    int byte = 0;
    while (run < 254 && (byte = next(&ahead)) > 0) run++;
    put(sink, (uint8_t)(run + 1u));
    for (uint8_t i = 0; i < run; i++) put(sink, (uint8_t)next(&from));
    if (run == 254) {
      ahead = from;
      if (next(&ahead) < 0) return;
    } else if (next(&from) < 0) {
      return;
    }
  }
}

void frame_send(frame_piece_t *pieces, unsigned count, void (*write)(const char *bytes, size_t count)) {
  uint32_t crc = FRAME_CRC_START;
  for (unsigned i = 0; i + 1 < count; i++) crc = frame_crc_bytes(crc, pieces[i].bytes, pieces[i].count);
  crc = frame_crc_end(crc);
  const uint8_t sum[4] = {(uint8_t)crc, (uint8_t)(crc >> 8), (uint8_t)(crc >> 16), (uint8_t)(crc >> 24)};
  pieces[count - 1] = (frame_piece_t){sum, sizeof sum};

  sink_t sink = {.write = write};
  put(&sink, 0);
  encode((cursor_t){pieces, pieces + count, 0}, &sink);
  put(&sink, 0);
  flush(&sink);
}
