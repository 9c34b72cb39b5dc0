"""A C file of a test's own on Unicorn's Cortex-M4: its functions are called, and their instructions counted."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert import compilers
from convert.compiled import device, host
from convert.emulate import cortex_m

needs_arm = pytest.mark.skipif(
    compilers.missing("armv7e-m") is not None, reason="needs gcc-arm-none-eabi with its C library"
)

_CODE, _DATA, _STACK, _RETURN, _MIB = 0x10000, 0x20000000, 0x40000000, 0x8000, 1 << 20


def build(source: Path, folder: Path, cpu: Sequence[str] = device.CPU) -> cortex_m.Program:
    """Link `source` with the headers of the kernels' library; nothing but its own functions and libgcc's is there.

    `cpu`: options for the M4, or for a core whose instructions it has.
    """
    tool = f"{compilers.COMPILERS['armv7e-m'].prefix}gcc"
    elf = folder / f"{source.stem}.elf"
    flags = [*cpu, "-std=c99", "-O2", *host.WARNINGS, "-I", str(host.KERNELS / "include")]
    link = ["--specs=nano.specs", "-nostartfiles", f"-Wl,-Ttext={_CODE:#x}", "-Wl,-e,0"]
    subprocess.run([tool, *flags, *link, str(source), "-o", str(elf)], check=True)
    return cortex_m.load(elf)


class Machine:
    """A processor with a program in its flash; `place` puts constants and buffers into its RAM."""

    def __init__(self, program: cortex_m.Program) -> None:
        import unicorn
        import unicorn.arm_const as arm

        self.unicorn, self.arm, self.program = unicorn, arm, program
        regions = [(0, _MIB, True), (_DATA, _MIB, False), (_STACK, _MIB, False)]
        self.uc = cortex_m.machine(unicorn, program, regions)
        self.free = _DATA

    def place(self, data: np.ndarray | bytes, odd: int = 0) -> int:
        """The address of a copy of `data`, `odd` bytes behind a multiple of 16."""
        raw = data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes()
        at = self.free + odd
        self.uc.mem_write(at, raw)
        self.free = -(-(at + len(raw)) // 16) * 16 + 16
        return at

    def read(self, at: int, count: int) -> np.ndarray:
        return np.frombuffer(bytes(self.uc.mem_read(at, count)), np.uint8)

    def call(self, name: str, *arguments: int) -> tuple[int, int]:
        """(what the function returned, instructions)."""
        uc, arm = self.uc, self.arm
        for i, value in enumerate(arguments):
            uc.reg_write(getattr(arm, f"UC_ARM_REG_R{i}"), value)
        uc.reg_write(arm.UC_ARM_REG_SP, _STACK + _MIB - 64)
        uc.reg_write(arm.UC_ARM_REG_LR, _RETURN | 1)
        start = self.program.address(name)
        assert start is not None
        sizes: dict[tuple[int, int], int] = {}
        total = 0

        def block(_uc: Any, address: int, size: int, _data: Any) -> None:
            nonlocal total
            if (address, size) not in sizes:
                sizes[address, size] = cortex_m.thumb_instructions(bytes(uc.mem_read(address, size)))
            total += sizes[address, size]

        hook = uc.hook_add(self.unicorn.UC_HOOK_BLOCK, block)
        with cortex_m.stopping(uc, time.monotonic() + 60):
            uc.emu_start(start | 1, _RETURN)
        uc.hook_del(hook)
        assert uc.reg_read(arm.UC_ARM_REG_PC) & ~1 == _RETURN
        return uc.reg_read(arm.UC_ARM_REG_R0), total
