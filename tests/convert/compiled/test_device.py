"""Compiled models on an emulated Cortex-M4: outputs, counts, estimated cycles."""

import subprocess
from typing import Literal

import numpy as np
import pytest
from tflite_builder import Sweep, assert_exact, needs_device, vectors

from convert.compiled import compile_model, cycles, device

capstone = pytest.importorskip("capstone")


def listing(*halfwords: int) -> list:
    code = b"".join(h.to_bytes(2, "little") for h in halfwords)
    disassembler = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    disassembler.detail = True
    return list(disassembler.disasm(code, 0))


@pytest.mark.parametrize(
    ("halfwords", "expected"),
    [
        ([0x4408], [1]),  # add r0, r1
        ([0xFB21, 0x3002], [1]),  # smlad r0, r1, r2, r3
        ([0xFB90, 0xF0F1], [7]),  # sdiv r0, r0, r1
        ([0x6808], [2]),  # ldr r0, [r1]
        ([0x6808, 0x684A], [2, 1]),  # ldr r0, [r1]; ldr r2, [r1, #4]
        ([0x6809, 0x684A], [2, 2]),  # ldr r1, [r1]; ldr r2, [r1, #4]: the address waits
        ([0x6008], [1]),  # str r0, [r1]
        ([0xCB07], [4]),  # ldm r3!, {r0, r1, r2}
        ([0xE9F3, 0x0102], [3]),  # ldrd r0, r1, [r3, #8]!
        ([0xB5F0], [6]),  # push {r4-r7, lr}
        ([0xBF08, 0x2001], [1, 1]),  # it eq; moveq r0, #1
    ],
)
def test_cycles_follow_the_manual(halfwords: list[int], expected: list[int]) -> None:
    assert cycles.cycles(listing(*halfwords)) == expected


@pytest.mark.parametrize(
    ("halfwords", "expected"),
    [
        ([0xD0FE], cycles.REFILL),  # beq .
        ([0x4408], cycles.REFILL),  # add r0, r1: a run may end without a branch
        ([0xB108], cycles.REFILL),  # cbz r0, .+6
        ([0x4770], cycles.INDIRECT_REFILL),  # bx lr
        ([0xBDF0], cycles.INDIRECT_REFILL),  # pop {r4-r7, pc}
        ([0xE8DF, 0xF001], cycles.INDIRECT_REFILL),  # tbb [pc, r1]
    ],
)
def test_refills_after_branches(halfwords: list[int], expected: int) -> None:
    assert cycles.refill(listing(*halfwords)[-1]) == expected


@pytest.mark.parametrize(
    ("halfwords", "names"),
    [
        ([0xBF08, 0x2001], ["it", "mov"]),  # it eq; moveq r0, #1
        ([0xD0FE], ["b"]),  # beq .
        ([0xF000, 0xB800], ["b"]),  # b.w
        ([0x0008], ["movs"]),
        ([0xBF18, 0x7808], ["it", "ldrb"]),  # it ne; ldrbne r0, [r1]
    ],
)
def test_base_of_an_instruction(halfwords: list[int], names: list[str]) -> None:
    assert [cycles.base(i) for i in listing(*halfwords)] == names


def small() -> Sweep:
    s = Sweep(1)
    x = s.input((1, 6, 5, 4), zero_point=-4)
    s.dense(s.reshape(s.pool(s.depthwise(s.conv(x, 8, (1, 1)))), (1, 48)), 7)
    return s


@needs_device
def test_qemu_gives_the_outputs_of_tflite_micro() -> None:
    assert_exact(small().build(), target="portable", where=device)


@needs_device
def test_profile_counts_every_layer() -> None:
    g = small().build()
    compiled = compile_model(g)
    vector = vectors(g)[2]
    profile = device.profile(compiled, vector)
    expected, _ = device.run(compiled, vector[None])
    assert np.array_equal(profile.outputs, expected[0])
    assert [count is None for count in profile.layers] == [layer.kernel is None for layer in compiled.lowered]
    parts = [count for count in profile.layers if count is not None]
    assert 0 < profile.total.instructions - sum(c.instructions for c in parts) < 20 * len(parts)
    assert profile.total.instructions == sum(profile.total.histogram.values())
    assert all(c.cycles >= c.instructions for c in parts)
    assert 0 < profile.stack < 1000


@needs_device
@pytest.mark.parametrize("optimize", ["speed", "size"])
def test_kernels_want_nothing_but_memcpy_and_memset(optimize: Literal["speed", "size"]) -> None:
    """No other function of the C library, no software floating point, no division of 64 bits."""
    compiled = compile_model(small().build(), "cortex_m4", optimize)
    listing = subprocess.run(
        [f"{device.PREFIX}nm", "-A", *map(str, device.kernels(compiled))], capture_output=True, text=True, check=True
    ).stdout
    wanted = {line.split()[-1] for line in listing.splitlines() if " U " in line}
    defined = {line.split()[-1] for line in listing.splitlines() if " T " in line}
    assert len(defined) > 100
    assert wanted - defined == {"memcpy", "memset"}
