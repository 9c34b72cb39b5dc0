"""A tree's generated C as an object for the ATmega328P, and what is in it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from convert import emit
from convert.paths import FIRMWARE
from convert.trees import source
from convert.trees.container import Model

has_avr = pytest.mark.skipif(shutil.which("avr-gcc") is None, reason="needs gcc-avr and avr-libc")

# What avr-gcc's own integer routines are called: multiplication, shifts and saving of registers.
ROUTINES = {"__mulsi3", "__muluhisi3", "__mulshisi3", "__mulhisi3", "__umulhisi3", "__usmulhisi3"}
ROUTINES |= {"__prologue_saves__", "__epilogue_restores__", "__do_clear_bss", "__do_copy_data"}


def built(of: Model, folder: Path) -> Path:
    """The object; `folder` gets the sources."""
    emit.write_tree(folder, dict(source.render(of, "0" * 64)))
    target = folder.parent / "tree.o"
    flags = ["-mmcu=atmega328p", "-std=gnu99", "-Os", "-Wall", "-Wextra", "-Werror", "-Waddr-space-convert"]
    includes = [f"-I{FIRMWARE / 'lib' / 'kernels' / 'include'}", f"-I{FIRMWARE / 'include'}"]
    command = ["avr-gcc", *flags, *includes, "-c", str(folder / "tree_model.c"), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def sections(target: Path) -> dict[str, int]:
    """Bytes by section."""
    text = subprocess.run(["avr-size", "-A", "-d", str(target)], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in text.splitlines() if line.startswith(".")]
    return {row[0]: int(row[1]) for row in rows}


def calls(target: Path) -> set[str]:
    """Symbols that the object takes from elsewhere."""
    symbols = subprocess.run(["avr-nm", "-u", str(target)], capture_output=True, text=True, check=True).stdout
    return set(symbols.replace("U ", "").split())
