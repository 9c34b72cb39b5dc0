"""Compilers of the bare platform by architecture.

Standard library only: PlatformIO's scripts import it too, in whatever Python PlatformIO runs.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass


@dataclass(frozen=True)
class Compiler:
    """A cross compiler: what its programs' names begin with, and the Debian packages that bring it.

    `shared` is the folder of firmware/ports with start-up code and linker script of the architecture, if it has one.
    """

    prefix: str
    packages: str
    shared: str | None
    floats: bool = True  # whether it comes with floating-point arithmetic


# How a model and its kernels are compiled, by what --optimize asks for.
LEVELS = {"speed": "-O2", "size": "-Os"}

_ARM = Compiler(
    "arm-none-eabi-", "gcc-arm-none-eabi libnewlib-arm-none-eabi libstdc++-arm-none-eabi-newlib", "cortex_m"
)
COMPILERS = {
    **dict.fromkeys(("armv6-m", "armv7-m", "armv7e-m", "armv8-m"), _ARM),
    "rv32imc": Compiler("riscv64-unknown-elf-", "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf", "riscv"),
    "xtensa": Compiler("xtensa-lx106-elf-", "gcc-xtensa-lx106", "xtensa_call0", floats=False),
    "avr": Compiler("avr-", "gcc-avr avr-libc arduino-core-avr", None),
}


def missing(architecture: str) -> str | None:
    """One line that says what cannot be compiled with and how to install it; None where all is there."""
    compiler = COMPILERS.get(architecture)
    if compiler is None:
        return f"the bare platform has no compiler for {architecture}; it has {', '.join(COMPILERS)}"
    for tool in ("gcc", "g++", "objcopy"):
        if shutil.which(compiler.prefix + tool) is None:
            return (
                f"{compiler.prefix}{tool} is not on the PATH; "
                f"on Debian or Ubuntu run: apt-get install {compiler.packages}"
            )
    return None
