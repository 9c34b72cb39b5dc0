/* Runs the model on every golden vector and prints what it answers.
 *
 *   #tinyml 1 board=<board> runtime=<runtime> model=<sha256, 16 digits> vectors=<n>
 *   #vector <k> <all output bytes, hex>
 *   #arena <bytes>           #stack <bytes>           #instructions <one inference>
 *   #done <n>                or, instead of it, #error <reason>
 */
#include <string.h>

#include "golden_vectors.h"
#include "inference.h"
#include "model_config.h"
#include "port.h"

static void print(const char *text) { port_write(text, strlen(text)); }

static void print_unsigned(uint64_t value) {
  char digits[20];
  size_t at = sizeof digits;
  do {
    digits[--at] = (char)('0' + value % 10);
    value /= 10;
  } while (value != 0);
  port_write(digits + at, sizeof digits - at);
}

static void print_figure(const char *name, uint64_t value) {
  print(name);
  print_unsigned(value);
  print("\n");
}

static void print_hex(const uint8_t *bytes, size_t count) {
  static const char digits[] = "0123456789abcdef";
  char chunk[64];
  size_t used = 0;
  for (size_t i = 0; i < count; i++) {
    chunk[used++] = digits[bytes[i] >> 4];
    chunk[used++] = digits[bytes[i] & 15];
    if (used == sizeof chunk) {
      port_write(chunk, used);
      used = 0;
    }
  }
  port_write(chunk, used);
}

static int fail(const char *where) {
  print("#error ");
  print(where);
  print(": ");
  print(inference_message());
  print("\n");
  return 1;
}

static void load(unsigned vector) {
  size_t offset = 0;
  for (unsigned i = 0; i < inference_input_count(); i++) {
    size_t bytes = inference_input_bytes(i);
    golden_vector_read(vector, offset, inference_input(i), bytes);
    offset += bytes;
  }
}

static void report(unsigned vector) {
  print("#vector ");
  print_unsigned(vector);
  print(" ");
  for (unsigned i = 0; i < inference_output_count(); i++) {
    print_hex(inference_output(i), inference_output_bytes(i));
  }
  print("\n");
}

int app_run(void) {
  uint64_t instructions = 0;
  size_t stack = 0;
  int counted = 1;

  print("#tinyml 1 board=" TINYML_BOARD " runtime=");
  print(inference_runtime());
  print(" model=" TINYML_MODEL_SHA256 " vectors=");
  print_unsigned(golden_vector_count);
  print("\n");

  if (inference_init() != 0) return fail("inference_init");
  for (unsigned vector = 0; vector < golden_vector_count; vector++) {
#ifdef TINYML_RESET_EACH_VECTOR
    if (vector > 0 && inference_reset() != 0) return fail("inference_reset");
#endif
    load(vector);
    if (vector == 0) port_count_start();
    int status = inference_run();
    if (vector == 0) counted = port_count_stop(&instructions);
    if (status != 0) return fail("inference_run");
    report(vector);
  }

  print_figure("#arena ", inference_arena_bytes());
  if (port_stack_used(&stack) == 0) print_figure("#stack ", stack);
  if (counted == 0) print_figure("#instructions ", instructions);
  print_figure("#done ", golden_vector_count);
  return 0;
}
