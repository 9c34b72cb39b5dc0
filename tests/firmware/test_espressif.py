"""ESP32-C3, ESP32 and ESP32-S3: the flashed image, faults, our integer routines, and LabWired beside QEMU."""

import importlib.util
import random
import re
import struct
import time
from pathlib import Path

import pytest
from conftest import Build
from elftools.elf.elffile import ELFFile
from fake import need
from test_emulators import entry_of, run

from convert import boards
from convert.emulate import labwired, labwired_worker, process
from convert.errors import ToolError

HEADER = b"\x1d\x04\xdb\xae" * 2  # 0xAEDB041D twice
CODE, CONSTANTS = 0x42000000, 0x3C000000


def test_the_image_of_the_c3_is_what_its_rom_starts(build: Build) -> None:
    """Two words, then the entry; objcopy's file and what the emulator gets are the same bytes."""
    firmware = build("esp32c3_bare")
    flashed = firmware.image.read_bytes()
    assert flashed[:8] == HEADER
    assert labwired_worker.flash_image(firmware.elf) == flashed
    assert firmware.image.suffix == ".bin" and len(flashed) == firmware.flash
    with firmware.elf.open("rb") as f:
        assert ELFFile(f).header["e_entry"] == CODE + 8


def test_the_c3_s_flash_is_seen_through_both_windows() -> None:
    flash = HEADER + bytes(range(40))
    elf = labwired_worker.mapped(flash)
    assert struct.unpack_from("<I", elf, 24) == (CODE + 8,)
    for k, window in enumerate((CODE, CONSTANTS)):
        kind, offset, virtual, physical, file_bytes, memory_bytes, *_ = struct.unpack_from("<8I", elf, 52 + 32 * k)
        assert (kind, virtual, physical, file_bytes, memory_bytes) == (1, window, window, 48, 48)
        assert elf[offset : offset + 48] == flash


def test_an_image_without_the_words_is_not_started(build: Build, tmp_path: Path) -> None:
    elf = bytearray(build("esp32c3_bare").elf.read_bytes())
    assert elf.count(HEADER) == 1
    elf[elf.index(HEADER)] ^= 1
    broken = tmp_path / "broken.elf"
    broken.write_bytes(elf)
    board, entry = entry_of("esp32c3_bare")
    with pytest.raises(ToolError, match=r"labwired did not run broken\.elf: .*two words .*direct boot"):
        labwired.run(broken, board, entry, 30)


def test_the_c3_s_watchdogs_are_off(build: Build, tmp_path: Path) -> None:
    """As its registers say in LabWired, which lets no watchdog bite."""
    labwired_package = pytest.importorskip("labwired")
    path = tmp_path / "mapped.elf"
    path.write_bytes(labwired_worker.mapped(labwired_worker.flash_image(build("esp32c3_bare").elf)))
    with labwired_package.Sim(path, chip="esp32c3") as sim:
        sim.write_u32(0x6001F048, 0xFFFFFFFF)
        sim.write_u32(0x60008090, 0xFFFFFFFF)
        assert sim.read_u32(0x6001F048) >> 31 == sim.read_u32(0x60008090) >> 31 == 1
        assert sim.read_u32(0x600080AC) >> 31 == 0
        sim.run_for("5ms")
        assert sim.read_u32(0x6001F048) == 1 << 22  # timer group 0: all off, and taken over
        assert sim.read_u32(0x60008090) >> 31 == 0  # RTC
        assert sim.read_u32(0x600080AC) >> 31 == 1  # super watchdog: feeds itself


FAULTS = [
    ("esp32c3_twin", "*(volatile uint32_t *)0xF0000000u = 1;", r"mepc=0x8000\w{4} mcause=0x00000007 mtval=0xf0000000 "),
    ("esp32c3_twin", '__asm volatile(".word 0");', r"mepc=0x8000\w{4} mcause=0x00000002 "),
    ("esp32c3_bare", '__asm volatile("ecall");', r"mepc=0x4200\w{4} mcause=0x0000000b "),
    ("esp32_twin", '__asm volatile("ill");', r"epc1=0x5000\w{4} exccause=0x00000000 "),
    (
        "esp32_twin",
        "(void)*(volatile uint32_t *)0xF0000000u;",
        r"epc1=0x5000\w{4} exccause=0x\w{8} excvaddr=0xf0000000 ",
    ),
]


@pytest.mark.parametrize(("environment", "body", "expected"), FAULTS)
def test_a_fault_names_its_place_and_cause(build: Build, environment: str, body: str, expected: str) -> None:
    transcript = run(build, environment, body=body)
    assert transcript.finished and transcript.error is not None
    assert re.match(rf"fault at {expected}", transcript.error), transcript.error


# Every result of 32- and 64-bit division and multiplication, a line a pair; volatile, so that nothing is folded.
ARITHMETIC = """
static void show(uint64_t value) {
  char text[17];
  for (int i = 0; i < 16; i++) text[i] = "0123456789abcdef"[value >> (60 - 4 * i) & 15];
  text[16] = ' ';
  port_write(text, 17);
}
static const uint64_t pairs[][2] = {PAIRS};
"""
ARITHMETIC_BODY = """
for (unsigned i = 0; i < sizeof pairs / sizeof *pairs; i++) {
  volatile uint64_t va = pairs[i][0], vb = pairs[i][1];
  const uint64_t a = va, b = vb;
  const uint32_t a32 = (uint32_t)a, b32 = (uint32_t)b;
  port_write("=", 1);
  show(a * b);
  show(a / b);
  show(a % b);
  show((uint64_t)((int64_t)a / (int64_t)b));
  show((uint64_t)((int64_t)a % (int64_t)b));
  show((uint64_t)((int64_t)(int32_t)a32 * (int32_t)b32));
  if (b32 != 0) {
    show(a32 / b32);
    show(a32 % b32);
    show((uint32_t)((int32_t)a32 / (int32_t)b32));
    show((uint32_t)((int32_t)a32 % (int32_t)b32));
  }
  port_write("\\n", 1);
}
"""


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _quotient(a: int, b: int) -> int:
    """Rounded towards zero, as C has it."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _expected(a: int, b: int) -> list[int]:
    sa, sb, a32, b32 = _signed(a, 64), _signed(b, 64), a & 0xFFFFFFFF, b & 0xFFFFFFFF
    s32a, s32b = _signed(a32, 32), _signed(b32, 32)
    wide = [a * b, a // b, a % b, _quotient(sa, sb), sa - _quotient(sa, sb) * sb, s32a * s32b]
    values = [v & (1 << 64) - 1 for v in wide]
    if b32:
        narrow = [a32 // b32, a32 % b32, _quotient(s32a, s32b), s32a - _quotient(s32a, s32b) * s32b]
        values += [v & 0xFFFFFFFF for v in narrow]
    return values


@pytest.mark.parametrize("environment", ["esp32_twin", pytest.param("esp32c3_twin", marks=pytest.mark.exhaustive)])
def test_integer_arithmetic(build: Build, environment: str) -> None:
    """Against Python's; on Xtensa these routines are ours, for the compiler comes without."""
    draw = random.Random(5)
    edges = [1, 2, 3, 7, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 63) - 1, 1 << 63]
    edges.append((1 << 64) - 1)
    pairs = [(a, b) for a in (0, *edges) for b in edges if (a, b) != (1 << 63, (1 << 64) - 1)]
    pairs += [
        (draw.getrandbits(draw.randrange(1, 65)), draw.getrandbits(draw.randrange(1, 65)) | 1) for _ in range(150)
    ]
    # INT_MIN / -1 overflows, in C as in hardware.
    pairs = [(a, b) for a, b in pairs if (a & 0xFFFFFFFF, b & 0xFFFFFFFF) != (0x80000000, 0xFFFFFFFF)]
    rows = ", ".join(f"{{0x{a:x}u, 0x{b:x}u}}" for a, b in pairs)
    head = '#include <stdint.h>\n#include "port.h"\n' + ARITHMETIC.replace("PAIRS", rows)
    text = run(build, environment, head=head, body=ARITHMETIC_BODY).text
    found = [[int(v, 16) for v in line[1:].split()] for line in text.splitlines() if line.startswith("=")]
    assert len(found) >= len(pairs)
    for (a, b), values in zip(pairs, found, strict=False):
        assert values == _expected(a, b), (hex(a), hex(b))


# Our memory functions beside loops that are what they say; the answer is the number of mistakes and of comparisons.
MEMORY = """
static uint8_t plain[96], ours[96];
static unsigned wrong, compared;
static void same(void) {
  compared++;
  for (unsigned i = 0; i < sizeof plain; i++) {
    if (plain[i] != ours[i]) {
      wrong++;
      return;
    }
  }
}
static void fill(unsigned seed) {
  for (unsigned i = 0; i < sizeof plain; i++) plain[i] = ours[i] = (uint8_t)(i * 37 + seed * 11);
}
"""
MEMORY_BODY = """
void *(*volatile copy)(void *, const void *, size_t) = memcpy;
void *(*volatile move)(void *, const void *, size_t) = memmove;
void *(*volatile set)(void *, int, size_t) = memset;
int (*volatile compare)(const void *, const void *, size_t) = memcmp;
size_t (*volatile length)(const char *) = strlen;
for (unsigned to = 0; to < 8; to++) {
  for (unsigned from = 0; from < 8; from++) {
    for (unsigned n = 0; n < 24; n++) {
      volatile uint8_t *p = plain;
      uint8_t held[24];
      fill(n);
      for (unsigned i = 0; i < n; i++) p[40 + to + i] = p[from + i];
      if (copy(ours + 40 + to, ours + from, n) != ours + 40 + to) wrong++;
      same();
      if (compare(ours + 40 + to, ours + from, n) != 0) wrong++;
      if (n > 0) {
        ours[from] ^= 0x80;
        const int sign = compare(ours + from, ours + 40 + to, n);
        if ((sign > 0) != (ours[from] > ours[40 + to])) wrong++;
      }
      fill(n);
      for (unsigned i = 0; i < n; i++) ((volatile uint8_t *)held)[i] = p[from + i];
      for (unsigned i = 0; i < n; i++) p[to + i] = held[i];
      if (move(ours + to, ours + from, n) != ours + to) wrong++;
      same();
      for (unsigned i = 0; i < n; i++) p[to + i] = (uint8_t)(from + 250);
      if (set(ours + to, (int)from + 250, n) != ours + to) wrong++;
      same();
      ours[to + n] = 0;
      for (unsigned i = 0; i < n; i++) ours[to + i] |= 1;
      if (length((const char *)ours + to) != n) wrong++;
    }
  }
}
arena[16] = (uint8_t)wrong;
arena[17] = (uint8_t)(wrong >> 8);
arena[18] = (uint8_t)compared;
arena[19] = (uint8_t)(compared >> 8);
arena[20] = 0x5A;
return 0;
"""


def test_memory_functions(build: Build) -> None:
    head = "#include <stdint.h>\n#include <string.h>\n" + MEMORY
    (answer, *_) = re.findall(r"^#vector 0 (\w+)$", run(build, "esp32_twin", head=head, body=MEMORY_BODY).text, re.M)
    assert struct.unpack("<HHB", bytes.fromhex(answer)) == (0, 3 * 8 * 8 * 24, 0x5A)


@pytest.mark.parametrize("environment", ["esp32s3_bare", pytest.param("esp32_bare", marks=pytest.mark.exhaustive)])
def test_labwired_counts_as_qemu_does(build: Build, environment: str) -> None:
    """The same objects but for the port, whose ways in and out of counting are not the same length.

    The number of rounds is a variable's initial value: both emulators bring it to where the start-up code copies from.
    """
    twin = environment.replace("bare", "twin")
    counted = [run(build, e, loops=20_000).instructions for e in (environment, twin)]
    assert None not in counted
    assert abs(counted[0] - counted[1]) <= 50  # type: ignore[operator]


def test_a_chip_that_is_not_believed() -> None:
    with pytest.raises(ToolError, match="chip nrf52840, which is not emulated with LabWired here; allowed are esp32"):
        labwired.run(Path("no.elf"), boards.load("nano33"), entry_of("nano33_bare")[1], 1)


def test_labwired_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ToolError, match=r"the labwired package, .*, is missing; run: pip install labwired"):
        labwired.connect(Path("no.elf"), *entry_of("esp32c3_bare"))


@pytest.mark.parametrize("environment", ["esp32c3_twin", "esp32_twin"])
def test_qemu_is_missing(environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from convert.emulate import qemu_virt, qemu_xtensa

    module = {"esp32c3_twin": qemu_virt, "esp32_twin": qemu_xtensa}[environment]
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match=r"is not on the PATH.*apt-get install qemu-system-misc"):
        module.run(Path("no.elf"), *entry_of(environment), 1)


class TestProcess:
    """What the emulators' serial lines have in common."""

    def test_bytes_of_all_values(self) -> None:
        need("cat")
        with process.Process(["cat"], "cat") as link:
            sent = bytes(range(256)) * 300
            link.write(sent)
            back = b""
            while len(back) < len(sent) and (more := link.read(10)):
                back += more
        assert back == sent

    def test_writing_to_what_has_ended_says_why(self) -> None:
        need("sh")
        with process.Process(["sh", "-c", "echo no such board >&2; exit 3"], "thing") as link:
            assert link.read(10) == b"" and link.ended
            with pytest.raises(ToolError, match="thing has ended: no such board"):
                for _ in range(100):
                    link.write(b"x")
                    time.sleep(0.01)

    def test_one_that_reads_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        need("sleep")
        monkeypatch.setattr(process, "WRITE_SECONDS", 0.2)
        with (
            process.Process(["sleep", "60"], "thing") as link,
            pytest.raises(ToolError, match="thing takes no more bytes; the firmware does not read them"),
        ):
            link.write(bytes(1 << 20))

    def test_one_that_does_not_start(self) -> None:
        with pytest.raises(ToolError, match=r"thing did not start: .*no-such-program"):
            process.Process(["/no-such-program"], "thing")

    def test_silence_costs_no_more_than_the_time(self) -> None:
        need("sleep")
        with process.Process(["sleep", "60"], "thing") as link:
            start = time.monotonic()
            assert link.read(0.2) == b"" and not link.ended
            assert 0.15 < time.monotonic() - start < 2

    def test_a_worker_ends_with_its_link(self, build: Build) -> None:
        pytest.importorskip("labwired")
        link = labwired.connect(build("esp32c3_bare").elf, *entry_of("esp32c3_bare"))
        assert b"#tinyml" in link.read(30)
        link.close()
        with pytest.raises(ToolError, match="labwired has ended"):
            link.write(b"x")
