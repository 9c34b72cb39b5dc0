"""A hand-made generated folder: a runtime of a few lines behind inference.h, so that firmware and emulators can be
tested without a model."""

import json
import shutil
from pathlib import Path

import pytest

INPUT_BYTES = 12
OUTPUT_BYTES = 5

_RUNTIME = """
HEAD
#include "inference.h"
#include <stdint.h>
#include <string.h>
static uint8_t arena[ARENA] __attribute__((aligned(16)));
static const uint8_t weights[64] __attribute__((section(".rodata.weights"))) = {3, 5, 7, 11, 13, 17, 19, 23};
static float scale[2] = {1.5f, 2.5f};
static volatile unsigned sink;
static volatile unsigned loops = LOOPS;
const char *inference_runtime(void) { return "fake"; }
int inference_init(void) { return INIT_STATUS; }
unsigned inference_input_count(void) { return 2; }
unsigned inference_output_count(void) { return 1; }
void *inference_input(unsigned index) { return arena + 8 * index; }
size_t inference_input_bytes(unsigned index) { return index == 0 ? 8 : 4; }
const void *inference_output(unsigned index) { return arena + 16 * (index + 1); }
size_t inference_output_bytes(unsigned index) { return 5 + index; }
int inference_run(void) {
  BODY
  const uint8_t *w = weights;
  __asm volatile("" : "+r"(w));
  for (unsigned o = 0; o < 5; o++) {
    float sum = 0;
    for (unsigned i = 0; i < 12; i++) sum += scale[i & 1] * (float)(arena[i] * w[(o + i) & 7]);
    arena[16 + o] = (uint8_t)(unsigned)sum;
  }
  for (unsigned i = 0, n = loops; i < n; i++) sink = i;
  return 0;
}
size_t inference_arena_bytes(void) { return sizeof arena; }
const char *inference_message(void) { return "the fake refuses"; }
"""

# The same without floating point: twice the sums, which are whole numbers.
_INTEGERS = (
    ("static float scale[2] = {1.5f, 2.5f};", "static int scale[2] = {3, 5};"),
    ("float sum = 0;", "int sum = 0;"),
    ("scale[i & 1] * (float)(arena[i] * w[(o + i) & 7])", "scale[i & 1] * arena[i] * w[(o + i) & 7]"),
    ("(uint8_t)(unsigned)sum;", "(uint8_t)(sum >> 1);"),
)
# Boards whose bare compiler has no floating point.
_INTEGER_BOARDS = ("esp32", "esp32s3")

_VECTORS = """
#include "golden_vectors.h"
#include <string.h>
static const uint8_t vectors[3][12] __attribute__((section(".rodata.vectors"))) = {VALUES};
const unsigned golden_vector_count = 3;
void golden_vector_read(unsigned vector, size_t offset, uint8_t *to, size_t bytes) {
  memcpy(to, vectors[vector] + offset, bytes);
}
"""


def vectors() -> list[list[int]]:
    return [[(i * 37 + 11 * k) % 256 for i in range(INPUT_BYTES)] for k in range(1, 4)]


def outputs() -> list[str]:
    """What the fake answers to `vectors()`: hex of the output bytes."""
    weights = [3, 5, 7, 11, 13, 17, 19, 23]
    scale = [1.5, 2.5]
    return [
        bytes(
            int(sum(scale[i & 1] * (v[i] * weights[(o + i) & 7]) for i in range(INPUT_BYTES))) & 255
            for o in range(OUTPUT_BYTES)
        ).hex()
        for v in vectors()
    ]


def generate(
    output: Path,
    board: str,
    environment: str,
    *,
    body: str = "",
    head: str = "",
    extra: str = "",
    init: int = 0,
    arena: int = 256,
    loops: int = 0,
) -> Path:
    """Write OUTPUT/generated for one environment.

    `head` is put before the runtime, `body` into inference_run(), `extra` into a file beside it.
    """
    runtime = (
        _RUNTIME.replace("HEAD", head)
        .replace("BODY", body)
        .replace("ARENA", str(arena))
        .replace("INIT_STATUS", str(init))
    )
    if board in _INTEGER_BOARDS:
        for old, new in _INTEGERS:
            assert old in runtime
            runtime = runtime.replace(old, new)
    rows = ", ".join("{" + ", ".join(map(str, row)) + "}" for row in vectors())
    build = {
        "schema": 1,
        "board": board,
        "model": "fake",
        "runtimes": {environment: "fake"},
        "optimize": "speed",
        "tflm_dir": None,
        "memory": {"fake": {"arena": arena, "weights": 64}},
        "vector_bytes": 36,
    }
    config = f'#define TINYML_BOARD "{board}"\n#define TINYML_MODEL "fake"\n#define TINYML_MODEL_SHA256 "{"0" * 16}"\n'
    files = {
        "build.json": json.dumps(build),
        "common/model_config.h": config,
        "common/golden_vectors.c": _VECTORS.replace("VALUES", rows),
        "fake/runtime.c": runtime.replace("LOOPS", str(loops)),
    }
    if extra:
        files["fake/extra.c"] = extra
    else:
        (output / "generated" / "fake" / "extra.c").unlink(missing_ok=True)
    for name, text in files.items():
        path = output / "generated" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return output


def need(*tools: str) -> None:
    """Skip the test where a system tool is missing."""
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not on the PATH")
