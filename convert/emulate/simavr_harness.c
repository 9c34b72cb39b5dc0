/* Runs an AVR image in libsimavr: the UART on standard input and output, one inference counted exactly, and whatever a
 * board would only show by standing still told in an #error line.
 *
 *   harness MCU HZ IMAGE BSS_END ENTRY RUN [RAM_END]
 *
 * IMAGE is the flash's raw content from address 0; BSS_END the first RAM address behind the static data, ENTRY the
 * address of inference_run() in bytes (0: nothing is counted). RUN is "closing", to end with the first line that begins
 * with "#done " or "#error ", or "open", to run until standard input ends. RAM_END: the
 * last RAM address where it is not the chip's own. On the last line of standard error:
 *
 *   figures instructions=<n> cycles=<n> stack=<bytes>
 *
 * Exit status: 0 after #done or at the end of the input, 1 after #error, 2 for wrong use.
 *
 * Received bytes come at the line's rate and no sooner than the firmware has room for them: the chip holds two and the
 * third that is being shifted in. While the firmware waits for input and there is none, time passes as it does here. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_io.h>
#include <simavr/sim_irq.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { UCSR0A = 0xC0, UCSR0B = 0xC1, UBRR0L = 0xC4, UBRR0H = 0xC5, UDR0 = 0xC6, SPL = 0x5D, SPH = 0x5E };
enum { UDRE0 = 1 << 5, RXEN0 = 1 << 4, TXEN0 = 1 << 3, U2X0 = 1 << 1 };
/* A waiting firmware asks every ten instructions or so; the steps between two looks at the input are half a
 * millisecond. */
enum { CHIP_BUFFER = 2, IDLE_POLLS = 1000, IDLE_MILLISECONDS = 1, IDLE_STEPS = 5000, BUSY_STEPS = 50 };

typedef struct {
  avr_t *avr;
  avr_irq_t *input;
  uint32_t bss_end, entry;
  int until_closing;
  /* receiving */
  uint8_t pending[65536];
  size_t pending_at, pending_end;
  int input_ended;
  unsigned unread; /* bytes in the chip that the firmware has not fetched */
  avr_cycle_count_t next_byte;
  unsigned polls; /* of the status since anything came or went */
  /* sending */
  char out[4096];
  size_t out_bytes;
  char line[8]; /* how the line that is being printed begins */
  size_t line_bytes;
  int closing; /* 0, or 1 in a closing line that is not whole yet, 2 once it is */
  int failed;
  /* counting */
  uint64_t instructions, counted_instructions;
  avr_cycle_count_t started, counted_cycles;
  uint32_t returns_at; /* the stack pointer after the return; 0: not entered */
  int counted;
  /* the stack pointer */
  uint32_t sp, deepest;
  unsigned sp_stands; /* instructions that have left it as it is */
  int started_up;
} harness;

static harness h;

static void flush_output(void) {
  size_t at = 0;
  while (at < h.out_bytes) {
    const ssize_t n = write(STDOUT_FILENO, h.out + at, h.out_bytes - at);
    if (n < 0 && errno != EINTR && errno != EAGAIN) exit(0); /* nobody listens any more */
    if (n > 0) at += (size_t)n;
  }
  h.out_bytes = 0;
}

static void put(char c) {
  h.out[h.out_bytes++] = c;
  if (h.out_bytes == sizeof h.out || (c == '\n' && h.until_closing)) flush_output();
}

static void finish(int status) {
  flush_output();
  const uint32_t ramend = h.avr->ramend;
  fprintf(stderr, "figures");
  if (h.counted) {
    fprintf(stderr, " instructions=%llu cycles=%llu", (unsigned long long)h.counted_instructions,
            (unsigned long long)h.counted_cycles);
  }
  fprintf(stderr, " stack=%u\n", (unsigned)(ramend > h.deepest ? ramend - h.deepest : 0));
  fflush(stderr);
  _Exit(status);
}

static void fault(const char *format, ...) {
  char text[200];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (h.line_bytes != 0) put('\n');
  for (const char *c = "#error "; *c; c++) put(*c);
  for (const char *c = text; *c; c++) put(*c);
  put('\n');
  finish(1);
}

static void sent(avr_irq_t *irq, uint32_t value, void *parameter) {
  (void)irq;
  (void)parameter;
  const char c = (char)value;
  h.polls = 0;
  put(c);
  if (c == '\n') {
    if (h.closing == 1) h.closing = 2;
    h.line_bytes = 0;
    return;
  }
  if (h.line_bytes < sizeof h.line) h.line[h.line_bytes] = c;
  h.line_bytes++;
  if (h.line_bytes == 6 && memcmp(h.line, "#done ", 6) == 0) h.closing = 1;
  if (h.line_bytes == 7 && memcmp(h.line, "#error ", 7) == 0) h.closing = h.failed = 1;
}

/* The registers' own functions, around which ours are put. */
static avr_io_read_t read_status, read_data;
static avr_io_write_t write_control;
static void *read_status_of, *read_data_of, *write_control_of;

static uint8_t status_read(avr_t *avr, avr_io_addr_t address, void *parameter) {
  (void)parameter;
  h.polls++;
  return read_status ? read_status(avr, address, read_status_of) : avr->data[address];
}

static uint8_t data_read(avr_t *avr, avr_io_addr_t address, void *parameter) {
  (void)parameter;
  if (h.unread > 0) h.unread--;
  h.polls = 0;
  return read_data(avr, address, read_data_of);
}

/* A transmitter that is switched on is ready, on the chip; simavr 1.6 has it so after a reset only, and the Arduino
 * core switches it off first. */
static void control_write(avr_t *avr, avr_io_addr_t address, uint8_t value, void *parameter) {
  (void)parameter;
  const int was_on = (avr->data[address] & TXEN0) != 0;
  write_control(avr, address, value, write_control_of);
  if (!was_on && (value & TXEN0) != 0) avr->data[UCSR0A] |= UDRE0;
}

static void fetch_input(int milliseconds) {
  struct pollfd in = {STDIN_FILENO, POLLIN, 0};
  if (h.input_ended || poll(&in, 1, milliseconds) <= 0) return;
  const ssize_t n = read(STDIN_FILENO, h.pending, sizeof h.pending);
  if (n > 0) {
    h.pending_at = 0;
    h.pending_end = (size_t)n;
  } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
    h.input_ended = 1;
  }
}

/* Hands on what the host has sent, and waits for it where the firmware has nothing else to do. */
static void serve_input(void) {
  if (h.pending_at == h.pending_end) {
    const int idle = h.polls > IDLE_POLLS;
    if (idle) flush_output();
    fetch_input(idle ? IDLE_MILLISECONDS : 0);
  }
  if (h.pending_at == h.pending_end || h.unread >= CHIP_BUFFER || h.avr->cycle < h.next_byte) return;
  if ((h.avr->data[UCSR0B] & RXEN0) == 0) return; /* the receiver is off: the byte would be lost */
  h.unread++;
  h.polls = 0;
  const uint8_t *data = h.avr->data;
  const avr_cycle_count_t rate = 1 + (data[UBRR0L] | (avr_cycle_count_t)data[UBRR0H] << 8);
  h.next_byte = h.avr->cycle + 10 * rate * ((data[UCSR0A] & U2X0) != 0 ? 8 : 16); /* a byte's ten bits */
  avr_raise_irq(h.input, h.pending[h.pending_at++]);
}

static uint32_t stack_pointer(void) { return h.avr->data[SPL] | (uint32_t)h.avr->data[SPH] << 8; }

/* Takes note of the stack pointer. It is written in two halves, with an instruction between: only a value that stands
 * still counts. */
static void watch_stack(uint32_t sp, uint32_t pc) {
  h.sp_stands = sp == h.sp ? h.sp_stands + 1 : 0;
  h.sp = sp;
  if (h.sp_stands != 3 || sp >= h.deepest) return;
  h.deepest = sp;
  /* Before the start-up code has set it, it is 0. */
  if (h.started_up && sp < h.bss_end) fault("stack overflow: it reaches the static data at pc=0x%x", (unsigned)pc);
}

/* One instruction, and what it tells. */
static void step(void) {
  avr_t *avr = h.avr;
  const uint32_t before = avr->pc;
  const unsigned opcode = avr->flash[before] | (unsigned)avr->flash[before + 1] << 8;
  if (opcode == 0xFFFF) fault("the program ran into erased flash at pc=0x%x", (unsigned)before);
  if (opcode > 0 && opcode < 0x100) fault("no such instruction: 0x%04x at pc=0x%x", opcode, (unsigned)before);
  if (before == h.entry && h.entry != 0 && h.returns_at == 0) {
    h.returns_at = stack_pointer() + 2;
    h.started = avr->cycle;
    h.instructions = 0;
  }
  const int state = avr_run(avr);
  h.instructions++;
  if (state == cpu_Crashed) fault("the processor stopped at pc=0x%x", (unsigned)before);
  if (state == cpu_Done) fault("the processor sleeps with interrupts off, for ever, at pc=0x%x", (unsigned)before);
  if (avr->pc == 0) fault("the program jumped to address 0 from pc=0x%x: it would start again", (unsigned)before);
  const uint32_t sp = stack_pointer();
  if (!h.started_up && sp == avr->ramend) {
    h.started_up = 1;
    h.deepest = sp;
  }
  watch_stack(sp, before);
  if (!h.counted && h.returns_at != 0 && sp == h.returns_at) {
    h.counted = 1;
    h.counted_instructions = h.instructions;
    h.counted_cycles = avr->cycle - h.started;
  }
}

static void quiet(avr_t *avr, const int level, const char *format, va_list arguments) {
  (void)avr;
  (void)level;
  (void)format;
  (void)arguments;
}

static void load(const char *path) {
  FILE *file = fopen(path, "rb");
  static uint8_t image[1 << 18];
  const size_t bytes = file ? fread(image, 1, sizeof image, file) : 0;
  if (bytes == 0 || bytes > h.avr->flashend + 1) {
    fprintf(stderr, "%s cannot be read or is longer than the flash\n", path);
    exit(2);
  }
  fclose(file);
  memset(h.avr->flash, 0xFF, h.avr->flashend + 1);
  memcpy(h.avr->flash, image, bytes);
  h.avr->codeend = h.avr->flashend;
}

static void wrap_registers(void) {
  avr_t *avr = h.avr;
  const int status = AVR_DATA_TO_IO(UCSR0A), control = AVR_DATA_TO_IO(UCSR0B), data = AVR_DATA_TO_IO(UDR0);
  read_status = avr->io[status].r.c;
  read_status_of = avr->io[status].r.param;
  avr->io[status].r.c = status_read;
  read_data = avr->io[data].r.c;
  read_data_of = avr->io[data].r.param;
  avr->io[data].r.c = data_read;
  write_control = avr->io[control].w.c;
  write_control_of = avr->io[control].w.param;
  avr->io[control].w.c = control_write;
}

int main(int argc, char **argv) {
  if (argc != 7 && argc != 8) {
    fprintf(stderr, "usage: harness MCU HZ IMAGE BSS_END ENTRY closing|open [RAM_END]\n");
    return 2;
  }
  avr_global_logger_set(quiet);
  avr_t *avr = h.avr = avr_make_mcu_by_name(argv[1]);
  if (avr == NULL) {
    fprintf(stderr, "libsimavr has no processor %s\n", argv[1]);
    return 2;
  }
  if (argc == 8) avr->ramend = (uint16_t)strtoul(argv[7], NULL, 0);
  avr_init(avr);
  avr->frequency = (uint32_t)strtoul(argv[2], NULL, 0);
  avr->run_cycle_limit = 1; /* an instruction at a time */
  avr->log = LOG_NONE;
  load(argv[3]);
  h.bss_end = (uint32_t)strtoul(argv[4], NULL, 0);
  h.entry = (uint32_t)strtoul(argv[5], NULL, 0);
  h.until_closing = strcmp(argv[6], "closing") == 0;
  h.deepest = 0xFFFF;
  uint32_t flags = 0; /* simavr would print lines itself, and sleep where the firmware polls */
  avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
  h.input = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
  avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), sent, NULL);
  wrap_registers();
  for (;;) {
    const int steps = !h.until_closing && h.polls > IDLE_POLLS ? IDLE_STEPS : BUSY_STEPS;
    for (int i = 0; i < steps; i++) step();
    if (h.until_closing) {
      if (h.closing == 2) finish(h.failed);
    } else {
      flush_output();
      serve_input();
      if (h.input_ended && h.pending_at == h.pending_end && h.polls > IDLE_POLLS) finish(0);
    }
  }
}
