"""The application, the ports and the emulators, with a runtime of a few lines."""

import importlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import BOARDS, Build
from elftools.elf.elffile import ELFFile
from fake import generate, need, outputs

from convert import boards, toolchain
from convert.boards import Board, Environment
from convert.emulate import Link, Transcript, qemu_mps2
from convert.errors import ToolError

# The others are told apart by a few constants; they run with `make test-all`.
SHORT = ("nano33_bare", "qemu_m4")
EMULATED = [pytest.param(name, marks=[] if name in SHORT else pytest.mark.exhaustive) for name in sorted(BOARDS)]
QEMU_TOOLS = {"qemu_virt": "qemu-system-riscv32", "qemu_xtensa": "qemu-system-xtensa"}
# QEMU's boards that count with a timer: instructions a tick, by board or by emulator.
TICKS = {"mps2-an385": 40, "mps2-an386": 40, "mps2-an500": 40, "mps2-an505": 50, "mps3-an547": 32, "qemu_xtensa": 25}
# Whose emulated serial port receives nothing.
DEAF = ("esp32_bare",)


def entry_of(environment: str) -> tuple[Board, Environment]:
    board = boards.load(BOARDS[environment])
    return board, next(e for e in board.environments if e.name == environment)


def emulator(environment: str) -> Any:
    """The module that runs an environment's images; skips the test where its tool is missing."""
    _, entry = entry_of(environment)
    assert entry.emulator is not None
    if entry.emulator.startswith("qemu"):
        need(QEMU_TOOLS.get(entry.emulator, "qemu-system-arm"))
    elif entry.emulator.startswith("labwired"):
        pytest.importorskip("labwired")
    return importlib.import_module(f"convert.emulate.{entry.emulator}")


def run(build: Build, environment: str, timeout: float = 60, **options: object) -> Transcript:
    module = emulator(environment)
    transcript: Transcript = module.run(build(environment, **options).elf, *entry_of(environment), timeout)
    return transcript


@contextmanager
def linked(build: Build, environment: str, **options: object) -> Iterator[Link]:
    with emulator(environment).connect(build(environment, **options).elf, *entry_of(environment)) as link:
        yield link


def vectors(transcript: Transcript) -> list[str]:
    return re.findall(r"^#vector \d+ (.*)$", transcript.text, re.MULTILINE)


@pytest.mark.parametrize("environment", EMULATED)
def test_the_protocol(build: Build, environment: str) -> None:
    transcript = run(build, environment)
    lines = transcript.text.splitlines()
    board = BOARDS[environment]
    assert lines[0] == f"#tinyml 1 board={board} runtime=fake model={'0' * 16} vectors=3"
    assert lines[1:4] == [f"#vector {k} {answer}" for k, answer in enumerate(outputs())]
    assert lines[4] == "#arena 256"
    assert lines[-1] == "#done 3"
    assert transcript.finished and transcript.error is None
    (stack,) = re.findall(r"^#stack (\d+)$", transcript.text, re.MULTILINE)
    assert 100 < int(stack) < boards.load(board).tinyml.stack_reserve


def test_qemu_and_unicorn_agree(build: Build) -> None:
    qemu, nano = run(build, "qemu_m4"), run(build, "nano33_bare")
    assert vectors(qemu) == vectors(nano) == outputs()


# Skips instructions in IT blocks; calls, before the FPU is used, code that a constructor has run before.
MIXED = """
void ran_before(void);
for (unsigned i = 0; i < 300; i++) {
  memcpy(arena + 64, arena, 24 + i % 5);
  sink += arena[i & 31] > 99 ? i : 0;
  ran_before();
}
"""
RAN_BEFORE = """
void ran_before(void);
static volatile unsigned calls;
__attribute__((noinline)) void ran_before(void) { calls++; }
__attribute__((constructor)) static void early(void) { ran_before(); }
"""


@pytest.mark.parametrize(
    "options", [{}, {"loops": 50000}, {"body": MIXED, "extra": RAN_BEFORE}], ids=["short", "loop", "mixed"]
)
def test_instructions_are_counted_alike(build: Build, options: dict[str, object]) -> None:
    qemu, nano = run(build, "qemu_m4", **options), run(build, "nano33_bare", **options)
    assert nano.instructions is not None and qemu.instructions is not None
    # QEMU's timer ticks every 40 instructions and spans the call too; Unicorn's count is exact.
    assert abs(qemu.instructions - nano.instructions) <= 80


def test_an_exact_count(build: Build) -> None:
    """Of two firmwares that differ by 50,000 rounds of a loop of 4 instructions, less what enters it."""
    none, many = (run(build, "nano33_bare", loops=n).instructions for n in (0, 50000))
    assert none is not None and many is not None
    assert 0 <= many - none - 50000 * 4 <= 4


# A loop of two instructions a round, whatever the compiler's options.
ROUNDS = """
uint32_t rounds = %d;
#if defined(__riscv)
  __asm volatile("1: addi %%0, %%0, -1\\n bnez %%0, 1b" : "+r"(rounds));
#elif defined(__xtensa__)
  __asm volatile("1: addi %%0, %%0, -1\\n bnez %%0, 1b" : "+r"(rounds));
#else
  __asm volatile(".syntax unified\\n 1: subs %%0, %%0, #1\\n bne 1b" : "+l"(rounds) : : "cc");
#endif
"""


@pytest.mark.parametrize("environment", EMULATED)
def test_a_loop_of_known_length_is_counted(build: Build, environment: str) -> None:
    few, many = (run(build, environment, body=ROUNDS % n).instructions for n in (100_001, 150_001))
    if few is None or many is None:
        pytest.skip("nothing counts instructions there")
    board, entry = entry_of(environment)
    # A difference of two figures, each rounded down to a tick.
    tick = TICKS.get(board.build.mcu) or TICKS.get(entry.emulator or "", 0)
    assert abs(many - few - 100_000) <= tick


CLOCK = (
    """
  uint64_t from, to;
  if (port_clock(&from) != 0) return 1;
"""
    + ROUNDS
    + """
  if (port_clock(&to) != 0) return 1;
  for (unsigned i = 0; i < 5; i++) arena[16 + i] = (uint8_t)((to - from) >> (8 * i));
  return 0;
"""
)
PORT = """
#include "port.h"
"""


@pytest.mark.parametrize("environment", EMULATED)
def test_the_clock(build: Build, environment: str) -> None:
    """Emulated time: in QEMU 1 ns an instruction, or a cycle of its 16 MHz on the STM32F4; Unicorn's stands still, and
    LabWired's is no time, see there."""
    _, entry = entry_of(environment)
    transcript = run(build, environment, body=CLOCK % 1_000_000, head=PORT)
    (first, *_), instructions = vectors(transcript), 2_000_000
    microseconds = int.from_bytes(bytes.fromhex(first), "little")
    assert entry.emulator is not None
    if entry.emulator.startswith("qemu"):
        per_microsecond = 16 if entry.emulator == "qemu_netduinoplus2" else 1000
        assert abs(microseconds - instructions / per_microsecond) <= 2
    elif entry.emulator.startswith("labwired"):
        assert microseconds > 0
    else:
        assert microseconds == 0


ECHO = """
  port_write("ready\\n", 6);
  for (;;) {
    int byte = port_read();
    char back = (char)byte;
    if (byte >= 0) port_write(&back, 1);
  }
"""


def received(link: Link, count: int, seconds: float = 30) -> bytes:
    """At least `count` bytes from the firmware, or what came within the time."""
    data, deadline = b"", time.monotonic() + seconds
    while len(data) < count and time.monotonic() < deadline:
        data += link.read(0.2)
    return data


def echoes(link: Link) -> None:
    """Whether bytes come back: all values, one by one and many at once, in their order."""
    start = b""
    while b"ready\n" not in start:
        more = received(link, 1)
        assert more, start
        start += more
    for sent in (b"\0", b"\xff\r\n\x03", bytes(range(256)), bytes(range(255, -1, -1)) * 8):
        link.write(sent)
        assert received(link, len(sent)) == sent
    assert link.read(0.05) == b""


@pytest.mark.parametrize("environment", EMULATED)
def test_bytes_come_back(build: Build, environment: str) -> None:
    if environment in DEAF:
        with pytest.raises(ToolError, match=r"passes no bytes to the serial port of .*; take --environment "):
            emulator(environment).connect(build(environment).elf, *entry_of(environment))
        return
    with linked(build, environment, body=ECHO, head=PORT) as link:
        echoes(link)


@pytest.mark.parametrize("environment", ["blackpill_bare", pytest.param("pico_bare", marks=pytest.mark.exhaustive)])
def test_bytes_come_back_where_inferences_are_counted(build: Build, environment: str) -> None:
    """The other emulator of a board whose own counts nothing."""
    counting = importlib.import_module(f"convert.emulate.{emulator(environment).COUNTED_BY}")
    with counting.connect(build(environment, body=ECHO, head=PORT).elf, *entry_of(environment)) as link:
        echoes(link)


@pytest.mark.parametrize("environment", EMULATED)
def test_a_runtime_that_fails_is_reported(build: Build, environment: str) -> None:
    transcript = run(build, environment, init=1)
    assert transcript.finished
    assert transcript.error == "inference_init: the fake refuses"
    assert vectors(transcript) == []


FAULT = "*(volatile uint32_t *)0xF0000000u = 1;"


@pytest.mark.parametrize("environment", EMULATED)
def test_a_fault_is_reported(build: Build, environment: str) -> None:
    """By the firmware's own handler, or by the emulator where it does not call that."""
    transcript = run(build, environment, body=FAULT)
    assert transcript.finished
    assert transcript.error is not None
    board, entry = entry_of(environment)
    assert entry.emulator is not None
    if board.tinyml.architecture.startswith("armv") and entry.emulator.startswith("qemu"):
        assert re.match(r"hard fault at pc=0x\w{8} lr=0x\w{8} cfsr=0x\w{8} bfar=0xf0000000$", transcript.error)
    else:
        assert "fault" in transcript.error


def test_a_fault_in_unicorn_names_the_function(build: Build) -> None:
    transcript = run(build, "nano33_bare", body=FAULT)
    assert transcript.finished
    assert transcript.error is not None
    assert re.match(r"fault in the emulator: .*WRITE_UNMAPPED.* at pc=0x10\w{3} \(inference_run\+0x", transcript.error)


def test_an_unknown_instruction_is_reported(build: Build) -> None:
    transcript = run(build, "nano33_bare", body='__asm volatile("udf #0");')
    assert transcript.finished and transcript.error is not None
    assert re.match(r"fault in the emulator: .* at pc=0x10\w{3} \(inference_run\+0x", transcript.error)


@pytest.mark.parametrize("environment", EMULATED)
def test_a_firmware_that_hangs_ends_with_the_time(build: Build, environment: str) -> None:
    seconds = 6 if (entry_of(environment)[1].emulator or "").startswith("labwired") else 1  # slow to start
    transcript = run(build, environment, timeout=seconds, body="for (;;) { sink = 1; }")
    assert not transcript.finished
    assert transcript.text.startswith("#tinyml 1 ")
    assert 0.9 * seconds < transcript.seconds < seconds + 4


@pytest.mark.parametrize("environment", EMULATED)
def test_a_deep_stack_is_measured(build: Build, environment: str) -> None:
    body = "volatile uint8_t deep[3000]; for (unsigned i = 0; i < sizeof deep; i++) deep[i] = 1;"
    usual, deep = (
        int(re.findall(r"^#stack (\d+)$", run(build, environment, body=b).text, re.MULTILINE)[0]) for b in ("", body)
    )
    assert 2800 < deep - usual < 3100


@pytest.mark.parametrize("environment", ["qemu_m4", pytest.param("blackpill_bare", marks=pytest.mark.exhaustive)])
def test_a_missing_emulator_names_the_package(build: Build, environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    firmware, module = build(environment), emulator(environment)
    monkeypatch.setenv("PATH", "")
    for start in (lambda *where: module.run(*where, 1), module.connect):
        with pytest.raises(ToolError, match=r"qemu-system-arm is not on the PATH.*apt-get install"):
            start(firmware.elf, *entry_of(environment))


def test_an_image_that_qemu_cannot_load(tmp_path_factory: pytest.TempPathFactory) -> None:
    need("qemu-system-arm")
    with pytest.raises(ToolError, match=r"did not run missing\.elf"):
        qemu_mps2.run(tmp_path_factory.mktemp("no") / "missing.elf", _board(), _board().environments[0], 5)


def _board() -> Board:
    return boards.load("qemu_m4")


def test_constants_and_vectors_have_sizes_of_their_own(build: Build) -> None:
    firmware = build("nano33_bare")
    assert (firmware.weights, firmware.vectors) == (64, 36 + 4)  # the vectors and their number
    assert firmware.image.suffix == ".bin"
    assert firmware.image.stat().st_size == firmware.flash
    assert 256 < firmware.static_ram < 600


@pytest.mark.parametrize("environment", EMULATED)
def test_overheads_in_the_boards_are_the_measured_ones(build: Build, environment: str) -> None:
    """What is linked beside a runtime that does nothing, within 10 %: a figure that drifts is measured again."""
    firmware = build(environment, body="return 0;")
    _, entry = entry_of(environment)
    with firmware.elf.open("rb") as f:
        table = ELFFile(f).get_section_by_name(".symtab")
        runtime = sum(s["st_size"] for s in table.iter_symbols() if s.name.startswith("inference_"))
    assert firmware.weights == 0
    flash, ram = firmware.flash - firmware.vectors - runtime, firmware.static_ram - 256
    assert (flash, ram) == (pytest.approx(entry.overhead.flash, rel=0.1), pytest.approx(entry.overhead.ram, abs=32))


def test_same_inputs_same_bytes(build: Build, tmp_path_factory: pytest.TempPathFactory) -> None:
    first = build("nano33_bare")
    output = generate(tmp_path_factory.mktemp("elsewhere") / "deeper", "nano33", "nano33_bare")
    second = toolchain.build("nano33_bare", output)
    assert first.elf.read_bytes() == second.elf.read_bytes()
    assert first.image.read_bytes() == second.image.read_bytes()
