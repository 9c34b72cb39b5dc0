/* Lets a host drive the model over the console: docs/serial_protocol.md. */
#include "port.h"
#include "serial/server.h"

int app_run(void) {
  server_run(NULL);
  return 0;
}
