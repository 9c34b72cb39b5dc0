"""Weights in every coded format, run beside the plain kernels with sanitizers; and the same streams, damaged."""

import re
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from convert.compiled import host
from convert.compiled.formats import catalogue
from convert.compiled.formats.packing import PAD, Packed

_SOURCE = Path(__file__).with_name("coded_calls.c")
_KERNELS = ("coded", "conv", "matmul")
_POSITIONS = ("all", "gaps", "bitmap", "two_of_four", "blocks")
_SECONDS = 300.0
Array = np.ndarray


def build(folder: Path) -> Path:
    """The program of coded_calls.c, with the address and undefined-behaviour sanitizers."""
    flags = ["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-O1", *host.WARNINGS, *host.SANITIZERS]
    sources = [_SOURCE, *(host.KERNELS / "src" / f"{name}.c" for name in _KERNELS)]
    target = folder / "coded"
    command = [host.compiler(), *flags, "-I", str(host.KERNELS / "include"), *map(str, sources), "-o", str(target)]
    host.call(command, "compiling coded_calls.c")
    return target


@dataclass(frozen=True)
class Window:
    """A convolution's geometry; see kernels/window.h."""

    batches: int
    input: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad: tuple[int, int]

    @property
    def output(self) -> tuple[int, int]:
        sides = zip(self.input, self.kernel, self.stride, self.dilation, self.pad, strict=True)
        height, width = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, d, p in sides)
        return height, width

    @property
    def numbers(self) -> list[int]:
        parts = (self.input, self.output, self.kernel, self.stride, self.dilation, self.pad)
        return [self.batches, *(n for part in parts for n in part)]


@dataclass(frozen=True)
class Stage:
    """An output stage; arrays have an entry a channel, `multiplier` and `shift` one or as many."""

    bias: Array
    multiplier: Array
    shift: Array
    zero_point: int
    minimum: int
    maximum: int


@dataclass(frozen=True)
class Call:
    """Weights (channels, depth) in one format, and what they are multiplied with: rows, or with `window` an image."""

    format: str
    packed: Packed
    weights: Array
    input: Array
    stage: Stage
    window: Window | None = None
    input_zero_point: int = 0
    wide: bool = False  # tiles of int16

    @property
    def output_bytes(self) -> int:
        channels, depth = self.weights.shape
        if self.window is None:
            return self.input.size // depth * channels
        height, width = self.window.output
        return self.window.batches * height * width * channels

    @property
    def data(self) -> bytes:
        """The call as coded_calls.c reads it."""
        at, packed, stage = self.packed.layout, self.packed, self.stage
        channels, depth = self.weights.shape
        none = np.zeros(0, np.uint8)
        table = none if packed.table is None else packed.table
        code = none if packed.code is None else packed.code
        models = (packed.gaps, packed.values)
        sizes = [number for m in models for number in ((0, 0) if m is None else (m.tables["entries"].size, m.shift))]
        tables = [array for m in models if m is not None for array in m.tables.values()]
        window = self.window
        pixel = 0 if window is None else depth // (window.kernel[0] * window.kernel[1])
        right = int((stage.shift <= -2).all())
        numbers = [
            *(int(window is not None), _POSITIONS.index(at.positions), at.count_bytes, at.position_bits),
            *(at.value_bits, int(at.codebook), int(at.coded_positions), int(at.coded_values), int(self.wide), right),
            *(depth, channels, packed.table_step),
            *(0 if window else self.input.size // depth, pixel, self.input_zero_point),
            *(int(stage.shift.size > 1), stage.zero_point, stage.minimum, stage.maximum),
            *(packed.stream.size, table.size, code.size, *sizes, self.input.size, self.output_bytes),
            *([0] * 13 if window is None else window.numbers),
        ]
        arrays = [packed.stream, table, code, *tables]
        arrays += [self.weights, stage.bias, stage.multiplier, stage.shift, self.input]
        return struct.pack(f"<{len(numbers)}i", *numbers) + b"".join(a.tobytes() for a in arrays)


def formats(weights: Array) -> Iterator[tuple[str, Packed]]:
    """Every variant of every format that holds the weights, not only the smallest of each."""
    for name, variants in catalogue.variants(weights):
        for packed in variants:
            yield name, packed


def run(program: Path, calls: Sequence[Call]) -> list[tuple[Array, Array]]:
    """(the plain kernel's outputs, the coded one's) of each call; raises AssertionError with what a sanitizer says."""
    data = b"".join(call.data for call in calls)
    done = subprocess.run([str(program)], input=data, capture_output=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    raw = np.frombuffer(done.stdout, np.int8)
    found = []
    for call in calls:
        found.append((raw[: call.output_bytes], raw[call.output_bytes : 2 * call.output_bytes]))
        raw = raw[2 * call.output_bytes :]
    return found


@dataclass(frozen=True)
class Finding:
    """What a damaged stream made a kernel do: an access that the sanitizer stopped, or no end."""

    kind: str  # "READ", "WRITE", or the sanitizer's words where it is no access
    words: str


def run_damaged(program: Path, calls: Sequence[Call]) -> list[Finding | None]:
    """What became of each call, each in a process of its own; None: it ended and touched only its own memory."""
    data = b"".join(call.data for call in calls)
    quick = {"ASAN_OPTIONS": "symbolize=0:detect_leaks=0", "UBSAN_OPTIONS": "symbolize=0"}
    command = [str(program), "damaged"]
    done = subprocess.run(command, input=data, env=quick, capture_output=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    said = done.stderr.decode(errors="replace").split("\ncase\n")[1:]
    assert len(said) == len(done.stdout) == len(calls)
    return [_finding(words) if failed else None for failed, words in zip(done.stdout, said, strict=True)]


def _finding(words: str) -> Finding:
    access = re.search(r"(READ|WRITE)(?: of size| memory access)", words)
    kind = access[1] if access else words.strip()[:200] or "no end within 20 s"
    return Finding(kind, words)


def filled(call: Call) -> Call:
    """The call with an entry for every index that a field can say in its codebook, or codebooks."""
    packed = call.packed
    if packed.table is None:
        return call
    entries = 1 << packed.layout.value_bits
    tables = packed.table.reshape(-1, packed.table_step or packed.table.size)
    table = np.pad(tables, ((0, 0), (0, entries - tables.shape[1]))).reshape(-1)
    return replace(call, packed=replace(packed, table=table, table_step=entries if packed.table_step else 0))


def damaged(call: Call, rng: np.random.Generator) -> Call:
    """The call with its streams' bytes, not the pads' nor tables, changed: some bits, a byte, or a stretch of anything.

    One of both where a format has two.
    """
    packed = call.packed
    stream = packed.stream.copy()
    code = None if packed.code is None else packed.code.copy()
    bodies = [body for body in (stream[PAD:-PAD], code) if body is not None and body.size]
    if bodies:
        body = bodies[int(rng.integers(len(bodies)))]
        kind = rng.integers(3)
        at = int(rng.integers(body.size))
        if kind == 0:
            for k in rng.integers(body.size, size=rng.integers(1, 4)):
                body[k] ^= 1 << rng.integers(8)
        elif kind == 1:
            body[at] = rng.choice([0, 255, rng.integers(256)])
        else:
            stretch = body[at : at + int(rng.integers(1, 65))]
            stretch[:] = rng.integers(0, 256, stretch.size)
    return replace(call, packed=replace(packed, stream=stream, code=code))
