/* Serves the model like `serve` and tells what each operator takes: instructions where the port counts them, else
 * microseconds. Built with INFERENCE_TRACE, so that the runtime calls inference_trace() behind every operator. */
#include <string.h>

#include "inference.h"
#include "model_config.h"
#include "port.h"
#include "serial/server.h"

#define CALIBRATIONS 64u

/* docs/serial_protocol.md; the last place is for what is no operator's. */
static struct {
  uint32_t hooks_cost; /* of CALIBRATIONS calls of inference_trace() */
  uint32_t step;       /* the least by which the counter was seen to advance: its resolution, or less */
  uint32_t whole;      /* up to the last call */
  struct {
    uint32_t amount;
    uint32_t calls;
  } places[TINYML_OPERATORS + 1];
} figures;

static uint8_t on, by_clock;
static uint64_t last;

void inference_trace(unsigned op, unsigned tensor, const void *data, size_t bytes);

static uint64_t now(void) {
  uint64_t value = 0;
  if (by_clock != 0) {
    (void)port_clock(&value);
  } else {
    (void)port_count_stop(&value);
  }
  return value;
}

void inference_trace(unsigned op, unsigned tensor, const void *data, size_t bytes) {
  (void)tensor;
  (void)data;
  (void)bytes;
  if (on == 0) return;
  const uint64_t time = now();
  const unsigned place = op < TINYML_OPERATORS ? op : TINYML_OPERATORS;
  figures.places[place].amount += (uint32_t)(time - last);
  figures.places[place].calls++;
  figures.whole += (uint32_t)(time - last);
  last = time;
}

/* The smallest difference of two readings in a row that differ. */
static uint32_t smallest_step(void) {
  uint32_t least = 0;
  uint64_t before = now();
  for (unsigned i = 0; i < 256; i++) {
    const uint64_t after = now();
    const uint32_t step = (uint32_t)(after - before);
    if (step != 0 && (least == 0 || step < least)) least = step;
    before = after;
  }
  return least;
}

/* What the hook takes, on the spot: the counter never stops, so nothing is lost to its resolution. */
static void calibrate(void) {
  port_count_start();
  const uint64_t before = now();
  last = before;
  for (unsigned i = 0; i < CALIBRATIONS; i++) inference_trace(i, 0, NULL, 0);
  const uint64_t after = now();
  memset(&figures, 0, sizeof figures);
  figures.hooks_cost = (uint32_t)(after - before);
  figures.step = smallest_step();
}

static void enable(int enabled) {
  uint64_t ignored;
  port_count_start();
  by_clock = port_count_stop(&ignored) != 0;
  on = enabled != 0;
  if (on != 0) calibrate();
}

/* From here on the first operator's time runs; read as in the hook, so that each operator bears the cost of one. */
static void begin(void) {
  if (on != 0) last = now();
}

int app_run(void) {
  static const server_trace_t trace = {enable, begin, &figures, sizeof figures};
  server_run(&trace);
  return 0;
}
