/* The device's end of the serial protocol: a model that is driven from a host. docs/serial_protocol.md.
 *
 * Uses inference.h and port.h and the generated model_config.h; allocates nothing. What a host writes goes straight
 * into the model's inputs, what it reads comes straight from its outputs. */
#ifndef SERIAL_SERVER_H
#define SERIAL_SERVER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An application that profiles gives its figures here, little-endian. */
typedef struct {
  void (*enable)(int on); /* whether the next inferences are traced; clears the figures */
  void (*begin)(void);    /* an inference begins, and the port counts it */
  const void *figures;
  size_t bytes;
} server_trace_t;

/* Answers requests for ever. `trace` is NULL in an application that does not profile. */
void server_run(const server_trace_t *trace);

#ifdef __cplusplus
}
#endif

#endif
