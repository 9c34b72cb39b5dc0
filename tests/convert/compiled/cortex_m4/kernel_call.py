"""Calls of single kernels in Unicorn's Cortex-M4, with every access to memory checked and instructions counted.

Tensors lie where the test puts them, so that an output may overlap an input; around them lies poison.
"""

import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_builder import vectors

from convert import compilers, golden
from convert.compiled import CompiledModel, device, host, lowering, memory
from convert.compiled.layer import Constant, Layer, Value
from convert.emulate import cortex_m
from convert.graph import Graph

needs_arm = pytest.mark.skipif(not device.available(), reason="needs gcc-arm-none-eabi and qemu-system-arm")

_CODE, _DATA, _ARENA, _STACK = 0x10000, 0x30000000, 0x20000000, 0x40000000
_MIB = 1 << 20
_RETURN = 0x8000
_POISON = np.random.default_rng(7).integers(0, 256, _MIB, np.uint8).tobytes()
Bytes = np.ndarray


@lru_cache(maxsize=4)
def _program(optimize: str) -> cortex_m.Program:
    """All kernels, linked at a fixed place; nothing else runs."""
    tool = f"{compilers.COMPILERS['armv7e-m'].prefix}gcc"
    include = ["-I", str(host.KERNELS / "include")]
    # Unicorn 2.1.4 goes astray at conditional loads (ldrcc) while it reports memory accesses: as few as can be.
    plain = ["-fno-if-conversion", "-fno-if-conversion2"]
    flags = [*device.CPU, "-std=c99", *optimize.split(), *plain, "-ffunction-sections", *host.WARNINGS, *include]
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        sources = [*(host.KERNELS / "src").glob("*.c"), *(host.KERNELS / "src/cortex_m4").glob("*.[cS]")]
        for k, source in enumerate(sorted(sources)):
            objects.append(str(Path(folder) / f"{k}.o"))
            subprocess.run([tool, *flags, "-c", str(source), "-o", objects[-1]], check=True)
        elf = Path(folder) / "kernels.elf"
        link = ["--specs=nano.specs", "-nostartfiles", f"-Wl,-Ttext={_CODE:#x}", "-Wl,-e,0"]
        subprocess.run([tool, *device.CPU, *link, *objects, "-o", str(elf)], check=True)
        return cortex_m.load(elf)


@dataclass(frozen=True)
class Result:
    """What a call left: the outputs' bytes, in the layer's order, and the number of instructions."""

    outputs: tuple[bytes, ...]
    instructions: int


class _Machine:
    def __init__(self, optimize: str) -> None:
        import unicorn
        import unicorn.arm_const as arm

        self.unicorn, self.arm, self.program = unicorn, arm, _program(optimize)
        regions = [(0, _MIB, True)] + [(at, _MIB, False) for at in (_DATA, _ARENA, _STACK)]
        self.uc = cortex_m.machine(unicorn, self.program, regions)
        self.free = _DATA
        self.may_read: list[tuple[int, int]] = []
        self.may_write: list[tuple[int, int]] = []
        self.strays: list[str] = []
        self.instructions = 0

    def constant(self, data: bytes) -> int:
        at = self.free
        self.uc.mem_write(at, data)
        self.free = -(-(at + len(data)) // 16) * 16 + 16
        self.may_read.append((at, at + len(data)))
        return at

    def params(self, params: Mapping[str, Value]) -> bytes:
        parts = []
        for value in params.values():
            if isinstance(value, Constant):
                parts.append(struct.pack("<I", self.constant(value.values.tobytes())))
            elif isinstance(value, Mapping):
                parts.append(self.params(value))
            elif isinstance(value, tuple):
                parts.append(struct.pack(f"<{len(value)}i", *value))
            elif isinstance(value, float):
                parts.append(struct.pack("<f", value))
            else:
                parts.append(struct.pack("<i", value))
        return b"".join(parts)

    def call(self, name: str, arguments: Sequence[int], watch: bool) -> None:
        uc, arm = self.uc, self.arm
        sp = _STACK + _MIB - 4096
        extra = arguments[4:]
        uc.mem_write(sp, struct.pack(f"<{len(extra)}I", *extra))
        self.may_read.append((_STACK, _STACK + _MIB))
        self.may_write.append((_STACK, sp))
        saved = {getattr(arm, f"UC_ARM_REG_R{i}"): 0x1234500 + i for i in range(4, 12)}
        for register, value in saved.items():
            uc.reg_write(register, value)
        for i, value in enumerate(arguments[:4]):
            uc.reg_write(getattr(arm, f"UC_ARM_REG_R{i}"), value)
        uc.reg_write(arm.UC_ARM_REG_SP, sp)
        uc.reg_write(arm.UC_ARM_REG_LR, _RETURN | 1)
        start = self.program.address(name)
        assert start is not None, f"{name} does not exist"

        def access(_uc: Any, kind: int, address: int, size: int, _value: int, _data: Any) -> None:
            write = kind == self.unicorn.UC_MEM_WRITE
            allowed = self.may_write if write else [*self.may_read, (0, _MIB)]
            if not any(low <= address and address + size <= high for low, high in allowed):
                self.strays.append(f"{'writes' if write else 'reads'} {size} at {address:#x}")

        def block(_uc: Any, address: int, size: int, _data: Any) -> None:
            self.instructions += cortex_m.thumb_instructions(bytes(uc.mem_read(address, size)))

        unicorn = self.unicorn
        hooks = [uc.hook_add(unicorn.UC_HOOK_BLOCK, block)]
        if watch:
            hooks.append(uc.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, access))
        with cortex_m.stopping(uc, time.monotonic() + 120):
            uc.emu_start(start | 1, _RETURN)
        for hook in hooks:
            uc.hook_del(hook)
        assert uc.reg_read(arm.UC_ARM_REG_PC) & ~1 == _RETURN
        assert uc.reg_read(arm.UC_ARM_REG_SP) == sp
        assert all(uc.reg_read(register) == value for register, value in saved.items()), f"{name} changed r4 to r11"


def call(
    layer: Layer,
    inputs: Sequence[bytes],
    output_bytes: int,
    *,
    distance: int | None = None,
    overlapped: int = 0,
    optimize: str = "-O2",
    check: bool = True,
) -> Result:
    """Run a layer's kernel once on `inputs`, one a tensor it reads; it has one output.

    With `distance` the output starts that many bytes before input number `overlapped`; otherwise they lie apart. With
    `check`, asserts that nothing is read or written but what the call is given.
    """
    assert layer.kernel is not None
    m = _Machine(optimize)
    m.uc.mem_write(_ARENA, _POISON)
    at = _ARENA + 4096
    places = []
    spare = -(-output_bytes // 16) * 16 + 64
    for data in inputs:
        at += spare
        places.append(at)
        at = -(-(at + len(data) + spare) // 16) * 16
    scratch = at
    at = -(-(at + layer.scratch_bytes + 64) // 16) * 16
    output = at if distance is None else places[overlapped] - distance
    for place, data in zip(places, inputs, strict=True):
        m.uc.mem_write(place, data)
        m.may_read.append((place, place + len(data)))
    m.may_read += [(scratch, scratch + layer.scratch_bytes), (output, output + output_bytes)]
    m.may_write += [(scratch, scratch + layer.scratch_bytes), (output, output + output_bytes)]
    before = bytes(m.uc.mem_read(_ARENA, _MIB))
    params = m.constant(m.params(layer.params))
    arguments = [params, *places, *([scratch] if layer.scratch_bytes else []), output]
    m.call(layer.kernel, arguments, check)
    after = bytes(m.uc.mem_read(_ARENA, _MIB))
    if check:
        assert not m.strays, f"{layer.kernel} {m.strays[:5]}"
        kept = np.frombuffer(before, np.uint8) == np.frombuffer(after, np.uint8)
        for low, high in m.may_write:
            kept[max(low - _ARENA, 0) : max(high - _ARENA, 0)] = True
        assert kept.all(), f"{layer.kernel} wrote at {int(np.argmin(kept))} of the arena"
    return Result((bytes(m.uc.mem_read(output, output_bytes)),), m.instructions)


def assert_golden(g: Graph, choose: Callable[[Layer], Layer]) -> list[str]:
    """Run a graph with the layers that `choose` makes of the portable ones, in QEMU, against TFLite Micro.

    Every output of every layer must be equal; returns the kernels that ran.
    """
    layers = [choose(layer) for layer in lowering.lower(g)]
    plan = memory.plan(g, layers, exact=False)
    ordered = tuple(layers[k] for k in plan.order)
    compiled = CompiledModel(g, ordered, plan, "cortex_m4", "speed")
    inputs = vectors(g)
    reference = golden.run(g, inputs, layers=True)
    outputs, traced = device.run(compiled, inputs, layers=True)
    assert reference.layers is not None
    assert traced is not None
    for layer in layers:
        for i in layer.outputs:
            assert traced[i].tobytes() == reference.layers[i].tobytes(), f"{layer.op.index} {layer.kernel}"
    assert np.array_equal(outputs, reference.outputs)
    return [layer.kernel or "" for layer in layers]
