"""The device's end of the serial protocol, compiled for this machine, and lines that lose and change bytes."""

import os
import random
import select
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from convert.compiled import host
from convert.paths import FIRMWARE

SERIAL = FIRMWARE / "lib" / "serial"
INPUT_BYTES, OUTPUT_BYTES, FIGURES = 300 + 7, 20 + 9, 3

# Two inputs and two outputs that share memory, and a state: each answer depends on how often the model has run.
MODEL = """
#include "inference.h"
#include <stdint.h>
#include <string.h>
static uint8_t arena[320] __attribute__((aligned(4)));
static uint32_t runs;
static const size_t input_sizes[2] = {300, 7}, output_sizes[2] = {20, 9};
const char *inference_runtime(void) { return "fake"; }
int inference_reset(void) { runs = 0; memset(arena, 0x55, sizeof arena); return 0; }
int inference_init(void) { (void)inference_reset(); return INIT; }
unsigned inference_input_count(void) { return 2; }
unsigned inference_output_count(void) { return 2; }
void *inference_input(unsigned i) { return i == 0 ? arena : arena + 304; }
size_t inference_input_bytes(unsigned i) { return input_sizes[i]; }
const void *inference_output(unsigned i) { return i == 0 ? arena + 100 : arena + 298; }
size_t inference_output_bytes(unsigned i) { return output_sizes[i]; }
int inference_run(void) {
  uint32_t h = 2166136261u;
  for (unsigned i = 0; i < 2; i++) {
    const uint8_t *in = inference_input(i);
    for (size_t k = 0; k < input_sizes[i]; k++) h = (h ^ in[k]) * 16777619u;
  }
  h ^= runs++;
  for (unsigned i = 0; i < 2; i++) {
    uint8_t *out = (uint8_t *)(uintptr_t)inference_output(i);
    for (size_t k = 0; k < output_sizes[i]; k++) {
      h = (h ^ (h >> 15)) * 2654435761u;
      out[k] = (h >> 28) == 0 ? 0 : (uint8_t)(h >> 24);
    }
  }
  return in_vain;
}
size_t inference_arena_bytes(void) { return sizeof arena; }
const char *inference_message(void) { return "the fake refuses"; }
"""

PORT = """
#include "port.h"
#include <stdlib.h>
#include <unistd.h>
int port_read(void) {
  static unsigned char bytes[4096];
  static ssize_t have, at;
  if (at == have) {
    have = read(0, bytes, sizeof bytes);
    at = 0;
    if (have <= 0) exit(0);
  }
  return bytes[at++];
}
void port_write(const char *text, size_t count) {
  while (count > 0) {
    const ssize_t written = write(1, text, count);
    if (written <= 0) exit(1);
    text += written;
    count -= (size_t)written;
  }
}
int port_clock(uint64_t *microseconds) { static uint64_t now; *microseconds = now += 7; return 0; }
void port_count_start(void) {}
int port_count_stop(uint64_t *instructions) { *instructions = 0; return COUNT; }
int main(void) { return app_run(); }
"""

TRACING = """
#include "port.h"
#include "serial/server.h"
static const uint32_t figures[3] = {1, 0, 0x01020304};
static void enable(int on) { (void)on; }
static void begin(void) {}
int app_run(void) {
  static const server_trace_t trace = {enable, begin, figures, sizeof figures};
  server_run(&trace);
  return 0;
}
"""

CONFIG = """
#define TINYML_BOARD "host"
#define TINYML_MODEL "fake model"
#define TINYML_MODEL_SHA256 "0123456789abcdef"
"""


def answer(inputs: bytes, runs: int) -> bytes:
    """What MODEL answers to inputs after so many runs since the reset."""
    h = 2166136261
    for byte in inputs:
        h = (h ^ byte) * 16777619 & 0xFFFFFFFF
    h ^= runs
    out = bytearray()
    for _ in range(OUTPUT_BYTES):
        h = (h ^ h >> 15) * 2654435761 & 0xFFFFFFFF
        out.append(0 if h >> 28 == 0 else h >> 24)
    return bytes(out)


def build(folder: Path, *, init: int = 0, run: int = 0, tracing: bool = False, sanitize: bool = True) -> Path:
    """The application `serve` with the fake model, or one that traces, as a program on standard input and output."""
    folder.mkdir(parents=True, exist_ok=True)
    model = MODEL.replace("INIT", str(init)).replace("in_vain", str(run))
    files = {"model.c": model, "port.c": PORT.replace("COUNT", "1"), "model_config.h": CONFIG, "tracing.c": TRACING}
    for name, text in files.items():
        (folder / name).write_text(text)
    application = folder / "tracing.c" if tracing else FIRMWARE / "src" / "serve" / "app.c"
    sources = [*sorted((SERIAL / "src").glob("*.c")), application, folder / "model.c", folder / "port.c"]
    includes = [folder, SERIAL / "include", FIRMWARE / "include"]
    flags = ["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-O1", *host.WARNINGS, *(host.SANITIZERS if sanitize else ())]
    program = folder / "device"
    host.call(
        [host.compiler(), *flags, *(f"-I{path}" for path in includes), *map(str, sources), "-o", str(program)],
        "compiling the device",
    )
    return program


class Process:
    """A link to a program's standard input and output."""

    def __init__(self, program: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [str(program), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self.process.stdin.close()
        status = self.process.wait(10)
        errors = self.process.stderr.read().decode()
        self.process.stdout.close()
        self.process.stderr.close()
        if kind is None:
            assert status == 0, errors

    def write(self, data: bytes) -> None:
        assert self.process.stdin
        while data:
            data = data[self.process.stdin.write(data) :]

    def read(self, seconds: float) -> bytes:
        assert self.process.stdout
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        return os.read(self.process.stdout.fileno(), 65536) if ready else b""


class Noisy:
    """A link that drops, changes, doubles and inserts bytes, each with a probability, in both directions."""

    def __init__(self, link: Process, seed: int, rates: Sequence[float]) -> None:
        self.link, self.random, self.rates = link, random.Random(seed), rates
        self.faults = 0

    def __enter__(self) -> "Noisy":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def _through(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            fault = self.random.choices(range(5), [1 - sum(self.rates), *self.rates])[0]
            self.faults += fault != 0
            changed = byte ^ (1 << self.random.randrange(8))
            out.extend([[byte], [], [changed], [byte, byte], [self.random.randrange(256), byte]][fault])
        return bytes(out)

    def write(self, data: bytes) -> None:
        self.link.write(self._through(data))

    def read(self, seconds: float) -> bytes:
        return self._through(self.link.read(seconds))


def crc(data: bytes) -> int:
    return zlib.crc32(data)
