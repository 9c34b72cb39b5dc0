"""The weights images' reader and updater in C, with sanitizers, over damaged images and senseless requests.

What the C calls whole must be whole for the Python, too (convert/split/header.py), and the other way round. More cases:
TINYML_FUZZ_SLOTS=1000000 pytest tests/fuzz/test_fuzz_slots.py.
"""

import os
import random
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tflite_builder import needs_compiler

from convert.compiled import host
from convert.errors import UsageError
from convert.paths import FIRMWARE
from convert.split import ed25519, header

LIBRARY = FIRMWARE / "lib" / "slots"
SIMULATED = Path(__file__).resolve().parents[1] / "convert" / "split"
COUNT = int(os.environ.get("TINYML_FUZZ_SLOTS", "6000"))
SLOT, LEAST = 1024, 8
GRAPH, SECRET = bytes(range(32)), bytes(range(32, 64))
KEY = ed25519.public_key(SECRET)

Run = Callable[[bytes, bool], list[str]]
pytestmark = needs_compiler


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    program = tmp_path_factory.mktemp("slots") / "slots_fuzz"
    sources = [
        Path(__file__).with_name("slots_fuzz.c"),
        SIMULATED / "simulated_flash.c",
        *(LIBRARY / "src").glob("*.c"),
    ]
    flags = ["-std=c99", "-O1", *host.WARNINGS, *host.SANITIZERS, f"-I{LIBRARY / 'include'}", f"-I{SIMULATED}"]
    host.call(
        [host.compiler(), *flags, *map(str, sorted(sources)), "-o", str(program)], "compiling the fuzzer's target"
    )

    def call(cases: bytes, signed: bool) -> list[str]:
        command = [str(program), *(["signed"] if signed else [])]
        done = subprocess.run(command, input=GRAPH + KEY + cases, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        return done.stdout.decode().splitlines()

    return call


def image(source: random.Random, signed: bool) -> bytes:
    payload = source.randbytes(4 * source.randrange(2, (SLOT - header.BYTES) // 4 + 1))
    return header.make(payload, source.randrange(1, 100), source.randbytes(8), GRAPH, SECRET if signed else None)


def with_crc(content: bytes) -> bytes:
    """The same with the right CRC, so that what comes behind it is looked at."""
    length = int.from_bytes(content[8:12], "little")
    end = header.BYTES + length if length <= len(content) - header.BYTES else len(content)
    crc = zlib.crc32(content[16:end], zlib.crc32(content[:12]))
    return content[:12] + crc.to_bytes(4, "little") + content[16:]


def slot(source: random.Random, whole: bytes) -> bytes:
    """A slot's content: an image that is damaged in one of many ways, or is not."""
    content = bytearray(whole.ljust(SLOT, b"\xff"))
    kind = source.randrange(7)
    if kind == 1:
        content[source.randrange(SLOT)] ^= 1 << source.randrange(8)
    elif kind == 2:
        content[source.randrange(header.BYTES)] = source.randrange(256)
    elif kind == 3:
        content[8:12] = source.choice([0, 4, 7, 8, 12, 892, 896, 900, 0xFFFFFFFF, 0x80000000]).to_bytes(4, "little")
    elif kind == 4:
        content = bytearray(source.choice([b"\xff" * SLOT, bytes(SLOT), source.randbytes(SLOT)]))
    elif kind == 5:
        at = source.randrange(SLOT)
        content[at:] = b"\xff" * (SLOT - at)
    return with_crc(bytes(content)) if source.random() < 0.5 else bytes(content)


def is_whole(content: bytes, signed: bool) -> bool:
    length = int.from_bytes(content[8:12], "little")
    if not LEAST <= length <= SLOT - header.BYTES:
        return False
    try:
        header.check(content[: header.BYTES + length], GRAPH, KEY if signed else None)
    except UsageError:
        return False
    return True


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_damaged_flash(run: Run, signed: bool) -> None:
    source = random.Random(7)
    images = [image(source, k % 3 > 0) for k in range(12)]
    cases = [[slot(source, source.choice(images)) for _ in range(2)] for _ in range(COUNT // (10 if signed else 1))]
    lines = run(b"".join(b"F" + a + b for a, b in cases), signed)
    seen = set()
    for contents, line in zip(cases, lines, strict=True):
        chosen, *statuses = map(int, line.split())
        whole = [is_whole(content, signed) for content in contents]
        assert [status == 0 for status in statuses] == whole, line
        sequences = [int.from_bytes(c[16:20], "little") if w else -1 for c, w in zip(contents, whole, strict=True)]
        assert chosen == (-1 if not any(whole) else int(sequences[1] > sequences[0]))
        seen.update(statuses)
    # The fuzzer fuzzes: every reason was met.
    assert seen >= ({0, 1, 2, 3, 4, 5, 6} | ({7, 8} if signed else set()))


def requests(source: random.Random, whole: bytes) -> list[bytes]:
    """An update, with steps left out, doubled, changed or moved."""
    payload = whole[header.BYTES :]
    steps = [b"B" + whole[: header.BYTES]]
    for at in range(0, len(payload), 64):
        steps.append(b"W" + struct.pack("<II", at, len(payload[at : at + 64])) + payload[at : at + 64])
    steps.append(b"E")
    for _ in range(source.choice([0, 0, 1, 2, 5])):
        if not steps:
            break
        k = source.randrange(len(steps))
        offset = source.choice([0, 1, 4, 128, 896, 0xFFFFFFFC, 0x7FFFFFFF])
        steps[k : k + 1] = source.choice(
            [
                [],
                [steps[k], steps[k]],
                [b"B" + slot(source, whole)[: header.BYTES]],
                [b"W" + struct.pack("<II", offset, size := source.choice([0, 3, 4, 64, 1024])) + bytes(size)],
                [b"E"],
                [steps[k], source.choice(steps)],
            ]
        )
    return steps


def test_senseless_updates(run: Run) -> None:
    source = random.Random(8)
    images = [image(source, False) for _ in range(20)]
    cases = [(slot(source, source.choice(images)), requests(source, source.choice(images))) for _ in range(COUNT // 3)]
    encoded = (b"U" + before + struct.pack("<I", len(steps)) + b"".join(steps) for before, steps in cases)
    lines = [list(map(int, line.split())) for line in run(b"".join(encoded), False)]
    assert [len(line) for line in lines] == [len(steps) + 1 for _, steps in cases]
    assert {status for line in lines for status in line[:-1]} >= {0, 2, 3, 4, 6, 9, 10, 11}
    assert {line[-1] for line in lines} == {-1, 0, 1}
