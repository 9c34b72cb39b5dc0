"""Compilers of the bare platform by architecture.

Standard library only: PlatformIO's scripts import it too, in whatever Python PlatformIO runs.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass


@dataclass(frozen=True)
class Compiler:
    """A cross compiler: what its programs' names begin with, and the Debian packages that bring it."""

    prefix: str
    packages: str


# How a model and its kernels are compiled, by what --optimize asks for.
LEVELS = {"speed": "-O2", "size": "-Os"}

COMPILERS = {
    "armv7e-m": Compiler("arm-none-eabi-", "gcc-arm-none-eabi libnewlib-arm-none-eabi libstdc++-arm-none-eabi-newlib"),
}


def missing(architecture: str) -> str | None:
    """One line that says what cannot be compiled with and how to install it; None where all is there."""
    compiler = COMPILERS.get(architecture)
    if compiler is None:
        return f"the bare platform has no compiler for {architecture}; it has {', '.join(sorted(COMPILERS))}"
    for tool in ("gcc", "g++", "objcopy"):
        if shutil.which(compiler.prefix + tool) is None:
            return (
                f"{compiler.prefix}{tool} is not on the PATH; "
                f"on Debian or Ubuntu run: apt-get install {compiler.packages}"
            )
    return None
