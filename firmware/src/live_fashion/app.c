/* Classifies grey images that come over the serial port, without a camera: see live/live.h.
 *
 * An image is a binary PGM file of any size: "P5 <width> <height> 255\n" and the pixels, row by row; comments from # to
 * the end of the line may stand before a number. The answer is an #answer line, or a #refused line; then the next one
 * may be sent. Bytes that start no image are passed over. What stops in the middle is given up after 2 s. */
#include "inference.h"
#include "live/live.h"
#include "port.h"
#include "preprocessing.h"

#ifndef PREPROCESSING_IMAGE
#error "live_fashion needs a recipe of images; build with --recipe fashion"
#endif

#define PATIENCE 2000000u /* microseconds */
#define SILENT (-1)

/* The next byte, or SILENT where none comes for PATIENCE; waits for ever with `patient`, or without a clock. */
static int next(int patient) {
  uint64_t start = 0, now = 0;
  const int timed = !patient && port_clock(&start) == 0;
  for (;;) {
    const int byte = port_read();
    if (byte >= 0) return byte;
    if (timed && port_clock(&now) == 0 && now - start > PATIENCE) return SILENT;
  }
}

static int is_space(int byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

/* A number and the one byte behind it; returns 0, or 1 for anything else, or for a number above 65,535. */
static int number(uint16_t *value) {
  uint32_t sum = 0;
  int byte = next(0), digits = 0;
  while (is_space(byte) || byte == '#') {
    if (byte == '#') {
      while (byte != '\n' && byte != SILENT) byte = next(0);
    } else {
      byte = next(0);
    }
  }
  for (; byte >= '0' && byte <= '9'; byte = next(0), digits++) {
    sum = sum * 10u + (uint32_t)(byte - '0');
    if (sum > 65535u) return 1;
  }
  *value = (uint16_t)sum;
  return digits == 0 || !is_space(byte);
}

static void refuse(const char *why) {
  live_text("#refused ");
  live_text(why);
  live_text("\n");
}

/* Takes the pixels; returns 0, or 1 after a #refused line. */
static int receive(void) {
  uint16_t width, height, top;
  if (number(&width) != 0 || number(&height) != 0 || number(&top) != 0) {
    refuse("no PGM header: P5 <width> <height> 255");
    return 1;
  }
  const int taken = top == 255 && preprocessing_begin(width, height) == 0;
  for (uint32_t left = (uint32_t)width * height; left > 0; left--) {
    const int byte = next(0);
    if (byte == SILENT) {
      refuse("the image stopped in the middle");
      return 1;
    }
    const uint8_t pixel = (uint8_t)byte;
    if (taken) (void)preprocessing_push(&pixel, 1);
  }
  if (!taken) refuse(top == 255 ? "an image without pixels, or with too many" : "pixels must go up to 255");
  return !taken;
}

int app_run(void) {
  if (live_begin("live_fashion", 0) != 0) return 1;
  live_text(" takes=PGM\n");
  for (;;) {
    while (next(1) != 'P') {
    }
    if (next(0) != '5' || receive() != 0) continue;
    preprocessing_read(inference_input(0));
    if (live_answer() != 0) return 1;
  }
}
