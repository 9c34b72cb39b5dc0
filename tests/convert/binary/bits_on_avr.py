"""Runs a network of bits on an emulated AVR."""

import tempfile
from pathlib import Path

import numpy as np

from convert import emit
from convert.binary import source
from convert.binary.host import RUNTIME
from convert.binary.net import Int8, Int32, Net
from convert.compiled import avr
from convert.compiled.host import KERNELS, call
from convert.emulate import simavr

_RAM_START, _RAM_END = 0x100, 0xFFFF


def run(net: Net, x: Int8, optimize: str) -> Int32:
    """Scores int32 (n, classes) of samples int8 (n, features)."""
    raw = bytearray()
    with tempfile.TemporaryDirectory(prefix="binary-") as name:
        folder = Path(name)
        main = emit.render("compiled/avr_main.c.j2", {})
        emit.write_tree(folder / "src", {**source.render(net, "avr", "avr"), "avr_main.c": main})
        options = [*avr.flags(optimize), "-I", str(folder / "src"), "-Wl,--gc-sections"]
        options += [f"-Wl,--defsym=__DATA_REGION_LENGTH__={_RAM_END + 1 - _RAM_START:#x}"]
        options += [f"-Wl,--defsym=__stack={_RAM_END:#x}"]
        sources = [folder / "src" / "binary_model.c", folder / "src" / "avr_main.c"]
        sources += [RUNTIME / "inference.c", KERNELS / "src" / "bits.c"]
        elf = folder / "binary.elf"
        call([f"{avr.PREFIX}gcc", *options, *map(str, sources), "-o", str(elf)], "compiling for AVR")
        with simavr.Simulation(elf, avr.MCU, avr.CLOCK_HZ, "open", _RAM_END) as simulation:
            for vector in x:
                simulation.write(vector.tobytes())
                until = len(raw) + 4 * net.classes
                while len(raw) < until and not simulation.ended:
                    raw += simulation.read(1.0)
    return np.frombuffer(bytes(raw[: 4 * net.classes * len(x)]), "<i4").reshape(len(x), net.classes)
