"""The application, the ports and the emulators, with a runtime of a few lines."""

import re

import pytest
from conftest import BOARDS, Build
from fake import generate, need, outputs

from convert import boards, toolchain
from convert.boards import Board
from convert.emulate import Transcript, qemu_mps2, unicorn_nrf52840
from convert.errors import ToolError

RUN = {"qemu_m4": qemu_mps2.run, "nano33_bare": unicorn_nrf52840.run}
EMULATED = sorted(RUN)


def run(build: Build, environment: str, timeout: float = 20, **options: object) -> Transcript:
    if environment == "qemu_m4":
        need("qemu-system-arm")
    firmware = build(environment, **options)
    board = boards.load(BOARDS[environment])
    entry = next(e for e in board.environments if e.name == environment)
    return RUN[environment](firmware.elf, board, entry, timeout)


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


@pytest.mark.parametrize("environment", EMULATED)
def test_a_runtime_that_fails_is_reported(build: Build, environment: str) -> None:
    transcript = run(build, environment, init=1)
    assert transcript.finished
    assert transcript.error == "inference_init: the fake refuses"
    assert vectors(transcript) == []


FAULT = "*(volatile uint32_t *)0xF0000000u = 1;"


def test_a_hard_fault_is_reported(build: Build) -> None:
    transcript = run(build, "qemu_m4", body=FAULT)
    assert transcript.finished
    assert transcript.error is not None
    assert re.match(r"hard fault at pc=0x0000[0-9a-f]{4} lr=0x\w{8} cfsr=0x\w{8} bfar=0x", transcript.error)


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
    transcript = run(build, environment, timeout=1, body="for (;;) { sink = 1; }")
    assert not transcript.finished
    assert transcript.text.startswith("#tinyml 1 ")
    assert 0.9 < transcript.seconds < 5


def test_a_deep_stack_is_measured(build: Build) -> None:
    body = "volatile uint8_t deep[3000]; for (unsigned i = 0; i < sizeof deep; i++) deep[i] = 1;"
    usual, deep = (
        int(re.findall(r"^#stack (\d+)$", run(build, "nano33_bare", body=b).text, re.MULTILINE)[0]) for b in ("", body)
    )
    assert 2900 < deep - usual < 3100


@pytest.mark.parametrize(("environment", "tool"), [("qemu_m4", "qemu-system-arm")])
def test_a_missing_emulator_names_the_package(
    build: Build, environment: str, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    firmware = build(environment)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match=f"{tool} is not on the PATH.*apt-get install"):
        RUN[environment](firmware.elf, boards.load(BOARDS[environment]), 1)


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


def test_overheads_in_the_boards_are_the_measured_ones(build: Build) -> None:
    """What is linked beside the runtime, within 10 %: a figure that drifts is measured again."""
    for environment, name in BOARDS.items():
        firmware = build(environment)
        entry = next(e for e in boards.load(name).environments if e.name == environment)
        runtime = 546  # bytes of code and strings in the fake
        assert firmware.flash - 64 - 36 - runtime == pytest.approx(entry.overhead.flash, rel=0.1)
        assert abs(firmware.static_ram - 256 - 8 - entry.overhead.ram) <= 32


def test_same_inputs_same_bytes(build: Build, tmp_path_factory: pytest.TempPathFactory) -> None:
    first = build("nano33_bare")
    output = generate(tmp_path_factory.mktemp("elsewhere") / "deeper", "nano33", "nano33_bare")
    second = toolchain.build("nano33_bare", output)
    assert first.elf.read_bytes() == second.elf.read_bytes()
    assert first.image.read_bytes() == second.image.read_bytes()
