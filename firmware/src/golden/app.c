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
#ifdef TINYML_SPLIT_WEIGHTS
#include "split.h"
#endif

static void print_string(const char *text) { port_write(text, strlen(text)); }

static void print_unsigned(uint64_t value) {
  char digits[20];
  size_t at = sizeof digits;
  do {
    digits[--at] = (char)('0' + value % 10);
    value /= 10;
  } while (value != 0);
  port_write(digits + at, sizeof digits - at);
}

#define PRINT_FIGURE(name, value) \
  do {                            \
    port_print(name);             \
    print_unsigned(value);        \
    port_print("\n");             \
  } while (0)

static char hex_digit(unsigned nibble) { return (char)(nibble < 10 ? '0' + nibble : 'a' - 10 + nibble); }

static void print_hex(const uint8_t *bytes, size_t count) {
  char chunk[32];
  size_t used = 0;
  for (size_t i = 0; i < count; i++) {
    chunk[used++] = hex_digit(bytes[i] >> 4);
    chunk[used++] = hex_digit(bytes[i] & 15);
    if (used == sizeof chunk) {
      port_write(chunk, used);
      used = 0;
    }
  }
  port_write(chunk, used);
}

static int end_of_error(void) {
  print_string(inference_message());
  port_print("\n");
  return 1;
}

/* Returns 1 after an #error line. */
#define FAIL(where) (port_print("#error " where ": "), end_of_error())

static void load(unsigned vector) {
  size_t offset = 0;
  for (unsigned i = 0; i < inference_input_count(); i++) {
    size_t bytes = inference_input_bytes(i);
    golden_vector_read(vector, offset, inference_input(i), bytes);
    offset += bytes;
  }
}

static void report(unsigned vector) {
  port_print("#vector ");
  print_unsigned(vector);
  port_print(" ");
  for (unsigned i = 0; i < inference_output_count(); i++) {
    print_hex(inference_output(i), inference_output_bytes(i));
  }
  port_print("\n");
}

int app_run(void) {
  uint64_t instructions = 0;
  size_t stack = 0;
  int counted = 1;

#ifdef TINYML_SPLIT_WEIGHTS
  const int prepared = inference_init(); /* which model it is stands in the image */
#endif
  port_print("#tinyml 1 board=" TINYML_BOARD " runtime=");
  print_string(inference_runtime());
#ifdef TINYML_SPLIT_WEIGHTS
  port_print(" model=");
  print_string(split_model());
  port_print(" vectors=");
#else
  port_print(" model=" TINYML_MODEL_SHA256 " vectors=");
#endif
  print_unsigned(golden_vector_count);
  port_print("\n");

#ifdef TINYML_SPLIT_WEIGHTS
  if (prepared != 0) return FAIL("inference_init");
#else
  if (inference_init() != 0) return FAIL("inference_init");
#endif
  for (unsigned vector = 0; vector < golden_vector_count; vector++) {
#ifdef TINYML_RESET_EACH_VECTOR
    if (vector > 0 && inference_reset() != 0) return FAIL("inference_reset");
#endif
    load(vector);
    if (vector == 0) port_count_start();
    int status = inference_run();
    if (vector == 0) counted = port_count_stop(&instructions);
    if (status != 0) return FAIL("inference_run");
    report(vector);
  }

  PRINT_FIGURE("#arena ", inference_arena_bytes());
  if (port_stack_used(&stack) == 0) PRINT_FIGURE("#stack ", stack);
  if (counted == 0) PRINT_FIGURE("#instructions ", instructions);
  PRINT_FIGURE("#done ", golden_vector_count);
  return 0;
}
