"""The Arduino Uno: the port on the real Arduino core, simavr with its counts, faults and serial line."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from convert import boards, compilers, toolchain
from convert.emulate import Transcript, simavr
from convert.errors import DoesNotFitError, ToolError

ENVIRONMENT = "uno_bare"
ARENA, WEIGHTS, VECTORS = 64, 40, 24

# What inference_run() does first is a byte of the image, so that one build serves all tests.
CASES = (
    "nothing",
    "loop",
    "two_loops",
    "deep",
    "deeper",
    "overflow",
    "restart",
    "unknown",
    "erased",
    "sleep",
    "hang",
    "echo",
)

_RUNTIME = """
#include <avr/sleep.h>
#include <avr/interrupt.h>
#include "inference.h"
#include "kernels/flash.h"
#include "port.h"
const KERNELS_FLASH uint8_t chosen[4] = {0xC5, 0x0D, 0xE5, 0};
static uint8_t chosen_case(void) {
  const KERNELS_FLASH uint8_t *at = chosen;
  __asm volatile("" : "+r"(at));
  return at[3];
}
/* 1 + 100 * 3 - 1 cycles, 1 + 100 * 2 instructions */
#define LOOP __asm volatile("ldi r24, 100\\n1: dec r24\\nbrne 1b" ::: "r24")
#define USE(name, bytes) \\
  __attribute__((noinline)) static void name(void) { \\
    volatile uint8_t local[bytes]; \\
    for (uint16_t i = 0; i < bytes; i++) local[i] = 1; \\
    (void)local[0]; \\
  }
USE(use_500, 500)
USE(use_900, 900)
USE(use_2100, 2100)
__attribute__((noinline)) static void echo(void) {
  for (int c = 0; c != 'q';) {
    if ((c = port_read()) < 0) continue;
    const char byte = (char)c;
    port_write(&byte, 1);
  }
}
__attribute__((noinline)) static void act(void) {
  switch (chosen_case()) {
    case 1: LOOP; break;
    case 2: LOOP; LOOP; break;
    case 3: use_500(); break;
    case 4: use_900(); break;
    case 5: use_2100(); break;
    case 6: __asm volatile("jmp 0"); break;
    case 7: __asm volatile(".word 0x00FF"); break;
    case 8: ((void (*)(void))0x3800)(); break;
    case 9: cli(); sleep_enable(); sleep_cpu(); break;
    case 10: for (;;) __asm volatile("");
    case 11: echo(); break;
  }
}
static uint8_t arena[ARENA];
static const KERNELS_FLASH uint8_t weights[40] = {3, 5, 7, 11, 13, 17, 19, 23};
const char *inference_runtime(void) { return "fake"; }
int inference_init(void) { return chosen_case() == 255; }
unsigned inference_input_count(void) { return 1; }
unsigned inference_output_count(void) { return 1; }
void *inference_input(unsigned index) { return arena + index; }
size_t inference_input_bytes(unsigned index) { return 12 + index; }
const void *inference_output(unsigned index) { return arena + 16 + index; }
size_t inference_output_bytes(unsigned index) { return 5 + index; }
int inference_run(void) {
  act();
  for (uint8_t o = 0; o < 5; o++) {
    uint8_t sum = 0;
    for (uint8_t i = 0; i < 12; i++) sum += arena[i] * weights[(o + i) & 7];
    arena[16 + o] = sum;
  }
  return 0;
}
size_t inference_arena_bytes(void) { return sizeof arena; }
const char *inference_message(void) { return "the fake refuses"; }
"""

_VECTORS = """
#include "golden_vectors.h"
#include "kernels/flash.h"
static const KERNELS_FLASH uint8_t vectors[2][12] = {VALUES};
const unsigned golden_vector_count = 2;
void golden_vector_read(unsigned vector, size_t offset, uint8_t *to, size_t bytes) {
  kernels_from_flash(to, &vectors[vector][offset], bytes);
}
"""

INPUTS = [[(i * 37 + 11 * k) % 256 for i in range(12)] for k in (1, 2)]
ANSWERS = [
    bytes(sum(v[i] * [3, 5, 7, 11, 13, 17, 19, 23][(o + i) & 7] for i in range(12)) & 255 for o in range(5)).hex()
    for v in INPUTS
]


@pytest.fixture(scope="session")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("TINYML_OUTPUT", "PLATFORMIO_BUILD_DIR", "PLATFORMIO_BOARDS_DIR", "PLATFORMIO_BUILD_FLAGS"):
        os.environ.pop(name, None)
    return tmp_path_factory.mktemp("uno")


def make(output: Path, arena: int = ARENA, table: int = 40) -> toolchain.Firmware:
    """Build the firmware with the runtime above; `table` is the size of its constants in bytes."""
    if lacking := compilers.missing("avr"):
        pytest.skip(lacking)
    if not Path("/usr/share/arduino/hardware/arduino/avr/cores/arduino/Arduino.h").is_file():
        pytest.skip("the Arduino core for AVR is not installed (arduino-core-avr)")
    runtime = _RUNTIME.replace("ARENA", str(arena)).replace("weights[40]", f"weights[{table}]")
    build = {
        "schema": 1,
        "board": "uno",
        "model": "fake",
        "runtimes": {ENVIRONMENT: "fake"},
        "optimize": "speed",
        "tflm_dir": None,
        "memory": {"fake": {"arena": arena, "weights": WEIGHTS}},
        "vector_bytes": VECTORS,
    }
    rows = ", ".join("{" + ", ".join(map(str, row)) + "}" for row in INPUTS)
    config = f'#define TINYML_BOARD "uno"\n#define TINYML_MODEL "fake"\n#define TINYML_MODEL_SHA256 "{"0" * 16}"\n'
    files = {
        "build.json": json.dumps(build),
        "common/model_config.h": config,
        "common/golden_vectors.c": _VECTORS.replace("VALUES", rows),
        "fake/runtime.c": runtime,
    }
    for name, text in files.items():
        path = output / "generated" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return toolchain.build(ENVIRONMENT, output)


@pytest.fixture(scope="session")
def plain(output: Path) -> toolchain.Firmware:
    """The firmware as it is."""
    return make(output)


@pytest.fixture(scope="session")
def elf(plain: toolchain.Firmware, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A copy of the firmware that does one of CASES, or fails in inference_init()."""
    folder = tmp_path_factory.mktemp("elf")
    image = plain.elf.read_bytes()

    def patched(name: str) -> Path:
        at = image.index(bytes((0xC5, 0x0D, 0xE5, 0))) + 3
        number = 255 if name == "fails" else CASES.index(name)
        path = folder / f"{name}.elf"
        path.write_bytes(image[:at] + bytes((number,)) + image[at + 1 :])
        return path

    return patched


def uno() -> tuple[boards.Board, boards.Environment]:
    board = boards.load("uno")
    assert board.tinyml.bare is not None
    return board, board.tinyml.bare


def emulate(image: Path, timeout: float = 20) -> Transcript:
    try:
        simavr.harness()
    except ToolError as e:
        pytest.skip(str(e))
    return simavr.run(image, *uno(), timeout)


@pytest.fixture(scope="session")
def ran(plain: toolchain.Firmware) -> Transcript:
    return emulate(plain.elf)


def stack(transcript: Transcript) -> int:
    (found,) = re.findall(r"^#stack (\d+)$", transcript.text, re.MULTILINE)
    return int(found)


def test_the_protocol(ran: Transcript) -> None:
    lines = ran.text.splitlines()
    assert lines[0] == f"#tinyml 1 board=uno runtime=fake model={'0' * 16} vectors=2"
    assert lines[1:3] == [f"#vector {k} {answer}" for k, answer in enumerate(ANSWERS)]
    assert lines[3] == f"#arena {ARENA}"
    assert lines[-1] == "#done 2"
    assert ran.finished and ran.error is None


def test_overheads_in_the_board_are_the_measured_ones(plain: toolchain.Firmware) -> None:
    overhead = uno()[1].overhead
    with plain.elf.open("rb") as f:
        sizes = {s.name: s["st_size"] for s in ELFFile(f).get_section_by_name(".symtab").iter_symbols()}
    own = ("act", "echo", "use_500", "use_900", "use_2100", "chosen", "golden_vector_read", "golden_vector_count")
    runtime = sum(size for name, size in sizes.items() if name in own or name.startswith("inference_"))
    assert plain.flash - WEIGHTS - VECTORS - runtime == pytest.approx(overhead.flash, rel=0.05)
    assert abs(plain.static_ram - ARENA - overhead.ram) <= 8


def test_constants_stay_in_flash(plain: toolchain.Firmware) -> None:
    with plain.elf.open("rb") as f:
        places = {s.name: s["st_value"] for s in ELFFile(f).get_section_by_name(".symtab").iter_symbols()}
    assert places["weights"] < 0x800000 and places["vectors"] < 0x800000
    assert places["arena"] > 0x800000


Elf = Callable[[str], Path]


def test_cycles_and_instructions_are_exact(elf: Elf, ran: Transcript) -> None:
    once, twice = (emulate(elf(name)) for name in ("loop", "two_loops"))
    assert once.cycles is not None and twice.cycles is not None
    assert once.instructions is not None and twice.instructions is not None
    assert ran.cycles is not None and ran.instructions is not None
    # The other loop, less a jump that ends the first case alone.
    assert 298 <= twice.cycles - once.cycles <= 302 and 200 <= twice.instructions - once.instructions <= 202
    assert ran.instructions < ran.cycles < 3 * ran.instructions


def test_a_deep_stack_is_measured(elf: Elf) -> None:
    deep, deeper = (stack(emulate(elf(name))) for name in ("deep", "deeper"))
    assert (deep > 500, deeper - deep) == (True, 400)


def test_a_runtime_that_fails_is_reported(elf: Elf) -> None:
    transcript = emulate(elf("fails"))
    assert transcript.finished and transcript.error == "inference_init: the fake refuses"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("overflow", r"stack overflow: it reaches the static data at pc=0x\w+"),
        ("restart", r"the program jumped to address 0 from pc=0x\w+"),
        ("unknown", r"no such instruction: 0x00ff at pc=0x\w+"),
        ("erased", r"the program ran into erased flash at pc=0x7000"),
        ("sleep", r"the processor sleeps with interrupts off, for ever, at pc=0x\w+"),
    ],
)
def test_what_a_board_would_not_tell_is_an_error(elf: Elf, name: str, message: str) -> None:
    transcript = emulate(elf(name))
    assert transcript.finished and transcript.error is not None
    assert re.match(message, transcript.error)


def test_a_firmware_that_hangs_ends_with_the_time(elf: Elf) -> None:
    transcript = emulate(elf("hang"), timeout=1)
    assert not transcript.finished
    assert transcript.text.startswith("#tinyml 1 ")
    assert 0.9 < transcript.seconds < 5


def test_the_serial_line_carries_all_bytes_both_ways(elf: Elf) -> None:
    """Many more at once than the chip's receiver holds: the line waits and loses nothing."""
    sent = bytes(b for b in range(256) if b != ord("q")) * 8
    came = b""
    with simavr.connect(elf("echo"), *uno()) as link:
        link.write(sent)
        while more := link.read(2):
            came += more
    head, _, echoed = came.partition(b"\n")
    assert head.startswith(b"#tinyml 1 board=uno")
    assert echoed == sent


def test_too_much_ram_is_refused(output: Path) -> None:
    with pytest.raises(DoesNotFitError, match="RAM of Arduino Uno is exceeded by"):
        make(output, arena=1900)


def test_too_much_flash_is_refused(tmp_path: Path) -> None:
    """By our message, which says what takes it; the linker's own limit would come first and say less."""
    with pytest.raises(DoesNotFitError, match="flash of Arduino Uno is exceeded by"):
        make(tmp_path, table=32000)


def test_no_compiler_for_the_harness(plain: toolchain.Firmware, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match=r"no C compiler.*apt-get install gcc libsimavr-dev"):
        simavr.run(plain.elf, *uno(), 5)


def test_no_libsimavr(plain: toolchain.Firmware, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A compiler that says what gcc says where the header is missing."""
    text = "simavr_harness.c:1:10: fatal error: simavr/avr_uart.h: No such file or directory"
    (tmp_path / "gcc").write_text(f"#!/bin/sh\necho '{text}' >&2\nexit 1\n")
    (tmp_path / "gcc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("TINYML_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ToolError, match=r"avr_uart\.h: No such file.*apt-get install gcc libsimavr-dev libelf-dev"):
        simavr.run(plain.elf, *uno(), 5)
