"""Build a compiled model for an AVR and run it in simavr: for tests, and to find the layer where outputs differ.

Not on the Uno's ATmega328P but on an ATmega1284P, the same core with more flash, to which simavr gives as much RAM as
addresses reach: so models fit whose outputs of all layers are kept.
"""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from convert import compilers, emit
from convert.compiled import host, poison
from convert.compiled.layer import Array, describe
from convert.compiled.model import CompiledModel
from convert.emulate import simavr
from convert.errors import ToolError
from convert.paths import FIRMWARE

MCU = "atmega1284p"
CLOCK_HZ = 16_000_000
_RAM_START, _RAM_END = 0x100, 0xFFFF
_LARGEST = 0x7FFF  # bytes of a tensor: kernels_int; no AVR has as much RAM
PREFIX = compilers.COMPILERS["avr"].prefix


def available() -> bool:
    """Whether the cross compiler is here and simavr's harness can be compiled."""
    if compilers.missing("avr") is not None:
        return False
    try:
        simavr.harness()
    except ToolError:
        return False
    return True


def flags(optimize: str) -> list[str]:
    """Options of the cross compiler for the model and its kernels."""
    include = ["-I", str(host.KERNELS / "include"), "-I", str(FIRMWARE / "include")]
    warnings = ["-Wall", "-Wextra", "-Waddr-space-convert", "-Werror"]
    level = compilers.LEVELS[optimize]
    return [f"-mmcu={MCU}", "-std=gnu99", level, "-ffunction-sections", "-fdata-sections", *warnings, *include]


def build(compiled: CompiledModel, folder: Path, *, layers: bool = False) -> Path:
    """Build the image that runs the model on vectors from its serial port; return its ELF file in `folder`.

    Raises ToolError if the cross compiler is missing or fails, also where the model does not fit the processor.
    """
    if lacking := compilers.missing("avr"):
        raise ToolError(lacking)
    large = [t for t in compiled.graph.tensors if t.index in compiled.plan.tensors and t.nbytes > _LARGEST]
    if large:
        raise ToolError(f"{describe(large[0])} has {large[0].nbytes:,} B; the kernels' integers reach to {_LARGEST:,}")
    own = {"avr_main.c": emit.render("compiled/avr_main.c.j2", {}), "poison.h": poison.render(compiled)}
    emit.write_tree(folder / "src", {**compiled.render(), **own})
    options = flags(compiled.optimize)
    kernels = [*sorted((host.KERNELS / "src").glob("*.c")), *sorted((host.KERNELS / "src" / "avr").glob("*.[cS]"))]
    objects = host.kernels(f"{PREFIX}gcc", options, kernels)
    options += ["-I", str(folder / "src"), "-Wl,--gc-sections", *(["-DINFERENCE_TRACE"] if layers else [])]
    sources = [folder / "src" / "compiled_model.c", folder / "src" / "avr_main.c", host.RUNTIME / "inference.c"]
    size = _RAM_END + 1 - _RAM_START
    options += [f"-Wl,--defsym=__DATA_REGION_LENGTH__={size:#x}", f"-Wl,--defsym=__stack={_RAM_END:#x}"]
    elf = folder / "model.elf"
    host.call([f"{PREFIX}gcc", *options, *map(str, [*sources, *objects]), "-o", str(elf)], "compiling for AVR")
    return elf


def run(
    compiled: CompiledModel, inputs: host.Bytes, *, layers: bool = False, timeout: float = 600.0
) -> tuple[host.Bytes, Mapping[int, Array] | None]:
    """Run vectors (uint8, (n, input bytes)) in simavr; returns what `host.run` returns.

    Raises ToolError if the compiler or simavr is missing, or the program fails; ValueError for vectors of the wrong
    size.
    """
    host.check_vectors(compiled, inputs)
    tensors = compiled.graph.tensors
    written = [tensors[i].nbytes for layer in compiled.lowered for i in layer.outputs] if layers else []
    expected = len(inputs) * (sum(written) + sum(tensors[i].nbytes for i in compiled.graph.outputs))
    raw = bytearray()
    with tempfile.TemporaryDirectory(prefix="compiled-model-") as name:
        elf = build(compiled, Path(name), layers=layers)
        deadline = time.monotonic() + timeout
        with simavr.Simulation(elf, MCU, CLOCK_HZ, "open", _RAM_END) as simulation:
            for vector in inputs:
                simulation.write(vector.tobytes())
                until = len(raw) + expected // len(inputs)
                while len(raw) < until and not simulation.ended:
                    if time.monotonic() > deadline:
                        raise ToolError(f"the compiled model did not end within {timeout:g} s in simavr")
                    raw += simulation.read(1.0)
            reason = simulation.reason() if simulation.ended else ""
    if len(raw) != expected:
        last = raw[raw.rfind(b"\n#error ") :].decode(errors="replace").strip()
        raise ToolError(
            f"the compiled model failed in simavr after {len(raw)} of {expected} bytes{reason}: {last[:200]}"
        )
    return host.split(compiled, np.frombuffer(bytes(raw), np.uint8), len(inputs), layers)
