#include "serial/server.h"

#include <string.h>

#include "inference.h"
#include "model_config.h"
#include "port.h"
#include "serial/frame.h"
#ifdef TINYML_SPLIT_WEIGHTS
#include "split.h"
#include "update.h"
#endif

#define PROTOCOL_VERSION 1

enum { HELLO = 1, RESET = 2, WRITE = 3, RUN = 4, READ = 5, TRACE = 6, PUT = 7, ANSWER = 0x80, ERROR = 0xFF };

typedef enum {
  OK = 0,
  BAD_CHECKSUM = 1,
  BAD_COMMAND = 2,
  BAD_LENGTH = 3,
  BAD_RANGE = 4,
  BAD_INPUT = 5,    /* the inputs are not those that the request speaks of */
  BAD_OUTPUT = 6,   /* the outputs of a repeated request are no longer there */
  MODEL_FAILED = 7, /* with inference_message() */
  REFUSED = 8       /* new weights, with the reason */
} error_t;

enum { COUNTS_INSTRUCTIONS = 1, COUNTS_MICROSECONDS = 2 };
enum { TRACES = 1 };
enum { REGION_OUTPUTS = 0, REGION_FIGURES = 1 };

/* Bytes of a request before its data or its checksum, by command. */
enum { WRITE_HEAD = 8, RUN_HEAD = 8, READ_HEAD = 9, CHECKSUM = 4 };
enum { PIECES = 6 };

static struct {
  /* The frame on the line. */
  frame_decoder_t decoder;
  uint32_t crc;
  uint32_t count; /* bytes so far */
  uint8_t head[READ_HEAD + CHECKSUM];
  /* Where the next byte of a WRITE or PUT goes. */
  uint8_t *to;
  size_t room;
  unsigned input;
  /* The last RUN, so that it is answered again and not run again where its answer was lost. */
  uint32_t last_run; /* its checksum */
  uint32_t output_crc;
  uint64_t instructions, microseconds;
  uint8_t ran;
  /* What does not change. */
  uint8_t counters, failed;
  const server_trace_t *trace;
#ifdef TINYML_SPLIT_WEIGHTS
  uint8_t body[UPDATE_BODY]; /* what follows command and sequence number */
#endif
} s;

static uint32_t get32(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] | (uint16_t)at[1] << 8); }

static uint8_t *put(uint8_t *to, uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; i++) {
    *to++ = (uint8_t)value;
    value >>= 8;
  }
  return to;
}

/* Sends an answer: two bytes of its own, a fixed part, and what `pieces` holds from [2] on, the last one being the
 * checksum's. */
static void answer(uint8_t kind, const uint8_t *fixed, size_t bytes, frame_piece_t *pieces, unsigned count) {
  const uint8_t head[2] = {kind, s.head[1]};
  pieces[0] = (frame_piece_t){head, sizeof head};
  pieces[1] = (frame_piece_t){fixed, bytes};
  frame_send(pieces, count, port_write);
}

static void answer_fixed(const uint8_t *fixed, size_t bytes) {
  frame_piece_t pieces[3];
  answer((uint8_t)(s.head[0] | ANSWER), fixed, bytes, pieces, 3);
}

static void refuse(error_t code) {
  const uint8_t fixed[2] = {s.head[0], (uint8_t)code};
  const char *why = code == MODEL_FAILED ? inference_message() : "";
  frame_piece_t pieces[4];
  pieces[2] = (frame_piece_t){why, strlen(why)};
  answer(ERROR, fixed, sizeof fixed, pieces, 4);
}

static uint32_t total(unsigned count, size_t (*bytes)(unsigned)) {
  uint32_t sum = 0;
  for (unsigned i = 0; i < count; i++) sum += (uint32_t)bytes(i);
  return sum;
}

static uint32_t input_bytes(void) { return total(inference_input_count(), inference_input_bytes); }

static uint32_t output_bytes(void) { return total(inference_output_count(), inference_output_bytes); }

static uint32_t input_crc(void) {
  uint32_t crc = FRAME_CRC_START;
  for (unsigned i = 0; i < inference_input_count(); i++) {
    crc = frame_crc_bytes(crc, inference_input(i), inference_input_bytes(i));
  }
  return frame_crc_end(crc);
}

static uint32_t output_crc(void) {
  uint32_t crc = FRAME_CRC_START;
  for (unsigned i = 0; i < inference_output_count(); i++) {
    crc = frame_crc_bytes(crc, inference_output(i), inference_output_bytes(i));
  }
  return frame_crc_end(crc);
}

/* Pieces of the outputs laid end to end, at most `most` of them; returns how many. */
static unsigned output_pieces(uint32_t offset, uint32_t count, frame_piece_t *pieces, unsigned most) {
  unsigned used = 0;
  for (unsigned i = 0; i < inference_output_count() && count > 0 && used < most; i++) {
    const size_t bytes = inference_output_bytes(i);
    if (offset >= bytes) {
      offset -= (uint32_t)bytes;
      continue;
    }
    const size_t rest = bytes - (size_t)offset;
    const size_t part = count < rest ? (size_t)count : rest;
    pieces[used++] = (frame_piece_t){(const uint8_t *)inference_output(i) + offset, part};
    offset = 0;
    count -= (uint32_t)part;
  }
  return used;
}

static void hello(void) {
#ifdef TINYML_SPLIT_WEIGHTS
  static const char board[] = TINYML_BOARD, name[] = TINYML_MODEL;
#else
  static const char names[] = TINYML_BOARD "\0" TINYML_MODEL_SHA256 "\0" TINYML_MODEL;
#endif
  const uint8_t flags = s.trace != NULL ? TRACES : 0;
  uint8_t fixed[3 + 3 * 4];
  uint8_t *at = put(fixed, PROTOCOL_VERSION, 1);
  at = put(at, s.counters, 1);
  at = put(at, flags, 1);
  at = put(at, input_bytes(), 4);
  at = put(at, output_bytes(), 4);
  at = put(at, inference_arena_bytes(), 4);
#ifdef TINYML_SPLIT_WEIGHTS
  frame_piece_t pieces[7];
  pieces[2] = (frame_piece_t){board, sizeof board};
  pieces[3] = (frame_piece_t){split_model(), strlen(split_model()) + 1}; /* that of the image in use */
  pieces[4] = (frame_piece_t){name, sizeof name};
  pieces[5] = (frame_piece_t){inference_runtime(), strlen(inference_runtime())};
  s.ran = 0;
  answer(HELLO | ANSWER, fixed, (size_t)(at - fixed), pieces, 7);
#else
  frame_piece_t pieces[5];
  pieces[2] = (frame_piece_t){names, sizeof names}; /* with the last one's end */
  pieces[3] = (frame_piece_t){inference_runtime(), strlen(inference_runtime())};
  s.ran = 0;
  answer(HELLO | ANSWER, fixed, (size_t)(at - fixed), pieces, 5);
#endif
}

#ifdef TINYML_SPLIT_WEIGHTS
static void update(void) {
  uint8_t fixed[UPDATE_ANSWER];
  size_t bytes = 0;
  int changed = 0;
  const uint32_t count = s.count - 2 - CHECKSUM;
  const char *why = count > sizeof s.body ? "the request is too long"
                                          : update_request(s.head[0], s.body, count, fixed, &bytes, &changed);
  if (changed != 0) s.ran = s.failed = 0;
  if (why == NULL) {
    answer_fixed(fixed, bytes);
    return;
  }
  const uint8_t refused[2] = {s.head[0], REFUSED};
  frame_piece_t pieces[4];
  pieces[2] = (frame_piece_t){why, strlen(why)};
  answer(ERROR, refused, sizeof refused, pieces, 4);
}
#endif

static void reset(void) {
  s.ran = 0;
  if (inference_reset() != 0) {
    refuse(MODEL_FAILED);
  } else {
    answer_fixed(NULL, 0);
  }
}

static int run_model(void) {
  uint64_t before = 0, after = 0;
  s.instructions = s.microseconds = 0;
  (void)port_clock(&before);
  port_count_start();
  if (s.trace != NULL) s.trace->begin();
  const int status = inference_run();
  (void)port_count_stop(&s.instructions);
  if (port_clock(&after) == 0) s.microseconds = after - before;
  return status;
}

static void answer_run(void) {
  uint8_t fixed[8 + 8 + 4];
  (void)put(put(put(fixed, s.instructions, 8), s.microseconds, 8), s.output_crc, 4);
  frame_piece_t pieces[PIECES];
  const unsigned found = output_pieces(0, get16(s.head + 6), pieces + 2, PIECES - 3);
  answer(RUN | ANSWER, fixed, sizeof fixed, pieces, 3 + found);
}

static void run(void) {
  const uint32_t request = get32(s.head + RUN_HEAD);
  if (s.ran != 0 && s.last_run == request) {
    if (output_crc() == s.output_crc) {
      answer_run();
    } else {
      refuse(BAD_OUTPUT);
    }
    return;
  }
  if (input_crc() != get32(s.head + 2)) {
    refuse(BAD_INPUT);
    return;
  }
  s.ran = 0;
  if (run_model() != 0) {
    refuse(MODEL_FAILED);
    return;
  }
  s.ran = 1;
  s.last_run = request;
  s.output_crc = output_crc();
  answer_run();
}

static void read(void) {
  const uint8_t region = s.head[2];
  const uint32_t offset = get32(s.head + 3), count = get16(s.head + 7);
  const uint32_t bytes = region == REGION_OUTPUTS                      ? output_bytes()
                         : region == REGION_FIGURES && s.trace != NULL ? (uint32_t)s.trace->bytes
                                                                       : 0;
  if (count > bytes || offset > bytes - count) {
    refuse(BAD_RANGE);
    return;
  }
  if (region == REGION_OUTPUTS && (s.ran == 0 || output_crc() != s.output_crc)) {
    refuse(BAD_OUTPUT);
    return;
  }
  frame_piece_t pieces[PIECES];
  unsigned found = 1;
  if (region == REGION_OUTPUTS) {
    found = output_pieces(offset, count, pieces + 2, PIECES - 3);
  } else {
    pieces[2] = (frame_piece_t){(const uint8_t *)s.trace->figures + offset, (size_t)count};
  }
  answer(READ | ANSWER, NULL, 0, pieces, 3 + found);
}

static void trace(void) {
  if (s.trace == NULL) {
    refuse(BAD_COMMAND);
    return;
  }
  s.trace->enable(s.head[2] != 0);
  answer_fixed(NULL, 0);
}

/* Finds where the data of a WRITE or PUT go; nowhere where they do not fit. */
static void aim(void) {
  uint32_t offset = get32(s.head + 2);
  const uint32_t count = get16(s.head + 6), bytes = input_bytes();
  s.to = NULL;
  s.room = 0;
  if (count > bytes || offset > bytes - count) return;
  for (s.input = 0; s.input < inference_input_count(); s.input++) {
    const size_t here = inference_input_bytes(s.input);
    if (offset < here) {
      s.to = (uint8_t *)inference_input(s.input) + offset;
      s.room = here - (size_t)offset;
      return;
    }
    offset -= (uint32_t)here;
  }
}

static void store(uint8_t byte) {
  while (s.to != NULL && s.room == 0) {
    s.input++;
    s.to = s.input < inference_input_count() ? (uint8_t *)inference_input(s.input) : NULL;
    s.room = s.to == NULL ? 0 : inference_input_bytes(s.input);
  }
  if (s.to == NULL) return;
  *s.to++ = byte;
  s.room--;
}

static void take(uint8_t byte) {
  s.crc = frame_crc(s.crc, byte);
  if (s.count < sizeof s.head) s.head[s.count] = byte;
  if ((s.head[0] == WRITE || s.head[0] == PUT) && s.count >= WRITE_HEAD && s.count - WRITE_HEAD < get16(s.head + 6)) {
    if (s.count == WRITE_HEAD) aim();
    store(byte);
  }
#ifdef TINYML_SPLIT_WEIGHTS
  if (s.count >= 2 && s.count - 2 < sizeof s.body) s.body[s.count - 2] = byte;
#endif
  s.count++;
}

/* A WRITE is not answered where it is right, so that the next one can follow at once: the RUN behind them says by its
 * checksum whether all have come. A PUT is answered. */
static void written(void) {
  const uint32_t count = get16(s.head + 6);
  s.ran = 0;
  if (s.count != WRITE_HEAD + count + CHECKSUM) {
    refuse(BAD_LENGTH);
  } else if (count > 0 && s.to == NULL) {
    refuse(BAD_RANGE);
  } else if (s.head[0] == PUT) {
    answer_fixed(NULL, 0);
  }
}

static void execute(void) {
  static const struct {
    uint8_t bytes; /* without the checksum; 0: not fixed */
    void (*call)(void);
  } commands[] = {{0, NULL},       {2, hello},        {2, reset}, {0, written},
                  {RUN_HEAD, run}, {READ_HEAD, read}, {3, trace}, {0, written}};
  const uint8_t command = s.head[0];
#ifdef TINYML_SPLIT_WEIGHTS
  /* Also where no model is whole: then all the more. */
  if (command >= UPDATE_SLOTS && command <= UPDATE_FINISH) {
    update();
    return;
  }
#endif
  if (command == 0 || command >= sizeof commands / sizeof commands[0]) {
    refuse(BAD_COMMAND);
  } else if (commands[command].bytes != 0 && s.count != (uint32_t)commands[command].bytes + CHECKSUM) {
    refuse(BAD_LENGTH);
  } else if (s.failed != 0) {
    refuse(MODEL_FAILED);
  } else {
    commands[command].call();
  }
}

static void begin(void) {
  s.count = 0;
  s.crc = FRAME_CRC_START;
  s.head[0] = s.head[1] = 0;
}

static void receive(uint8_t byte) {
  const int got = frame_decode(&s.decoder, byte);
  if (got >= 0) {
    take((uint8_t)got);
    return;
  }
  if (got == FRAME_NOTHING) return;
  /* Two zero bytes in a row are no frame. */
  if (s.count > 0 || got == FRAME_CUT) {
    if (got == FRAME_END && s.crc == FRAME_CRC_GOOD && s.count >= 2 + CHECKSUM) {
      execute();
    } else {
      s.head[0] = s.head[1] = 0; /* which request it was is not known */
      refuse(BAD_CHECKSUM);
    }
  }
  begin();
}

void server_run(const server_trace_t *trace_of) {
  uint64_t ignored;
  s.trace = trace_of;
  s.failed = inference_init() != 0;
  port_count_start();
  s.counters = port_count_stop(&ignored) == 0 ? COUNTS_INSTRUCTIONS : 0;
  if (port_clock(&ignored) == 0) s.counters |= COUNTS_MICROSECONDS;
  frame_decoder_start(&s.decoder);
  begin();
  for (;;) {
    const int byte = port_read();
    if (byte >= 0) receive((uint8_t)byte);
  }
}
