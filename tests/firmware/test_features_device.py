"""The same input gives the same bytes: Python, this machine with sanitizers, and firmware on every architecture."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import features_reference as reference
import numpy as np
import numpy.typing as npt
import pytest

from convert import boards, compilers, smoke, toolchain
from convert.emulate import Transcript
from convert.features import Description, Image, ImagePath, Normalise, Series, SeriesPath, Spectrum, host, render
from convert.vectors import fnv1a32

pytestmark = pytest.mark.skipif(
    all(shutil.which(name) is None for name in ("gcc", "cc", "clang")), reason="needs a C compiler"
)

SMALL = Spectrum(8000, 50, 30, 64, 0.9, "mel", 8, 100.0, 4000.0, True, 5)
SPEECH = Spectrum(16000, 480, 320, 512, 0.97, "mel", 40, 125.0, 7500.0, False, 10)
KINDS: dict[str, Description] = {
    "window": Series(6, 50_000, 20, 7, Normalise((-90, 31, 0, 2000, -5, 32767), (0.003, 0.2, 3.5, 0.011, 0.5, 0.004))),
    "mfcc": Series(1, 8_000_000, 4, 2, Normalise((300, *[0] * 4), (0.05, 0.2, 0.2, 0.3, 0.4)), SMALL),
    "image": Image(8, 6, True, True),
    "speech": Series(1, 16_000_000, 3, 3, Normalise((9000, *[0] * 9), (0.01, *[0.05] * 9)), SPEECH),
}
SAMPLES = {"window": 90, "mfcc": 700, "speech": 4000}  # in all
SIZE = (37, 23)  # of the image: width, height
TO_MODEL = np.random.default_rng(4).permutation(256).astype(np.uint8)


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYML_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def noise(count: int) -> npt.NDArray[np.int16]:
    """Random samples whose loudness goes through all powers of two."""
    values, state = np.empty(count, np.int16), 1
    for i in range(count):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        top = state >> 16
        values[i] = (top - 65536 if top > 32767 else top) >> (i // 64 % 12)
    return values


def from_python(name: str) -> bytes:
    """All model inputs, one after the other."""
    d = KINDS[name]
    if isinstance(d, Image):
        pixels = (noise(SIZE[0] * SIZE[1]) & 255).astype(np.uint8).reshape(1, SIZE[1], SIZE[0])
        return TO_MODEL[ImagePath(d).resize(pixels)].tobytes()
    samples = noise(SAMPLES[name] * d.channels).reshape(-1, d.channels)
    found = SeriesPath(d).windows(samples)
    assert len(found) >= 3 and len(np.unique(found)) > 20
    return TO_MODEL[found.view(np.uint8)].tobytes()


@pytest.mark.parametrize("split", [False, True], ids=["wide products", "split products"])
@pytest.mark.parametrize("name", sorted(KINDS))
def test_this_machine_with_sanitizers(name: str, split: bool, tmp_path: Path) -> None:
    """Also with the products that small cores use."""
    flags = ["-DFEATURES_MAIN", *host.SANITIZERS, *(["-DFEATURES_SPLIT_PRODUCTS"] if split else [])]
    d = KINDS[name]
    program = host.build(tmp_path, host.files(d, TO_MODEL), "main", *flags)
    if isinstance(d, Image):
        sent = np.array(SIZE, np.uint16).tobytes() + (noise(SIZE[0] * SIZE[1]) & 255).astype(np.uint8).tobytes()
    else:
        sent = noise(SAMPLES[name] * d.channels).tobytes()
    done = subprocess.run([str(program)], input=sent, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == from_python(name)


def test_products_are_equal_at_their_limits(tmp_path: Path) -> None:
    """|a|, |b| up to 2^30 and points of the unit circle: wide and split products, and exact arithmetic."""
    rng = np.random.default_rng(6)
    edge = 1 << 30
    a, b = (np.concatenate([rng.integers(-edge, edge + 1, 4000), [edge, -edge, 0, -1]]) for _ in range(2))
    angle = np.concatenate([rng.uniform(0, np.pi / 2, 4000), [0, np.pi / 2, np.pi / 4, 0.1]])
    c, s = np.rint(np.cos(angle) * 32768).astype(np.int64), np.rint(np.sin(angle) * 32768).astype(np.int64)
    exact = np.stack([(a * c + 16384) >> 15, (a * c + b * s + 16384) >> 15, (a * c - b * s + 16384) >> 15], axis=1)
    source = tmp_path / "products.c"
    source.write_text(PRODUCTS)
    for flags in ([], ["-DFEATURES_SPLIT_PRODUCTS"]):
        program = tmp_path / "products"
        include = ["-I", str(host.LIBRARY / "include")]
        command = [host.compiler(), "-std=c99", *host.SANITIZERS, *flags, *include, str(source), "-o", str(program)]
        subprocess.run(command, check=True)
        sent = np.stack([a, c, b, s], axis=1).astype(np.int32).tobytes()
        done = subprocess.run([str(program)], input=sent, capture_output=True, check=True)
        assert np.array_equal(np.frombuffer(done.stdout, np.int32).reshape(-1, 3), exact)


PRODUCTS = """
#include <stdio.h>
#include "features/multiply.h"
int main(void) {
  int32_t v[4];
  while (fread(v, sizeof v, 1, stdin) == 1) {
    const uint16_t c = (uint16_t)v[1], s = (uint16_t)v[3];
    const int32_t out[3] = {features_multiply(v[0], c), features_multiply_add(v[0], c, v[2], s),
                            features_multiply_sub(v[0], c, v[2], s)};
    fwrite(out, sizeof out, 1, stdout);
  }
  return 0;
}
"""

# Firmware: a runtime whose vectors are the kinds; it makes the samples, and answers how many model inputs came, FNV-1a
# over all of them, and the last one.

RUNTIME = """
#include <string.h>
#include "golden_vectors.h"
#include "inference.h"
HEADERS
static uint32_t input;
static uint8_t answer[8 + MOST];
static size_t answer_bytes = sizeof answer;
static uint32_t count, hash, state, made;

static int16_t noise(void) {
  state = state * 1664525u + 1013904223u;
  const int16_t value = (int16_t)(uint16_t)(state >> 16);
  return (int16_t)(value >> (made++ / 64u % 12u));
}

static void took(size_t bytes) {
  for (size_t i = 0; i < bytes; i++) hash = (hash ^ answer[8 + i]) * 0x01000193u;
  count++;
}

const char *inference_runtime(void) { return "fake"; }
int inference_init(void) { return 0; }
int inference_reset(void) { return 0; }
unsigned inference_input_count(void) { return 1; }
unsigned inference_output_count(void) { return 1; }
void *inference_input(unsigned index) { (void)index; return &input; }
size_t inference_input_bytes(unsigned index) { (void)index; return sizeof input; }
const void *inference_output(unsigned index) { (void)index; return answer; }
size_t inference_output_bytes(unsigned index) { (void)index; return answer_bytes; }
int inference_run(void) {
  count = 0;
  hash = 0x811C9DC5u;
  state = 1;
  made = 0;
  memset(answer, 0, sizeof answer);
  switch (input) {
CASES
  }
  for (int i = 0; i < 4; i++) {
    answer[i] = (uint8_t)(count >> (8 * i));
    answer[4 + i] = (uint8_t)(hash >> (8 * i));
  }
  return 0;
}
size_t inference_arena_bytes(void) { return 0; }
const char *inference_message(void) { return ""; }
"""

SERIES = """
    case INDEX: {
      int16_t sample[CHANNELS];
      PREFIX_reset();
      for (unsigned i = 0; i < SAMPLES; i++) {
        for (unsigned c = 0; c < CHANNELS; c++) sample[c] = noise();
        if (PREFIX_push(sample) == 0) continue;
        PREFIX_read((int8_t *)answer + 8);
        took(BYTES);
      }
      break;
    }
"""

IMAGE = """
    case INDEX: {
      if (PREFIX_begin(WIDTH, HEIGHT) != 0) return 1;
      int done = 0;
      while (done == 0) {
        const uint8_t pixel = (uint8_t)noise();
        done = PREFIX_push(&pixel, 1);
      }
      PREFIX_read((int8_t *)answer + 8);
      took(BYTES);
      break;
    }
"""

VECTORS = """
#include "golden_vectors.h"
#include <string.h>
const unsigned golden_vector_count = COUNT;
void golden_vector_read(unsigned vector, size_t offset, uint8_t *to, size_t bytes) {
  const uint32_t value = vector;
  memcpy(to, (const uint8_t *)&value + offset, bytes);
}
"""


def input_bytes(d: Description) -> int:
    return d.width * d.height if isinstance(d, Image) else d.length * d.width


def case(name: str, index: int) -> str:
    d = KINDS[name]
    known = {"INDEX": index, "PREFIX": f"my_{name}", "BYTES": input_bytes(d)}
    if isinstance(d, Image):
        text, known = IMAGE, known | {"WIDTH": SIZE[0], "HEIGHT": SIZE[1]}
    else:
        text, known = SERIES, known | {"CHANNELS": d.channels, "SAMPLES": SAMPLES[name]}
    for key, value in known.items():
        text = text.replace(key, str(value))
    return text


def generate(output: Path, board: str, environment: str, names: list[str]) -> None:
    """OUTPUT/generated with the library and each kind's C under a name of its own."""
    config = f'#define TINYML_BOARD "{board}"\n#define TINYML_MODEL "fake"\n#define TINYML_MODEL_SHA256 "{"0" * 16}"\n'
    files = {
        "build.json": json.dumps(
            {
                "schema": 1,
                "board": board,
                "model": "fake",
                "runtimes": {environment: "fake"},
                "optimize": "speed",
                "tflm_dir": None,
                "memory": {"fake": {"arena": 0, "weights": 0}},
                "vector_bytes": 0,
            }
        ),
        "common/model_config.h": config,
        "common/golden_vectors.c": VECTORS.replace("COUNT", str(len(names))),
    }
    for name in names:
        for file, text in render(KINDS[name], TO_MODEL).items():
            own = text.replace("PREPROCESSING", f"MY_{name.upper()}").replace("preprocessing", f"my_{name}")
            files[f"fake/{file.replace('preprocessing', f'my_{name}')}"] = own
    headers = "\n".join(f'#include "my_{name}.h"' for name in names)
    most = max(input_bytes(KINDS[name]) for name in names)
    cases = "".join(case(name, k) for k, name in enumerate(names))
    runtime = RUNTIME.replace("HEADERS", headers).replace("CASES", cases).replace("MOST", str(most))
    files["fake/runtime.c"] = runtime
    for path in host.LIBRARY.rglob("*.[ch]"):
        folder = "fake/features" if path.suffix == ".h" else "fake"
        files[f"{folder}/{path.name}"] = path.read_text()
    for place, text in files.items():
        path = output / "generated" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


EVERY = {
    entry.name: (board, entry)
    for board in map(boards.load, boards.names())
    for entry in board.environments
    if entry.platform == "bare" and entry.emulator
}
# One of each architecture by default.
FAST = ("qemu_m4", "esp32c3_twin", "uno_bare", "esp32_twin")


@pytest.mark.parametrize(
    "environment",
    [name if name in FAST else pytest.param(name, marks=pytest.mark.exhaustive) for name in sorted(EVERY)],
)
def test_firmware_gives_the_same_bytes(environment: str, tmp_path: Path) -> None:
    board, entry = EVERY[environment]
    if lacking := compilers.missing(board.tinyml.architecture):
        pytest.skip(lacking)
    names = sorted(KINDS) if board.upload.maximum_ram_size > 8192 else ["image", "mfcc", "window"]
    generate(tmp_path, board.id, environment, names)
    firmware = toolchain.build(environment, tmp_path)
    transcript: Transcript = smoke.emulate(firmware.elf, board, entry, 120)
    assert transcript.error is None and transcript.finished, transcript.text
    lines = [line.split()[2] for line in transcript.text.splitlines() if line.startswith("#vector ")]
    assert len(lines) == len(names)
    for name, line in zip(names, lines, strict=True):
        size, expected = input_bytes(KINDS[name]), from_python(name)
        raw = bytes.fromhex(line)
        count, hashed = (int.from_bytes(raw[k : k + 4], "little") for k in (0, 4))
        assert raw[8 : 8 + size] == expected[-size:], name
        assert (count, hashed) == (len(expected) // size, fnv1a32(expected)), name


def test_the_reference_s_own_windows() -> None:
    """What firmware is compared with is not only equal but right."""
    d = KINDS["window"]
    assert isinstance(d, Series)
    samples = noise(SAMPLES["window"] * 6).reshape(-1, 6)
    real = reference.windows(reference.normalise(samples, d.normalise), d.length, d.hop)
    away = np.abs(samples.astype(np.int32) - d.normalise.offset) <= 32767
    inside = reference.windows(away, d.length, d.hop)
    assert np.abs(SeriesPath(d).windows(samples) - real)[inside].max() < 0.51
